"""Containers of the reflections of very many made-up crystals, written in large pieces."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gemmi
import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks.merge_data import Simulation
from xfel_apps.containers.manifest import Manifest
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.writer import extend, new_container

Array = NDArray[Any]
BATCH = 2000
"""Crystals that are made at a time; each batch has random numbers of its own."""


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


class _Bulk:
    """The crystals of a simulation, made a batch at a time."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.hkl, self.d_ang, self.truth = simulation.unique()
        self.log_scale, self.b_ang2 = simulation.scales()
        group = gemmi.SpaceGroup(simulation.space_group)
        self.rotations = np.array([np.array(op.rot) // 24 for op in group.operations()])
        self.turns = np.array(simulation.operators())[simulation.modes()]
        cell = gemmi.UnitCell(*simulation.cell)
        self.a_matrix = np.linalg.inv(np.array(cell.orth.mat.tolist())).T

    def reflections(self, batch: range) -> dict[str, Array]:
        """Return the columns of a batch's reflections, one crystal after the other."""
        sim, each = self.simulation, self.simulation.n_each
        rng = np.random.default_rng((sim.seed, batch.start))
        rows = rng.integers(len(self.hkl), size=(len(batch), each))
        partiality = rng.uniform(sim.min_partiality, 1.0, rows.shape)
        fall_off = 0.5 * self.b_ang2[batch, None] / self.d_ang[rows] ** 2
        mean = partiality * np.exp(self.log_scale[batch, None] - fall_off) * self.truth[rows]
        mean *= 1 + sim.relative_error * rng.normal(size=rows.shape)
        counted = rng.poisson(np.maximum(mean, 0))
        noise = rng.normal(0, np.sqrt(sim.noise), rows.shape)
        setting = self.rotations[rng.integers(len(self.rotations), size=len(batch))]
        mates = self.hkl[rows] @ setting @ self.turns[batch]
        columns = {
            "h": mates[:, :, 0],
            "k": mates[:, :, 1],
            "l": mates[:, :, 2],
            "d_ang": self.d_ang[rows],
            "intensity": counted + noise,
            "sigma": np.sqrt(counted + sim.noise),
            "partiality": partiality,
            "polarization": np.ones(rows.shape),
            "lattice": np.zeros(rows.shape),
            "flags": np.zeros(rows.shape),
        }
        return {name: values.ravel() for name, values in columns.items()}

    def crystals(self, batch: range) -> dict[str, Array]:
        """Return the columns of a batch's crystals."""
        sim, n = self.simulation, len(batch)
        return {
            "lattice": np.zeros(n),
            "a_matrix": np.tile(self.a_matrix, (n, 1, 1)),
            "cell": np.tile(sim.cell, (n, 1)),
            "space_group": np.full(n, sim.space_group.encode()),
            "wavelength_ang": np.full(n, 1.3),
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
    return replace(Simulation(), d_min_ang=1.7, n_crystals=n_crystals, n_each=n_each)
