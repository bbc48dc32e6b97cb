"""What index does with one shot: spots to rows of crystals."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.crystals import Crystals, IndexedSpots
from xfel_apps.containers.events import Events
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.reader import ProductReader
from xfel_apps.containers.spots import Spots, good_spots
from xfel_apps.geometry import Beam, Detector
from xfel_apps.geometry.stills import metric_cell, ray_on_sphere
from xfel_apps.index.lattices import index_spots
from xfel_apps.index.refine import Refined, ShotSpots
from xfel_apps.index.settings import IndexSettings
from xfel_apps.index.target import TargetLattice

Array = NDArray[np.float64]


class Indexer:
    """Indexes shots with a known cell.

    Parameters
    ----------
    events : of the run
    spots : reader of its spots
    hot_pixels : (panel, slow, fast) whose spots are left out
    target : lattice looked for
    settings : limits
    """

    def __init__(
        self,
        events: Events,
        spots: ProductReader,
        hot_pixels: Sequence[Sequence[int]],
        target: TargetLattice,
        settings: IndexSettings,
    ) -> None:
        self._events = events
        self._spots = spots
        self._hot_pixels = hot_pixels
        self._target = target
        self._settings = settings

    def process(self, event: int) -> ShotResult:
        """Return the lattices of one hit."""
        found = good_spots(self._spots, event, self._hot_pixels)
        return index_shot(
            found,
            self._events.detector(event),
            self._events.beam(event),
            self._target,
            self._settings,
            event,
        )

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
    seed : of random subsets; the number of the event
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
