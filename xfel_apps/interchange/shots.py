"""One shot as another program left it, in our tables and frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.crystals import Crystals, IndexedSpots
from xfel_apps.containers.reflections import IntegratedCrystals, Reflections
from xfel_apps.containers.spots import Spots
from xfel_apps.geometry import Beam, Detector
from xfel_apps.geometry.stills import (
    excitation_error_invang,
    metric_cell,
    q_of_spots,
    ray_on_sphere,
    resolution_ang,
)
from xfel_apps.interchange.models import CrystalModel

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Matches:
    """Which spots of the shot lie on a lattice: rows of spots (n,) and Miller indices (n, 3)."""

    spots: IntArray
    hkl: IntArray


@dataclass(frozen=True)
class Measured:
    """What was integrated of a lattice (n,): columns of `Reflections` that the other file has.

    Attributes
    ----------
    hkl : (n, 3)
    columns : the rest; partiality may be missing
    """

    hkl: IntArray
    columns: dict[str, Any]


@dataclass(frozen=True)
class PeerLattice:
    """A lattice, the spots on it, and what was integrated of it (None: not integrated)."""

    model: CrystalModel
    matches: Matches
    measured: Measured | None


@dataclass(frozen=True)
class PeerShot:
    """One shot.

    Attributes
    ----------
    file, frame : raw file and frame in it
    beam, detector : with the shot's own wavelength
    spots : found on it
    is_hit : whether the other program took it for a hit
    lattices : in order; None where nobody looked for any
    integrated : whether reflections were looked for
    """

    file: Path
    frame: int
    beam: Beam
    detector: Detector
    spots: Spots
    is_hit: bool
    lattices: Sequence[PeerLattice] | None
    integrated: bool


NO_MATCHES = Matches(np.empty(0, dtype=np.int64), np.empty((0, 3), dtype=np.int64))


def spot_q(spots: Spots, detector: Detector, beam: Beam) -> Array:
    """Return the scattering vectors (n, 3) of spots [1/Angstrom]."""
    fast, slow = spots.fast_px.astype(float), spots.slow_px.astype(float)
    return q_of_spots(detector, beam, spots.panel.astype(np.int64), fast, slow)


def with_resolution(spots: Spots, detector: Detector, beam: Beam) -> Spots:
    """Return spots with the resolution that follows from where they are."""
    d_ang = resolution_ang(spot_q(spots, detector, beam))
    return Spots.make(**{**spots.columns(), "d_ang": d_ang})


def indexed_rows(shot: PeerShot) -> IndexedSpots:
    """Return which spots lie on which lattice, with where the lattice predicts them."""
    parts = []
    for number, lattice in enumerate(shot.lattices or ()):
        rows, hkl = lattice.matches.spots, lattice.matches.hkl
        q = hkl @ lattice.model.a_matrix.T
        s0 = shot.beam.s0
        panel = shot.spots.panel[rows].astype(np.int64)
        fast, slow = shot.detector.panel_pixels(panel, ray_on_sphere(q, s0))
        h, k, l = hkl.T  # noqa: E741 - Miller indices
        parts.append(
            IndexedSpots.make(
                lattice=np.full(len(rows), number),
                spot=rows,
                h=h,
                k=k,
                l=l,
                delta_fast_px=fast - shot.spots.fast_px[rows],
                delta_slow_px=slow - shot.spots.slow_px[rows],
                excitation_invang=excitation_error_invang(q, s0),
            )
        )
    return IndexedSpots.concatenate(parts)


def crystal_rows(shot: PeerShot, indexed: IndexedSpots) -> Crystals:
    """Return the lattices of a shot; d_min is that of the outermost spot or reflection."""
    lattices = shot.lattices or ()
    if not lattices:
        return Crystals.empty()
    models = [lattice.model for lattice in lattices]
    own = [indexed.take(indexed.lattice == number) for number in range(len(lattices))]
    return Crystals.make(
        lattice=np.arange(len(lattices)),
        a_matrix=[model.a_matrix for model in models],
        cell=[metric_cell(model.a_matrix) for model in models],
        space_group=[model.space_group.encode() for model in models],
        wavelength_ang=[shot.beam.wavelength_ang] * len(lattices),
        n_spots=[len(shot.spots)] * len(lattices),
        n_indexed=[len(rows) for rows in own],
        rmsd_px=[_rms(rows.delta_fast_px, rows.delta_slow_px) for rows in own],
        excitation_rms_invang=[_rms(rows.excitation_invang) for rows in own],
        mosaicity_deg=[model.mosaic.mosaicity_deg for model in models],
        block_size_ang=[model.mosaic.block_size_ang for model in models],
        d_min_ang=[_d_min_ang(lattice) for lattice in lattices],
    )


def _rms(*parts: NDArray[np.float32]) -> float:
    """Return the root mean square length of vectors; 0 without any."""
    squares = np.sum([part.astype(float) ** 2 for part in parts], axis=0)
    return float(np.sqrt(np.mean(squares))) if len(squares) else 0.0


def _d_min_ang(lattice: PeerLattice) -> float:
    hkl = lattice.matches.hkl
    if not len(hkl) and lattice.measured is not None:
        hkl = lattice.measured.hkl
    d_ang = resolution_ang(hkl @ lattice.model.a_matrix.T)
    return float(d_ang.min()) if len(d_ang) else 0.0


def reflection_rows(shot: PeerShot) -> Reflections:
    """Return the reflections of a shot; what the file lacks follows from the lattice's model."""
    parts = []
    for number, lattice in enumerate(shot.lattices or ()):
        measured = lattice.measured
        if measured is None or not len(measured.hkl):
            continue
        q = measured.hkl @ lattice.model.a_matrix.T
        s0 = shot.beam.s0
        excitation, length = excitation_error_invang(q, s0), np.linalg.norm(q, axis=1)
        h, k, l = measured.hkl.T  # noqa: E741 - Miller indices
        model = {
            "lattice": np.full(len(q), number),
            "h": h,
            "k": k,
            "l": l,
            "d_ang": 1.0 / length,
            "excitation_invang": excitation,
            "partiality": lattice.model.mosaic.partiality(excitation, length),
            "polarization": shot.beam.polarization(ray_on_sphere(q, s0)),
            "flags": np.zeros(len(q)),
        }
        parts.append(Reflections.make(**{**model, **measured.columns}))
    return Reflections.concatenate(parts)


def integrated_rows(
    crystals: Crystals, reflections: Reflections, shot_id: str
) -> IntegratedCrystals:
    """Return the lattices of a shot with what was integrated of each."""
    counts = np.bincount(reflections.lattice, minlength=len(crystals))
    columns = crystals.columns()
    limits = columns["d_min_ang"].copy()
    for row in np.flatnonzero(counts):
        limits[row] = reflections.d_ang[reflections.lattice == row].min()
    columns["d_min_ang"] = limits
    shot_ids = [shot_id.encode()] * len(crystals)
    return IntegratedCrystals.make(**columns, n_reflections=counts, shot_id=shot_ids)
