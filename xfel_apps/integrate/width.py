"""How wide a lattice's reflections are across the Ewald sphere, told by present and absent ones."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from xfel_apps.geometry.mosaic import Falloff, falls_to

Array = NDArray[np.float64]

SCALES = np.geomspace(0.2, 1.5, 24)
"""Factors on the width that are tried. Reflections are looked at up to twice the width."""

PER_SHELL = 60
"""Reflections a resolution shell; each has a mean intensity of its own."""

MARGIN = 1.2
"""The width used over the most likely one: dividing by partialities that are too small costs more
than by ones that are too large."""

ALIEN = 0.05
"""Share of reflections whose pixels hold a spot of something else."""

ABSENT = 0.03
"""Mean intensities below this times sigma cannot be told from none."""

PRIOR_SPREAD = 0.7
"""Standard deviation of the factor's natural logarithm before the reflections are seen."""


def width_scale(
    distance: Array, intensity: Array, variance: Array, d_ang: Array, falloff: Falloff
) -> float:
    """Return the factor on the mosaic model's width that explains the intensities best.

    The width that indexing gives comes from the spots that were found, a few of which may be far
    from the sphere by mistake; here reflections that were predicted and are absent count as well.
    In a shell the intensities follow Wilson's statistics: exponential with the mean intensity times
    the partiality, to which counting adds normal noise. The factor is the most likely one.

    Parameters
    ----------
    distance : (n,) distance from the sphere in half widths of the model
    intensity, variance : (n,) sums [photon]
    d_ang : (n,) resolution
    falloff : of the partiality
    """
    if not len(distance):
        return 1.0
    order = np.argsort(-d_ang)
    shells = np.array_split(order, max(1, len(order) // PER_SHELL))
    penalty = 0.5 * (np.log(SCALES) / PRIOR_SPREAD) ** 2
    for shell in shells:
        partiality = falls_to(distance[shell] / SCALES[:, None], falloff)
        penalty += _misfit(partiality, intensity[shell], variance[shell])
    return MARGIN * float(SCALES[np.argmin(penalty)])


def _misfit(partiality: Array, intensity: Array, variance: Array) -> Array:
    """Return minus the log likelihood (m,) of a shell, for partialities (m, n) of m factors."""
    mean = _mean(partiality, intensity, variance)
    own = _log_density(partiality * mean, intensity, variance)
    alien = _log_density(np.broadcast_to(mean, partiality.shape), intensity, variance)
    return np.asarray(-np.sum(np.logaddexp(own + np.log1p(-ALIEN), alien + np.log(ALIEN)), axis=1))


def _log_density(expected: Array, intensity: Array, variance: Array) -> Array:
    """Return the log density (m, n) of intensities: exponential of mean `expected`, and noise."""
    sigma = np.sqrt(variance)
    expected = np.maximum(expected, ABSENT * sigma)
    tail = log_ndtr(intensity / sigma - sigma / expected)
    return np.asarray(0.5 * variance / expected**2 - intensity / expected + tail - np.log(expected))


def _mean(partiality: Array, intensity: Array, variance: Array) -> Array:
    """Return the mean intensity (m, 1) of a shell that partialities (m, n) go with."""
    weight = 1.0 / variance
    mean = np.zeros((len(partiality), 1))
    for _ in range(3):
        top = np.sum(weight * partiality * intensity, axis=1, keepdims=True)
        bottom = np.sum(weight * partiality**2, axis=1, keepdims=True)
        mean = np.maximum(top / np.maximum(bottom, 1e-12), 0.0)
        weight = 1.0 / (variance + (mean * partiality) ** 2)
    return mean
