"""How well a model explains the pixels, and whether a refined lattice is to be believed."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.shoebox import LEAST_VARIANCE, pixels_of, shoebox_photons
from xfel_apps.diffbragg.fit import ShotPixels, ShotState
from xfel_apps.diffbragg.lattice import Refined
from xfel_apps.diffbragg.settings import DiffbraggSettings
from xfel_apps.pixel_model.background import CORE_PX

Array = NDArray[np.float64]

STRONG_SIGMAS = 8.0
"""Spots whose counts in the core are so many sigmas above background show offsets."""


@dataclass(frozen=True)
class Agreement:
    """How a model agrees with a shot's pixels.

    Attributes
    ----------
    sigma_z : rms over pixels of (observed - expected) / sigma; 1 is perfect
    correlation : of the pixels' net counts with the model's spots, near the spots
    offset_px : median distance of strong spots' centroids from the model's; NaN if none is strong
    gain : log likelihood a box, over background alone
    spot_photons : (n,) of each spot, all pixels of its box
    centroid_px : (n, 2) of each spot, from the box's first pixel (fast, slow)
    """

    sigma_z: float
    correlation: float
    offset_px: float
    gain: float
    spot_photons: Array
    centroid_px: Array


def agreement(shot: ShotPixels, state: ShotState) -> Agreement:
    """Return how the model agrees with the pixels."""
    spots = state.spots(shot)
    dark = replace(spots, amplitude=np.zeros(len(shot)))
    photons = shoebox_photons(shot.boxes, spots, shot.beam)
    background = shoebox_photons(shot.boxes, dark, shot.beam)
    bragg = photons - background
    box, fast, slow = pixels_of(shot.boxes)
    at = np.stack([fast, slow]).astype(float) + 0.5
    n = len(shot)
    centroid = _centroids(box, at, bragg, shot)
    used = np.isfinite(shot.observed)
    observed = np.where(used, shot.observed, photons).astype(float)
    variance = np.maximum(photons, LEAST_VARIANCE) + shot.noise
    z2 = np.sum((observed - photons)[used] ** 2 / variance[used]) / max(int(used.sum()), 1)
    net = observed - background
    core = used & (np.hypot(*(at - centroid[box].T)) < CORE_PX)
    return Agreement(
        float(np.sqrt(z2)),
        _correlation(net[core], bragg[core]),
        _median_offset(box, at, np.where(core, net, 0.0), (centroid, core * variance)),
        _gain(observed[used], photons[used], background[used], shot.noise[used]) / max(n, 1),
        np.bincount(box, bragg, n).astype(float),
        centroid,
    )


def why_rejected(
    refined: Refined, found: Agreement, turned_deg: float, settings: DiffbraggSettings
) -> str | None:
    """Return why a refined lattice is not to be believed, None if it is.

    Parameters
    ----------
    refined, found : the lattice, and how it agrees with the pixels
    turned_deg : angle by which the fit turned it
    settings : the limits
    """
    after = refined.after
    if not (np.isfinite(after.cost) and np.isfinite(after.state.crystal.a_matrix).all()):
        return "the fit is not finite"
    if turned_deg > settings.max_turn_deg:
        return (
            f"the fit turned the lattice by {turned_deg:.2f} degrees, more than "
            f"diffbragg.max_turn_deg={settings.max_turn_deg:g}: is the geometry right?"
        )
    if not found.gain >= settings.min_gain:
        return (
            f"its spots gain {found.gain:.1f} of the log likelihood a box over background alone, "
            f"less than diffbragg.min_gain={settings.min_gain:g}: is the geometry right?"
        )
    if not found.correlation >= settings.min_agreement:
        return (
            f"its spots correlate by {found.correlation:.2f} with the pixels, less than "
            f"diffbragg.min_agreement={settings.min_agreement:g}: is the geometry right?"
        )
    return None


def _centroids(box: NDArray[np.int64], at: Array, bragg: Array, shot: ShotPixels) -> Array:
    """Return where the model's spots are (n, 2); a spot without a photon is in the middle."""
    total = np.bincount(box, bragg, len(shot))
    sums = np.column_stack([np.bincount(box, bragg * axis, len(shot)) for axis in at])
    has = total > 1e-12
    middle = shot.boxes.sizes / 2.0
    return np.where(has[:, None], sums / np.where(has, total, 1.0)[:, None], middle)


def _median_offset(
    box: NDArray[np.int64], at: Array, net: Array, model: tuple[Array, Array]
) -> float:
    """Return the median distance of strong spots' centroids from the model's [pixel].

    Parameters
    ----------
    box, at, net : (n_pixels,) and (2, n_pixels): pixels, and their net counts, 0 off the core
    model : centroids (n, 2) and variance of each pixel, 0 off the core
    """
    centroid, variance = model
    n = len(centroid)
    total = np.bincount(box, net, n)
    strong = total > STRONG_SIGMAS * np.sqrt(np.bincount(box, variance, n))
    if not strong.any():
        return float("nan")
    seen = np.column_stack([np.bincount(box, net * axis, n) for axis in at])[strong]
    off = seen / total[strong, None] - centroid[strong]
    return float(np.median(np.hypot(*off.T)))


def _correlation(one: Array, other: Array) -> float:
    if len(one) < 3 or not (one.std() > 0.0 and other.std() > 0.0):
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _gain(observed: Array, photons: Array, background: Array, noise: NDArray[np.float32]) -> float:
    """Return by how much spots raise the log likelihood."""

    def misfit(expected: Array) -> float:
        variance = np.maximum(expected, LEAST_VARIANCE) + noise
        return float(np.sum((observed - expected) ** 2 / variance + np.log(variance)) / 2.0)

    return misfit(background) - misfit(photons)
