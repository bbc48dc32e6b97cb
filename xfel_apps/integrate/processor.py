"""What integrate does with one shot: lattices and a frame to rows of reflections."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.crystals import Crystals, IndexedSpots
from xfel_apps.containers.events import ShotIndex
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.rows import RowSource
from xfel_apps.containers.spots import Spots, good_spots
from xfel_apps.errors import ShotError
from xfel_apps.geometry import Detector
from xfel_apps.geometry.mosaic import Mosaic
from xfel_apps.geometry.prediction import Lattice
from xfel_apps.integrate.predicted import Shot
from xfel_apps.integrate.rows import crystal_rows, mosaic_rows, reflection_rows
from xfel_apps.integrate.settings import IntegrateSettings
from xfel_apps.integrate.shot import integrate_shot
from xfel_apps.sources import FrameCache

LARGE_SPOT = 0.9
"""Quantile of the shot's spot sizes that the first look's foreground must hold."""

OUTERMOST = 0.95
"""Quantile of 1/d of a lattice's indexed spots at which they end: not one stray spot."""

MARGIN_PX = 1.0
"""Spots reach this further than the pixels that were found strong."""


@dataclass(frozen=True)
class RunInput:
    """What integrate reads of a run.

    Attributes
    ----------
    events : of the run
    spots, crystals : where its spots and lattices come from
    hot_pixels : (panel, slow, fast) of pixels that are masked
    gain_adu : median gain of the run's panels [ADU a photon]
    """

    events: ShotIndex
    spots: RowSource
    crystals: RowSource
    hot_pixels: Sequence[Sequence[int]]
    gain_adu: float


class Integrator:
    """Integrates the indexed shots of a run.

    Parameters
    ----------
    run : what is read
    frames : of the run
    settings : how to integrate
    """

    def __init__(self, run: RunInput, frames: FrameCache, settings: IntegrateSettings) -> None:
        self._run = run
        self._settings = settings
        self._frames = frames
        self._last_mask: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None

    def process(self, event: int) -> ShotResult:
        """Return the reflections of one indexed shot."""
        crystals = self._run.crystals.rows("crystals", event, Crystals)
        shot, lattices, ends = self.look_at(event, crystals)
        done = integrate_shot(shot, lattices, ends, self._settings)
        rows = reflection_rows(done, shot.beam, self._settings)
        columns = {"n_reflections": len(rows), "d_min_ang": min(done.limits_ang)}
        if not (rows.flags == 0).any():
            reason = f"none of {len(rows)} predicted reflections is usable"
            return ShotResult(Outcome.INDEXED, reason, columns)
        tables = {
            "crystals": crystal_rows(crystals, done, self._run.events.shot_id(event)),
            "mosaic": mosaic_rows(done),
            "reflections": rows,
        }
        return ShotResult(Outcome.INTEGRATED, "", columns, tables)

    def look_at(self, event: int, crystals: Crystals) -> tuple[Shot, list[Lattice], list[float]]:
        """Return an indexed shot's frame, its lattices, and where the spots of each end [Angstrom].

        Parameters
        ----------
        event : of the run
        crystals : its lattices
        """
        found = good_spots(self._run.spots, event, self._run.hot_pixels)
        indexed = self._run.crystals.rows("indexed", event, IndexedSpots)
        spots = found.take(indexed.spot)
        shot = self._shot(event, crystals, spot_radius_px(spots, float(crystals.rmsd_px.max())))
        return shot, lattices_of(crystals), spots_end_ang(crystals, indexed, spots)

    def before_flush(self) -> None:
        """Keep nothing beside the containers."""

    def _shot(self, event: int, crystals: Crystals, radius_px: float) -> Shot:
        """Return the frame of an event, hot pixels and those that are no number masked."""
        path, frame = self._run.events.location(event)
        detector = self._run.events.detector(event)
        pixels = self._frames.pixels(path, frame)
        good = self._without_hot(self._frames.mask(path, frame), detector)
        if pixels.dtype.kind == "f":
            good = good & np.isfinite(pixels)
        return Shot(
            pixels,
            good,
            detector,
            self._run.events.beam(event).with_wavelength(float(crystals.wavelength_ang[0])),
            radius_px,
            self._run.gain_adu,
        )

    def _without_hot(self, mask: NDArray[np.bool_], detector: Detector) -> NDArray[np.bool_]:
        """Return the mask with hot pixels taken off; the same mask is worked out once."""
        if self._last_mask is None or self._last_mask[0] is not mask:
            good = mask.copy()
            for panel, slow, fast in self._run.hot_pixels:
                start = detector.panels[panel].slab_start
                good[start[0] + slow, start[1] + fast] = False
            self._last_mask = mask, good
        return self._last_mask[1]


def lattices_of(crystals: Crystals) -> list[Lattice]:
    """Return the lattices of a shot's rows of crystals."""
    if not len(crystals):
        raise ShotError("integrate: the shot is indexed but has no crystals; run index again")
    return [
        Lattice(a_matrix, group.decode(), Mosaic(float(mosaicity), float(block)))
        for a_matrix, group, mosaicity, block in zip(
            crystals.a_matrix,
            crystals.space_group,
            crystals.mosaicity_deg,
            crystals.block_size_ang,
            strict=True,
        )
    ]


def spots_end_ang(crystals: Crystals, indexed: IndexedSpots, spots: Spots) -> list[float]:
    """Return the resolution to which each lattice's spots were found [Angstrom].

    Parameters
    ----------
    crystals : the shot's lattices
    indexed, spots : (n,) which spot lies on which lattice, and the spots themselves
    """
    ends = []
    for lattice, d_min_ang in zip(crystals.lattice, crystals.d_min_ang, strict=True):
        own = spots.d_ang[indexed.lattice == lattice]
        ends.append(float(np.quantile(own, 1.0 - OUTERMOST) if len(own) else d_min_ang))
    return ends


def spot_radius_px(spots: Spots, rmsd_px: float) -> float:
    """Return the radius about predictions that holds the spots of a shot [pixel].

    Parameters
    ----------
    spots : the indexed ones
    rmsd_px : rms distance of predicted from found positions
    """
    if not len(spots):
        return 3.0 + rmsd_px
    n_pixels = float(np.quantile(spots.n_pixels, LARGE_SPOT))
    return float(np.sqrt(n_pixels / np.pi)) + MARGIN_PX + rmsd_px
