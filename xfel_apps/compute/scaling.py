"""Scaling crystals and averaging what they measured, as sums over flat arrays of observations.

The model of an observation I of reflection h by crystal c is ``I = x M_h + noise`` with
``x = p exp(log G_c - 2 B_c s^2)``: partiality p, scale G, fall-off B [Angstrom^2] and
s^2 = 1/(4 d^2). The same observations in the same order give the same sums to the last bit.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.sums import Runs, Sums
from xfel_apps.compute.wilson import Prior

Array = NDArray[np.float64]
Real = NDArray[np.floating]
Index = NDArray[np.integer]
STUDENT = 4.0
"""Degrees of freedom of Student's t, the distribution that residuals are taken to have."""
MAX_STEP = np.array([1.0, 10.0, 0.5, 0.5, 0.2, 0.2])
"""Largest change in one step of what is in `Scales.table`."""


@dataclass(frozen=True)
class Scales:
    """What is fitted of every crystal.

    Attributes
    ----------
    table : (n, 6): log G; B [Angstrom^2]; two angles by which the crystal is turned about lab x and
        y from where it was integrated [mrad]; and how the logarithm of the width of its reflections
        differs from what it was integrated with, at low resolution and at 2 Angstrom
    growth : (n,) log of how much wider reflections are at 2 Angstrom than at low resolution, as
        integrated
    """

    table: Array
    growth: Array

    @classmethod
    def ones(cls, n_crystals: int) -> "Scales":
        """Return scales that change nothing."""
        return cls(np.zeros((n_crystals, 6)), np.zeros(n_crystals))

    @property
    def log_scale(self) -> Array:
        """Log G (n,)."""
        return self.table[:, 0]

    @property
    def b_ang2(self) -> Array:
        """B (n,) [Angstrom^2]."""
        return self.table[:, 1]

    @property
    def tilt_mrad(self) -> Array:
        """Turns about lab x and y (n, 2) [mrad]."""
        return self.table[:, 2:4]

    @property
    def log_width(self) -> Array:
        """Changes of the logarithm of the width (n, 2), at low resolution and at 2 Angstrom."""
        return self.table[:, 4:6]

    def centred(self, used: NDArray[np.bool_]) -> "Scales":
        """Return scales with the means of log G and B of the crystals in `used` (n,) at zero."""
        if not used.any():
            return self
        table = self.table.copy()
        table[:, :2] -= table[used, :2].mean(axis=0)
        return replace(self, table=table)

    def factor(self, crystal: Index, s2: Array) -> Array:
        """Return exp(log G - 2 B s^2) (n,) of observations, less where reflections are wider.

        A still records of a reflection what the Ewald sphere cuts of it: the wider it is across the
        sphere the less, Lorentz's factor of stills.
        """
        exponent = self.log_scale[crystal] - 2.0 * self.b_ang2[crystal] * s2
        if self._widening is not None:
            exponent -= self._widening[crystal] * at_2_ang(s2)
        return np.asarray(np.exp(exponent))

    @cached_property
    def _widening(self) -> Array | None:
        """Log of how much wider reflections are at 2 Angstrom (n,); None if none is."""
        widening = self.growth + self.table[:, 5] - self.table[:, 4]
        return widening if widening.any() else None


def at_2_ang(s2: Array) -> Array:
    """Return |q| in units of that at 2 Angstrom resolution, from s^2 = 1 / (4 d^2) (n,).

    >>> at_2_ang(np.array([0.0, 1 / 16])).tolist()
    [0.0, 1.0]
    """
    return np.asarray(4.0 * np.sqrt(s2))


@dataclass(frozen=True)
class ErrorModel:
    """Variance of an observation, wide enough for the scatter that counting does not explain.

    It is ``counting (noise + x M) + (partiality G M)^2 + (relative x M)^2`` with the variance
    `noise` of the background and the expected count x M; the other terms stand for an error of the
    recorded fraction, and for one proportional to the intensity. Form after Brewster et al.
    (2019), Acta Cryst. D75, 959 (ev11), where the error of partiality replaces the term linear in
    the intensity.
    """

    counting: float = 1.0
    partiality: float = 0.0
    relative: float = 0.0

    def variance(self, noise: Real, factor: Array, partiality: Array, mean: Array) -> Array:
        """Return the expected variance (n,) of observations of reflections with mean (n,)."""
        full = factor * np.maximum(mean, 0.0)
        expected = partiality * full
        return np.asarray(
            self.counting * (noise + expected)
            + (self.partiality * full) ** 2
            + (self.relative * expected) ** 2
        )


@dataclass(frozen=True)
class Residuals:
    """Observations against what all other crystals make of the same reflections.

    Attributes
    ----------
    expected : (n,) x M, M from the others and Wilson's prior
    residual : (n,) observed minus expected
    variance : (n,) of the observation about `expected` (error model alone)
    ignorance : (n,) what the uncertainty of M adds to it
    is_common : (n,) whether others measured the reflection
    """

    expected: Array
    residual: Array
    variance: Array
    ignorance: Array
    is_common: NDArray[np.bool_]

    @property
    def weight(self) -> Array:
        """Return the weights (n,) of a fit by Student's t, iteratively reweighted."""
        total = self.variance + self.ignorance
        return (STUDENT + 1.0) / (STUDENT + self.residual**2 / total) / total


def leave_one_out(
    sums: Sums, prior: Prior, intensity: Real, x: Array, variance: Array
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return mean and variance of intensity without each observation, and whether any is left.

    All arguments are given for each observation (n,): the sums and prior of its slot.
    """
    weight = x / variance
    left = sums.weight - weight * x
    is_common = left > 1e-6 * sums.weight
    others = Sums(is_common * (sums.weighted - weight * intensity), is_common * left)
    mean, unsure = prior.posterior(others)
    return mean, unsure, is_common


@dataclass(frozen=True)
class ScalePrior:
    """What is known of scales beforehand: mean and spread of log G, spread of B, tilts, widths."""

    mean_log: float
    sd_log: float
    sd_b_ang2: float
    sd_tilt_mrad: float
    sd_width: float

    @property
    def mean(self) -> Array:
        """Means (6,) of the columns of `Scales.table`."""
        return np.array([self.mean_log, 0.0, 0.0, 0.0, 0.0, 0.0])

    @property
    def sd(self) -> Array:
        """Standard deviations (6,)."""
        tilt, width = self.sd_tilt_mrad, self.sd_width
        return np.array([self.sd_log, self.sd_b_ang2, tilt, tilt, width, width])


def scale_step(
    scales: Scales, crystal: Index, slopes: Array, res: Residuals, prior: ScalePrior
) -> tuple[Scales, Array]:
    """Return scales one step nearer to the most probable, and their variances (n, 6).

    A Gauss-Newton step of a robust fit for each crystal, with Student's t for the residuals
    (iteratively reweighted) and normal priors, which decide where a crystal shares few reflections
    with the others.

    Parameters
    ----------
    crystal : (m,) of each observation, ascending
    slopes : (k, m) changes of the logarithm of each expected observation with the first k columns
        of `Scales.table`, 2 or 6; the others stay
    """
    n, k = len(scales.table), len(slopes)
    runs = Runs(crystal, n)
    weight = res.weight
    by = slopes * res.expected
    precision = prior.sd[:k] ** -2.0
    table = scales.table.copy()
    gradient = -(table - prior.mean)[:, :k] * precision
    normal = np.broadcast_to(np.diag(precision), (n, k, k)).copy()
    for i in range(k):
        weighted = weight * by[i]
        gradient[:, i] += runs.total(weighted * res.residual)
        for j in range(i, k):
            normal[:, i, j] += runs.total(weighted * by[j])
            normal[:, j, i] = normal[:, i, j]
    covariance = np.linalg.inv(normal)
    step = (covariance @ gradient[:, :, None])[:, :, 0]
    table[:, :k] += np.clip(step, -MAX_STEP[:k], MAX_STEP[:k])
    variance = np.zeros_like(table)
    variance[:, :k] = np.diagonal(covariance, axis1=1, axis2=2)
    return replace(scales, table=table), variance
