"""What index does with one shot: spots to rows of crystals."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.cells import Cells
from xfel_apps.containers.crystals import Crystals, IndexedSpots
from xfel_apps.containers.events import ShotIndex
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.rows import RowSource
from xfel_apps.containers.spots import Spots, good_spots
from xfel_apps.geometry import Beam, Detector
from xfel_apps.geometry.stills import metric_cell, ray_on_sphere
from xfel_apps.index.lattices import index_spots
from xfel_apps.index.refine import Refined, ShotSpots
from xfel_apps.index.settings import IndexSettings
from xfel_apps.index.target import TargetLattice
from xfel_apps.index.unknown import find_cell

Array = NDArray[np.float64]

NO_CELL = "no cell is given, and none was found in the run's best shots"


@dataclass(frozen=True)
class FoundSpots:
    """Good spots of a run's shots.

    Attributes
    ----------
    events : of the run
    source : of its spots
    hot_pixels : (panel, slow, fast) whose spots are left out
    """

    events: ShotIndex
    source: RowSource
    hot_pixels: Sequence[Sequence[int]]

    def shot(self, event: int) -> Spots:
        """Return the good spots of one shot."""
        return good_spots(self.source, event, self.hot_pixels)


class Indexer:
    """Indexes shots with a known cell.

    Parameters
    ----------
    spots : of the run's shots
    target : lattice looked for; none if neither given nor found
    settings : limits
    """

    def __init__(
        self, spots: FoundSpots, target: TargetLattice | None, settings: IndexSettings
    ) -> None:
        self._spots = spots
        self._target = target
        self._settings = settings

    def process(self, event: int) -> ShotResult:
        """Return the lattices of one hit."""
        found = self._spots.shot(event)
        if self._target is None:
            columns = {"n_spots": len(found), "n_lattices": 0}
            return ShotResult(Outcome.HIT_NOT_INDEXED, NO_CELL, columns)
        events = self._spots.events
        geometry = events.detector(event), events.beam(event)
        seed = zlib.crc32(events.shot_id(event).encode())
        return index_shot(found, *geometry, self._target, self._settings, seed)

    def before_flush(self) -> None:
        """Keep nothing beside the containers."""


class CellFinder:
    """Finds the cell of shots, each by itself.

    Parameters
    ----------
    spots : of the run's shots
    settings : limits
    """

    def __init__(self, spots: FoundSpots, settings: IndexSettings) -> None:
        self._spots = spots
        self._settings = settings

    def process(self, event: int) -> ShotResult:
        """Return the cell of one hit; its outcome stays that of a hit."""
        found, settings, events = self._spots.shot(event), self._settings, self._spots.events
        tried = found.take(chosen_spots(found, settings))
        if len(tried) < settings.min_spots:
            return ShotResult(Outcome.HIT_NOT_INDEXED)
        spots = shot_spots(tried, events.detector(event), events.beam(event))
        cell = find_cell(spots, settings.max_length_ang, settings.min_spots)
        if cell is None or cell.log_odds < -np.log(settings.max_chance):
            return ShotResult(Outcome.HIT_NOT_INDEXED)
        row = Cells.make(
            a_matrix=[cell.a_matrix], n_indexed=[cell.n_indexed], log_odds=[cell.log_odds]
        )
        return ShotResult(Outcome.HIT_NOT_INDEXED, tables={"cells": row})

    def before_flush(self) -> None:
        """Keep nothing beside the containers."""


def index_shot(
    found: Spots,
    detector: Detector,
    beam: Beam,
    target: TargetLattice,
    settings: IndexSettings,
    seed: int,
) -> ShotResult:
    """Return the outcome and the lattices of one shot.

    Parameters
    ----------
    found : its good spots
    detector, beam : of the shot
    target : lattice looked for
    settings : limits
    seed : of random subsets; of the shot, however its run is numbered
    """
    tried = chosen_spots(found, settings)
    spots = shot_spots(found.take(tried), detector, beam)
    result = index_spots(spots, target, settings, seed)
    columns = {"n_spots": len(tried), "n_lattices": len(result.lattices)}
    if not result.lattices:
        return ShotResult(Outcome.HIT_NOT_INDEXED, result.reason, columns)
    crystals, indexed = [], []
    for number, lattice in enumerate(result.lattices):
        rows = _indexed_rows(number, lattice, tried, found, detector, beam)
        indexed.append(rows)
        crystals.append(_crystal_row(number, lattice, rows, target, spots, beam))
    tables = {
        "crystals": Crystals.concatenate(crystals),
        "indexed": IndexedSpots.concatenate(indexed),
    }
    return ShotResult(Outcome.INDEXED, "", columns, tables)


def chosen_spots(found: Spots, settings: IndexSettings) -> NDArray[np.intp]:
    """Return the rows of the spots to index: within resolution, the strongest if too many."""
    rows = np.flatnonzero(found.d_ang >= settings.d_min_ang)
    strongest = rows[np.argsort(-found.intensity[rows], kind="stable")]
    return np.sort(strongest[: settings.max_spots])


def shot_spots(found: Spots, detector: Detector, beam: Beam) -> ShotSpots:
    """Return spots in reciprocal space, with the errors of their positions."""
    panel = found.panel.astype(np.int64)
    fast, slow = found.fast_px.astype(float), found.slow_px.astype(float)
    lab = detector.lab_mm(panel, fast, slow)
    distance = np.linalg.norm(lab, axis=1)
    pixel = np.linalg.norm(detector.axes, axis=1).mean(axis=1)[panel]
    scale = pixel / (distance * beam.wavelength_ang)
    variance_px2 = np.clip((found.fast_var_px2 + found.slow_var_px2) / 2.0, 0.0, 4.0)
    return ShotSpots(
        beam.s0,
        lab / (distance * beam.wavelength_ang)[:, None],
        np.sqrt(variance_px2) * scale,
        float(np.median(scale)) if len(scale) else 1.0,
    )


def _indexed_rows(
    number: int,
    lattice: Refined,
    tried: NDArray[np.intp],
    found: Spots,
    detector: Detector,
    beam: Beam,
) -> IndexedSpots:
    """Return which spot is which reflection, and how far off its prediction lies."""
    spots = found.take(tried[lattice.spots])
    rays = ray_on_sphere(lattice.hkl @ lattice.a_matrix.T, beam.s0)
    fast, slow = detector.panel_pixels(spots.panel.astype(np.int64), rays)
    h, k, l = lattice.hkl.T  # noqa: E741 - Miller indices
    return IndexedSpots.make(
        lattice=np.full(len(spots), number),
        spot=tried[lattice.spots],
        h=h,
        k=k,
        l=l,
        delta_fast_px=fast - spots.fast_px,
        delta_slow_px=slow - spots.slow_px,
        excitation_invang=lattice.residuals[:, 0],
    )


def _crystal_row(
    number: int,
    lattice: Refined,
    rows: IndexedSpots,
    target: TargetLattice,
    spots: ShotSpots,
    beam: Beam,
) -> Crystals:
    """Return one lattice as a row."""
    square_px2 = rows.delta_fast_px.astype(float) ** 2 + rows.delta_slow_px.astype(float) ** 2
    size = np.linalg.norm(lattice.hkl @ lattice.a_matrix.T, axis=1)
    mosaic = lattice.mosaic
    return Crystals.make(
        lattice=[number],
        a_matrix=[lattice.a_matrix],
        cell=[metric_cell(lattice.a_matrix)],
        space_group=[target.space_group.encode()],
        wavelength_ang=[beam.wavelength_ang],
        n_spots=[len(spots.s1)],
        n_indexed=[len(rows)],
        rmsd_px=[np.sqrt(square_px2.mean())],
        excitation_rms_invang=[np.sqrt(np.mean(lattice.residuals[:, 0] ** 2))],
        mosaicity_deg=[np.degrees(mosaic.mosaicity_rad)],
        block_size_ang=[mosaic.block_size_ang],
        d_min_ang=[1.0 / size.max()],
    )
