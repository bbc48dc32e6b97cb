"""To which resolution merged data are worth using: a suggestion, which changes nothing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from xfel_apps.intensities.agreement import correlation
from xfel_apps.intensities.table import Merged

Array = NDArray[np.float64]

LEAST_CC_HALF, LEAST_I_OVER_SIGMA, LEAST_COMPLETENESS = 0.3, 1.0, 0.9
"""Where data are taken to end, by each measure. Source: Karplus & Diederichs (2012), Science 336,
1030, and (2015), Curr. Opin. Struct. Biol. 34, 60: by CC1/2; the other two are for comparison."""
PER_SHELL, MAX_SHELLS, MIN_SHELLS = 150, 40, 6
"""Possible reflections a shell, and how many shells there are at most and at least."""
LEAST_PAIRS = 10
"""A shell's CC1/2 counts if so many reflections were measured in both halves."""


@dataclass(frozen=True)
class Cutoff:
    """Where merged data end.

    Attributes
    ----------
    d_min_ang : suggested limit; None if CC1/2 is too low everywhere or cannot be told
    is_beyond : CC1/2 is still above the least where the data end: they may go further
    cc_half_ang : where a smooth curve through CC1/2 falls to 0.3; None if never or always below
    i_over_sigma_ang : where the mean I/sigma, made to fall steadily, comes to 1; None likewise
    completeness_ang : where the completeness, made to fall steadily, comes to 0.9; None likewise
    """

    d_min_ang: float | None
    is_beyond: bool
    cc_half_ang: float | None
    i_over_sigma_ang: float | None
    completeness_ang: float | None

    def sentence(self) -> str:
        """Return the suggestion in words."""
        if self.d_min_ang is None:
            return "none can be suggested: CC1/2 is below 0.3 everywhere, or cannot be told"
        said = f"{self.d_min_ang:.2f} A suggested"
        if self.is_beyond:
            said += " (the limit of the merge: CC1/2 is above 0.3 up to there)"
        else:
            said += " (CC1/2 falls to 0.3)"
        for name, d_ang in (
            ("I/sigma falls to 1", self.i_over_sigma_ang),
            ("completeness to 90 %", self.completeness_ang),
        ):
            if d_ang is not None:
                said += f"; {name} at {d_ang:.2f} A"
        return said


def cutoff(merged: Merged) -> Cutoff:
    """Return where the merged data end, by CC1/2, mean I/sigma and completeness."""
    d_ang = merged.unique.d_ang
    if len(d_ang) < MIN_SHELLS:
        return Cutoff(None, False, None, None, None)
    n_shells = int(np.clip(len(d_ang) // PER_SHELL, MIN_SHELLS, MAX_SHELLS))
    shells = np.array_split(np.argsort(-d_ang, kind="stable"), n_shells)
    table = np.array([_of_shell(merged, shell) for shell in shells])
    x, pairs, cc_half, n_measured, i_over_sigma, completeness = table.T
    told = pairs >= LEAST_PAIRS
    last_ang = float(d_ang.min())
    cc_half_ang, is_beyond = _end_of_cc_half(x[told], cc_half[told], pairs[told], last_ang)
    return Cutoff(
        d_min_ang=last_ang if is_beyond else cc_half_ang,
        is_beyond=is_beyond,
        cc_half_ang=cc_half_ang,
        i_over_sigma_ang=_crossing(x, i_over_sigma, n_measured, LEAST_I_OVER_SIGMA),
        completeness_ang=_crossing(x, completeness, np.ones(len(x)), LEAST_COMPLETENESS),
    )


def _of_shell(merged: Merged, shell: NDArray[np.int64]) -> tuple[float, ...]:
    """Return mean 1/d^2, pairs in both halves, CC1/2, number measured, I/sigma, completeness."""
    measured = shell[merged.is_measured[shell]]
    ratio = merged.mean.intensity[measured] / merged.mean.sigma[measured]
    first, second = (half.intensity[shell] for half in merged.halves)
    known = np.isfinite(first) & np.isfinite(second)
    return (
        float(np.mean(merged.unique.d_ang[shell] ** -2.0)),
        float(known.sum()),
        correlation(first, second) or 0.0,
        float(len(measured)),
        float(ratio.mean()) if len(measured) else 0.0,
        len(measured) / len(shell),
    )


def falling(x: Array, top: Array, middle: Array, width: Array) -> Array:
    """Return a curve that falls from `top` to 0 about `middle` in 1/d^2, as CC1/2 does."""
    return np.asarray(0.5 * top * (1.0 - np.tanh((x - middle) / width)))


def _end_of_cc_half(
    x: Array, cc: Array, weight: Array, last_ang: float
) -> tuple[float | None, bool]:
    """Return where CC1/2 falls to its least, and whether it is above it up to the end.

    The curve is `falling`, the least-squares one of a grid, so that one odd shell decides nothing.
    """
    if len(x) < MIN_SHELLS // 2:
        return None, False
    end = last_ang**-2
    middle, width = np.meshgrid(
        np.linspace(0.02, 2.0, 199) * end, np.geomspace(0.03, 2.0, 30) * end, indexing="ij"
    )
    shape = falling(x, np.ones(()), middle[..., None], width[..., None])
    power = np.maximum(np.sum(weight * shape**2, axis=-1), 1e-9)
    top = np.clip(np.sum(weight * shape * cc, axis=-1) / power, 0.0, 1.0)
    misfit = np.sum(weight * (top[..., None] * shape - cc) ** 2, axis=-1)
    best = np.unravel_index(np.argmin(misfit), misfit.shape)
    fine = np.linspace(x[0], end, 2000)
    curve = falling(fine, top[best], middle[best], width[best])
    below = np.flatnonzero(curve < LEAST_CC_HALF)
    if not len(below):
        return None, True
    return (None if below[0] == 0 else float(fine[below[0]] ** -0.5)), False


def _crossing(x: Array, value: Array, weight: Array, least: float) -> float | None:
    """Return the resolution at which `value`, made to fall steadily with x, comes to `least`."""
    fit = isotonic_regression(value, weights=np.maximum(weight, 1e-6), increasing=False)
    smooth = np.asarray(fit.x)
    if smooth[0] < least or smooth[-1] >= least:
        return None
    first = int(np.flatnonzero(smooth < least)[0])
    part = (smooth[first - 1] - least) / (smooth[first - 1] - smooth[first])
    return float((x[first - 1] + part * (x[first] - x[first - 1])) ** -0.5)
