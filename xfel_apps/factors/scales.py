r"""Scale and fall-off of each lattice, and what its spots say of the intensities of all.

A spot's photons t, in those of the mean intensity W at its resolution, are
:math:`f\,I / W` with :math:`f = \exp(\ln s - 2 B s^2)`. The model of a spot is not exact: the share
by which it errs has the variance :math:`\tau_0^2 + \tau_1^2 u^2 + \tau_2^2 u^4`, which grows with
the distance u from the Ewald sphere in widths of the lattice point (a turn of the lattice moves the
logarithm of a spot by u, another width by u^2). Residuals weigh in as Student's t does.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.scaling import STUDENT
from xfel_apps.factors.lattices import LatticePixels
from xfel_apps.factors.settings import FactorsSettings
from xfel_apps.factors.spots import Spots

Array = NDArray[np.float64]

LEAST_SHARE = 0.1
"""Errors of the model are at least those of a spot with this share of the mean intensity."""

LN_SCALE_SIGMA, MOST_STEP, N_STEPS = 30.0, np.array([1.0, 5.0]), 4
STRONG, FAR_Z2, FAIR_LEVERAGE = 2.0, 16.0, 0.7
"""Spots of more sigmas tell of the model's errors, if others tell more of their reflection; none
counts for more than these squared sigmas."""

N_MODEL = 3


@dataclass(frozen=True)
class Factor:
    """Logarithm of a lattice's scale over stage 1's, and its B [Angstrom^2]."""

    ln_scale: float = 0.0
    b_ang2: float = 0.0

    def at(self, lattice: LatticePixels) -> Array:
        """Return f (n,) of the lattice's boxes."""
        return np.asarray(np.exp(self.ln_scale - 2.0 * self.b_ang2 * lattice.s2))


def error_terms(lattice: LatticePixels) -> Array:
    """Return (n, 3) what multiplies the squares of the model's three errors."""
    return np.stack([np.ones(len(lattice)), lattice.off**2, lattice.off**4], axis=1)


def spread_of(lattice: LatticePixels, x: Array, f: Array, errors: Array) -> Array:
    """Return the variance (n,) that the model's errors give spots expected to have x (n,)."""
    return np.asarray((error_terms(lattice) @ errors) * np.maximum(x, LEAST_SHARE * f) ** 2)


@dataclass(frozen=True)
class Weighed:
    """A lattice's spots beside the intensities of all shots.

    Attributes
    ----------
    f, x : (n,) factor, and photons expected
    residual, variance, weight : (n,) measured less expected, its variance, and its weight
    """

    f: Array
    x: Array
    residual: Array
    variance: Array
    weight: Array

    @classmethod
    def of(
        cls,
        lattice: LatticePixels,
        spots: Spots,
        factor: Factor,
        relative: Array,
        errors: Array,
    ) -> "Weighed":
        """Return the comparison; `relative` (n_slots,) are intensities over W."""
        f = factor.at(lattice)
        x = f * relative[lattice.slot]
        residual = spots.measured - x
        variance = spots.variance + spread_of(lattice, x, f, errors)
        weight = (STUDENT + 1.0) / (STUDENT + residual**2 / variance) / variance
        return cls(f, x, residual, variance, weight)

    def misfit(self, spots: Spots) -> float:
        """Return minus the log likelihood: of the pixels, and of their spots as Student's t."""
        ratio = self.residual**2 / self.variance
        wider = np.sum(np.log(self.variance / spots.variance))
        distant = (STUDENT + 1.0) * np.sum(np.log1p(ratio / STUDENT))
        return spots.misfit + float(0.5 * (wider + distant))

    def model_errors(self, spots: Spots, terms: Array, leverage: Array) -> tuple[Array, Array]:
        """Return normal equations (3, 3), (3,) of the squares of the model's errors.

        Parameters
        ----------
        spots, terms : the spots, and their `error_terms`
        leverage : (n,) share of each spot in the weight of its reflection
        """
        own = (self.x > STRONG * np.sqrt(spots.variance)) & (leverage < FAIR_LEVERAGE)
        square = np.minimum(self.residual**2 / (1.0 - leverage), FAR_Z2 * self.variance)[own]
        scale = self.x[own] ** 2
        share = (square - spots.variance[own]) / scale
        weight = 1.0 / (spots.variance[own] / scale + LEAST_SHARE**2) ** 2
        rows = terms[own]
        return (rows * weight[:, None]).T @ rows, rows.T @ (weight * share)


def fitted(
    lattice: LatticePixels,
    spots: Spots,
    start: Factor,
    given: tuple[Array, Array],
    settings: FactorsSettings,
) -> Factor:
    """Return the factor that explains the lattice's spots best; `given`: relative, errors."""
    factor = start
    sigma_b = max(settings.b_sigma_ang2, 1e-6)
    prior = np.array([LN_SCALE_SIGMA**-2, sigma_b**-2])
    for _ in range(N_STEPS):
        found = Weighed.of(lattice, spots, factor, *given)
        slope = np.stack([found.x, -2.0 * lattice.s2 * found.x], axis=1)
        bend = (slope * found.weight[:, None]).T @ slope + np.diag(prior)
        now = np.array([factor.ln_scale, factor.b_ang2])
        step = np.linalg.solve(bend, slope.T @ (found.weight * found.residual) - prior * now)
        step = np.clip(step, -MOST_STEP, MOST_STEP)
        factor = replace(
            factor, ln_scale=factor.ln_scale + float(step[0]), b_ang2=factor.b_ang2 + float(step[1])
        )
    return factor


def why_not(
    lattice: LatticePixels,
    spots: Spots,
    factor: Factor,
    relative: Array,
    settings: FactorsSettings,
) -> str | None:
    """Return why a lattice is not to be used, None if it is."""
    if not (spots.is_finite and np.isfinite([factor.ln_scale, factor.b_ang2]).all()):
        return "its likelihood is not a number"
    weight = 1.0 / (spots.variance + LEAST_SHARE)
    found = _correlation(spots.measured, factor.at(lattice) * relative[lattice.slot], weight)
    if not found >= settings.min_correlation:
        return (
            f"its spots correlate by {found:.2f} with all shots' intensities, less than "
            f"factors.min_correlation={settings.min_correlation:g}: is it indexed rightly?"
        )
    return None


def _correlation(one: Array, other: Array, weight: Array) -> float:
    """Return the weighted correlation; 0 where there is none."""
    one = one - np.average(one, weights=weight)
    other = other - np.average(other, weights=weight)
    norm = np.sum(weight * one**2) * np.sum(weight * other**2)
    return float(np.sum(weight * one * other) / np.sqrt(norm)) if norm > 0.0 else 0.0
