"""What is expected of intensities before they are measured, after Wilson (1949)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.sums import Sums

Array = NDArray[np.float64]
Real = NDArray[np.floating]
ABSURD_MEAN, IMPOSSIBLE_MEAN = 30.0, 100.0
"""Intensities above so many times the mean do not count for it; observations are refused."""


@dataclass(frozen=True)
class Prior:
    """What is expected of intensities before they are measured, by Wilson (1949).

    Attributes
    ----------
    mean : (n,) mean intensity at the resolution of each reflection
    variance : (n,) its square, doubled for centric reflections
    """

    mean: Array
    variance: Array

    def posterior(self, sums: Sums) -> tuple[Array, Array]:
        """Return mean and variance (n,) of intensities, given what was observed.

        The normal approximation: both distributions weigh in with their inverse variances.
        """
        variance = 1.0 / (np.maximum(sums.weight, 0.0) + 1.0 / self.variance)
        mean = variance * (sums.weighted + self.mean / self.variance)
        return np.maximum(mean, 0.01 * self.mean), variance


def wilson_prior(
    sums: Sums, quiet: Array, s2: Array, epsilon: Array, centric: NDArray[np.bool_]
) -> Prior:
    """Return the mean intensity and variance expected of each slot from its neighbours' means.

    Parameters
    ----------
    quiet : (n,) weights of the slots from background noise alone. The weights in `sums` fall with
        the intensity where errors grow with it, and would bias the level low.
    s2, epsilon, centric : (n,) of the slots

    Means in shells of equally many observed slots, each slot weighted by measurement variance and
    spread of intensities together, interpolated in s^2 on a logarithmic scale.
    Source: Wilson (1949), Acta Cryst. 2, 318.
    """
    seen = np.flatnonzero(sums.weight > 0)
    spread = np.where(centric, 2.0, 1.0)
    if not len(seen):
        return Prior(epsilon.copy(), spread * epsilon**2)
    value, variance = sums.mean[seen] / epsilon[seen], 1.0 / (quiet[seen] * epsilon[seen] ** 2)
    order = np.argsort(s2[seen], kind="stable")
    shells = np.array_split(order, int(np.clip(len(seen) // 50, 1, 25)))
    centre = np.array([s2[seen][shell].mean() for shell in shells])
    level = np.array([_shell_mean(value[i], variance[i], spread[seen][i]) for i in shells])
    level = np.maximum(level, 1e-3 * max(level.max(), 1e-30))
    mean = np.exp(np.interp(s2, centre, np.log(level))) * epsilon
    return Prior(mean, spread * mean**2)


def _shell_mean(value: Array, variance: Array, spread: Array) -> float:
    """Return the mean of intensities with errors `variance` that scatter as Wilson's do.

    Values that cannot belong to the distribution (zingers, other lattices) are left out.
    """
    mean: float = max(float(np.median(value)), 0.0) / np.log(2.0)
    for _ in range(8):
        possible = value < ABSURD_MEAN * mean * spread + 6.0 * np.sqrt(variance)
        weight = possible / (variance + spread * mean**2)
        if possible.any():
            mean = float(np.average(value, weights=weight))
    return mean


def impossible(
    intensity: Real, x: Array, noise: Real, expected: Array, spread: Array
) -> NDArray[np.bool_]:
    """Return which observations (n,) are too strong for any reflection of the crystal.

    Parameters
    ----------
    intensity, x, noise : of the observations
    expected, spread : mean intensity at their resolution, and 2 for centric reflections, else 1

    The probability of I > t times the mean is exp(-t) (acentric); the limit is far beyond, so that
    wrong scales and partialities do not matter. Source: Read (1999), Acta Cryst. D55, 1759.
    """
    full = x * expected
    sigma = np.sqrt(noise + np.maximum(full, 0.0))
    return np.asarray(intensity > IMPOSSIBLE_MEAN * spread * full + 6.0 * sigma)
