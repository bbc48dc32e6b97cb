"""Integrate all lattices of one shot together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.integration import Sums
from xfel_apps.geometry.mosaic import Mosaic, falls_to
from xfel_apps.geometry.prediction import Lattice, Predictions
from xfel_apps.integrate.layout import Layout
from xfel_apps.integrate.look import FIRST_SIGMAS, Look
from xfel_apps.integrate.predicted import LOOK_REACH, Predicted, Shot
from xfel_apps.integrate.settings import IntegrateSettings
from xfel_apps.integrate.width import WidthFit

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

LOOK_BEYOND = 1.5
"""A lattice's limit is sought to this factor beyond its outermost indexed spot, in 1/d."""

WIDENED = 1.2
"""Width that is predicted and divided by, over the most likely one: dividing by partialities that
are too small costs more than by ones that are too large."""

BEARABLE = 1.2
"""How much wider reflections may be than expected before the shot is looked at again."""

MOST_LOOKS = 3
"""Times a shot is looked at, each time wider, until its reflections end within what is seen."""


@dataclass(frozen=True)
class Integrated:
    """Reflections of all lattices of a shot.

    Attributes
    ----------
    lattice : (n,) which of the shot's lattices
    found : (n,) what was predicted
    partiality : (n,) recorded share
    sums : (n,) what the pixels gave
    mosaics : mosaic model of each lattice, which the partialities follow
    widths : what the reflections say of it
    limits_ang : resolution limit of each lattice [Angstrom]
    is_fitted : the profile fit is of a profile learnt from this shot
    """

    lattice: IntArray
    found: Predictions
    partiality: Array
    sums: Sums
    mosaics: list[Mosaic]
    widths: list[WidthFit]
    limits_ang: list[float]
    is_fitted: bool


def integrate_shot(
    shot: Shot,
    lattices: Sequence[Lattice],
    d_spots_ang: Sequence[float],
    settings: IntegrateSettings,
) -> Integrated:
    """Return the reflections of all lattices of a shot.

    A first look, with a generous foreground, width and resolution, shows the size of the spots,
    their profile, how far from the Ewald sphere they reach and at which resolution they end; then
    they are integrated.

    Parameters
    ----------
    shot, lattices : the frame and what lies in it
    d_spots_ang : resolution of each lattice's outermost indexed spots; 0: unknown
    settings : how to do it
    """
    limits = [_search_limit_ang(shot, d_ang, settings) for d_ang in d_spots_ang]
    look, widths = _look(shot, lattices, limits, settings)
    predicted, found = look.predicted, look.predicted.found
    mosaics = [fit.mosaic.scaled(WIDENED if settings.refine_width else 1.0) for fit in widths]
    if not len(found):
        empty = np.empty(0)
        return Integrated(
            predicted.lattice, found, empty, Sums.empty(), mosaics, widths, limits, is_fitted=False
        )
    distance = predicted.distance(mosaics)
    if settings.d_min_ang == 0.0:
        limits = look.limits_ang(distance, d_spots_ang, settings)
    kept = found.q_length_invang <= 1.0 / np.array(limits)[predicted.lattice]
    kept &= distance <= settings.reach
    predicted = predicted.take(kept)
    sums, is_fitted = look.integrate(predicted, settings)
    partiality = falls_to(distance[kept], settings.falloff)
    return Integrated(
        predicted.lattice, predicted.found, partiality, sums, mosaics, widths, limits, is_fitted
    )


def _look(
    shot: Shot,
    lattices: Sequence[Lattice],
    limits_ang: Sequence[float],
    settings: IntegrateSettings,
) -> tuple[Look, list[WidthFit]]:
    """Return a look that holds all that is to be integrated, and the lattices' mosaic models."""
    for number in range(MOST_LOOKS):
        expected = [lattice.mosaic for lattice in lattices]
        predicted = Predicted.of(shot, lattices, limits_ang)
        spreads_deg = [mosaic.mosaicity_deg for mosaic in expected]
        layout = Layout.expected(shot.spot_radius_px / FIRST_SIGMAS, spreads_deg)
        look = Look.first(shot, predicted, layout, settings)
        if not settings.refine_width:
            return look, [WidthFit.unseen(mosaic) for mosaic in expected]
        widths = look.widths(expected, settings)
        pairs = list(zip(expected, widths, limits_ang, strict=True))
        if number + 1 == MOST_LOOKS or all(_is_expected(*pair) for pair in pairs):
            break
        wider = settings.reach * WIDENED / LOOK_REACH
        lattices = [
            replace(lattice, mosaic=fit.mosaic.scaled(wider))
            for lattice, fit in zip(lattices, widths, strict=True)
        ]
    return look, widths


def _is_expected(expected: Mosaic, fit: WidthFit, limit_ang: float) -> bool:
    """Return whether reflections are about as wide as expected, or narrower."""
    middle = np.array([0.6 / limit_ang])
    width, looked_at = (mosaic.half_width_invang(middle)[0] for mosaic in (fit.mosaic, expected))
    return bool(width <= BEARABLE * looked_at)


def _search_limit_ang(shot: Shot, d_spots_ang: float, settings: IntegrateSettings) -> float:
    """Return the resolution to which a lattice is looked at: the user's, or past its last spots."""
    if settings.d_min_ang > 0.0:
        return settings.d_min_ang
    sizes = shot.detector.sizes
    panel = np.repeat(np.arange(len(sizes)), 4)
    corners = sizes[panel] * np.tile([[0, 0], [0, 1], [1, 0], [1, 1]], (len(sizes), 1))
    fast, slow = corners.T.astype(float)
    s1 = shot.detector.s1(panel, fast, slow, shot.beam.wavelength_ang)
    d_corner = 1.0 / float(np.linalg.norm(s1 - shot.beam.s0, axis=1).max())
    return max(d_corner, d_spots_ang / LOOK_BEYOND)
