"""Containers of the reflections of very many made-up stills, written in large pieces."""

from pathlib import Path
from typing import Any

import gemmi
import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from benchmarks.merge_data import Simulation
from xfel_apps.containers.manifest import Manifest
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.writer import extend, new_container
from xfel_apps.geometry.mosaic import Mosaic

Array = NDArray[Any]
BATCH = 2000
"""Crystals that are made at a time; each batch has random numbers of its own."""
N_ORIENTATIONS = 500
"""Orientations that the crystals have between them."""
WAVELENGTH_ANG, MOSAIC = 1.3, Mosaic(0.06, 750.0)
SD_TILT_MRAD = 0.3
"""Error of the orientations as they are written, about lab x and y."""


def write_bulk(manifest: Path, simulation: Simulation, crystals: range, run: str = "r1") -> Path:
    """Write some of the crystals of a simulation as a run with one crystal a shot.

    The same crystal is the same in whatever run it is, if runs begin at multiples of `BATCH`.
    Columns that merging does not read are left zero, and take no space.
    """
    folder = manifest.with_suffix("")
    folder.mkdir(parents=True)
    many = _Bulk(simulation)
    with new_container(folder / "rank-0000.h5", 0, REFLECTIONS, run) as file:
        for start in range(crystals.start, crystals.stop, BATCH):
            batch = range(start, min(start + BATCH, crystals.stop))
            _append(file, "reflections", many.reflections(batch))
            _append(file, "crystals", many.crystals(batch))
            shots = many.shots(batch, crystals.start)
            _append(file, "shots", shots)
    Manifest(
        product="reflections",
        stage="integrate",
        version=REFLECTIONS.version,
        run=run,
        digest=f"{run}-{crystals}",
        settings={},
        inputs={},
        n_events=len(crystals),
        outcomes={str(Outcome.INTEGRATED): len(crystals)},
        containers=(f"{folder.name}/rank-0000.h5",),
    ).write(manifest)
    return manifest


def _append(file: h5py.File, table: str, columns: dict[str, Array]) -> None:
    """Append rows to a table; columns that are not given grow and stay zero."""
    n_rows = len(next(iter(columns.values())))
    for name, dataset in file[table].items():
        if name in columns:
            extend(file, f"{table}/{name}", columns[name].astype(dataset.dtype))
        else:
            dataset.resize(dataset.shape[0] + n_rows, axis=0)


class _Orientations:
    """Orientations of a crystal, and the reflections that each brings near the Ewald sphere.

    Attributes
    ----------
    a_matrix : (n, 3, 3) [1/Angstrom]
    hkl, number : (n, m, 3) and (n, m) Miller indices, and which unique reflections they are
    away_invang : (n, m) distances from the Ewald sphere
    turning : (n, m, 2) change of it with a turn about lab x and y [1/Angstrom/rad]
    """

    def __init__(self, simulation: Simulation, n_near: int) -> None:
        hkl, _, _ = simulation.unique()
        cell, group = gemmi.UnitCell(*simulation.cell), gemmi.SpaceGroup(simulation.space_group)
        turns = [np.array(op.rot) // 24 for op in group.operations().sym_ops]
        every = np.concatenate([sign * hkl @ turn for turn in turns for sign in (1, -1)])
        whole, first = np.unique(every, axis=0, return_index=True)
        q = whole @ np.linalg.inv(np.array(cell.orth.mat.tolist()))
        rotations = Rotation.random(N_ORIENTATIONS, random_state=simulation.seed).as_matrix()
        reciprocal = np.linalg.inv(np.array(cell.orth.mat.tolist())).T
        self.a_matrix = rotations @ reciprocal
        size = np.linalg.norm(q, axis=1)
        flat, width = 0.5 * WAVELENGTH_ANG * size**2, MOSAIC.half_width_invang(size)
        rows = np.stack([_nearest((flat - q @ turn[2]) / width, n_near) for turn in rotations])
        self.hkl, self.number = whole[rows], first[rows] % len(hkl)
        qx, qy, qz = np.moveaxis(np.einsum("nij,nmj->nmi", rotations, q[rows]), 2, 0)
        s1z = qz - 1 / WAVELENGTH_ANG
        length = np.sqrt(qx**2 + qy**2 + s1z**2)
        self.away_invang = length - 1 / WAVELENGTH_ANG
        self.turning = np.stack([qy * s1z - qz * qy, qz * qx - qx * s1z], axis=2)
        self.turning /= length[:, :, None]


def _nearest(distance: Array, n: int) -> Array:
    """Return the places (n,) of the smallest distances, in order of place."""
    return np.sort(np.argpartition(np.abs(distance), n)[:n])


class _Bulk:
    """The crystals of a simulation as stills, made a batch at a time.

    Their orientations are known only to `SD_TILT_MRAD`.
    """

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        _, self.d_ang, self.truth = simulation.unique()
        self.log_scale, self.b_ang2 = simulation.scales()
        group = gemmi.SpaceGroup(simulation.space_group)
        self.rotations = np.array([np.array(op.rot) // 24 for op in group.operations()])
        self.stills = _Orientations(simulation, int(1.1 * simulation.n_each))

    def _setting(self, batch: range) -> tuple[Array, Array]:
        """Return the orientation, and the symmetry operator that indexed each crystal."""
        rng = np.random.default_rng((self.simulation.seed, batch.start, 1))
        setting = self.rotations[rng.integers(len(self.rotations), size=len(batch))]
        return rng.integers(N_ORIENTATIONS, size=len(batch)), setting

    def reflections(self, batch: range) -> dict[str, Array]:
        """Return the columns of a batch's reflections, one crystal after the other."""
        sim, stills = self.simulation, self.stills
        rng = np.random.default_rng((sim.seed, batch.start))
        still, setting = self._setting(batch)
        order = np.argpartition(rng.random((len(batch), stills.number.shape[1])), sim.n_each, 1)
        chosen = still[:, None], np.sort(order[:, : sim.n_each], axis=1)
        number, away_invang = stills.number[chosen], stills.away_invang[chosen]
        tilt_mrad = rng.normal(0, SD_TILT_MRAD, (len(batch), 2))
        exact = away_invang + np.einsum("nmi,ni->nm", stills.turning[chosen], 1e-3 * tilt_mrad)
        d_ang = self.d_ang[number]
        fall_off = 0.5 * self.b_ang2[batch, None] / d_ang**2
        full = np.exp(self.log_scale[batch, None] - fall_off) * self.truth[number]
        full /= MOSAIC.half_width_invang(1 / d_ang) * MOSAIC.block_size_ang  # Lorentz's factor
        counted = rng.poisson(full * MOSAIC.partiality(exact, 1 / d_ang))
        mates = stills.hkl[chosen] @ setting
        columns = {
            "h": mates[:, :, 0],
            "k": mates[:, :, 1],
            "l": mates[:, :, 2],
            "fast_px": rng.uniform(0.0, 1000.0, number.shape),
            "slow_px": rng.uniform(0.0, 1000.0, number.shape),
            "d_ang": d_ang,
            "intensity": counted + rng.normal(0, np.sqrt(sim.noise), number.shape),
            "sigma": np.sqrt(counted + sim.noise),
            "excitation_invang": away_invang,
            "partiality": MOSAIC.partiality(away_invang, 1 / d_ang),
            "polarization": np.ones(number.shape),
            "lattice": np.zeros(number.shape),
            "flags": np.zeros(number.shape),
        }
        return {name: values.ravel() for name, values in columns.items()}

    def crystals(self, batch: range) -> dict[str, Array]:
        """Return the columns of a batch's crystals."""
        sim, n = self.simulation, len(batch)
        still, setting = self._setting(batch)
        return {
            "lattice": np.zeros(n),
            "a_matrix": self.stills.a_matrix[still] @ np.linalg.inv(setting).transpose(0, 2, 1),
            "cell": np.tile(sim.cell, (n, 1)),
            "space_group": np.full(n, sim.space_group.encode()),
            "wavelength_ang": np.full(n, WAVELENGTH_ANG),
            "mosaicity_deg": np.full(n, MOSAIC.mosaicity_deg),
            "block_size_ang": np.full(n, MOSAIC.block_size_ang),
            "n_reflections": np.full(n, sim.n_each),
            "d_min_ang": np.full(n, sim.d_min_ang),
            "shot_id": np.array([f"sim:{number}".encode() for number in batch]),
        }

    def shots(self, batch: range, first: int) -> dict[str, Array]:
        """Return the columns of a batch's shots; the event of crystal `first` is 0."""
        event = np.array(batch) - first
        return {
            "event": event,
            "outcome": np.full(len(batch), Outcome.INTEGRATED.code),
            "n_reflections": np.full(len(batch), self.simulation.n_each),
            "crystals_end": event + 1,
            "reflections_end": (event + 1) * self.simulation.n_each,
        }


def of_size(n_crystals: int, n_each: int) -> Simulation:
    """Return the simulation that merging is timed with: lysozyme to 1.7 Angstrom."""
    return Simulation(d_min_ang=1.7, n_crystals=n_crystals, n_each=n_each)
