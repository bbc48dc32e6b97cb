"""Whether sigmas are right: how repeated measurements scatter about their mean, in units of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.intensities.table import Merged

Array = NDArray[np.float64]

N_BINS, MIN_IN_BIN = 10, 50
"""Bins of merged intensity: so many, fewer where there would be less reflections in each."""


@dataclass(frozen=True)
class Scatter:
    """Sums over the repeated observations of each unique reflection (n,).

    Attributes
    ----------
    square : of squared distances from the mean in sigmas, each over its expectation
    count : repeated observations
    """

    square: Array
    count: Array

    def plus(self, other: "Scatter") -> "Scatter":
        """Return the sums over the observations in either."""
        return Scatter(self.square + other.square, self.count + other.count)

    def chi_square(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> float | None:
        """Return the mean square over chosen reflections, 1 if sigmas are right."""
        count = float(self.count[chosen].sum())
        return float(self.square[chosen].sum()) / count if count else None


@dataclass(frozen=True)
class IntensityBin:
    """Reflections of about the same merged intensity.

    Attributes
    ----------
    mean_intensity, mean_i_over_sigma : of the merged reflections
    n_observations : repeated observations
    chi_square : mean square of their distances from the means, in sigmas
    """

    mean_intensity: float
    mean_i_over_sigma: float
    n_observations: int
    chi_square: float | None


def by_intensity(merged: Merged, found: Scatter) -> tuple[IntensityBin, ...]:
    """Return the scatter in bins of equally many merged reflections, weak ones first."""
    repeated = np.flatnonzero(merged.is_measured & (found.count > 0))
    order = repeated[np.argsort(merged.mean.intensity[repeated], kind="stable")]
    n_bins = int(np.clip(len(order) // MIN_IN_BIN, 1, N_BINS))
    return tuple(_bin(merged, found, rows) for rows in np.array_split(order, n_bins) if len(rows))


def _bin(merged: Merged, found: Scatter, rows: NDArray[np.int64]) -> IntensityBin:
    intensity, sigma = merged.mean.intensity[rows], merged.mean.sigma[rows]
    return IntensityBin(
        mean_intensity=float(intensity.mean()),
        mean_i_over_sigma=float((intensity / sigma).mean()),
        n_observations=int(found.count[rows].sum()),
        chi_square=found.chi_square(rows),
    )
