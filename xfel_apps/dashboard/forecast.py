"""How many lattices a dataset needs: figures of merit that it has, carried on to a target."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Merit:
    """A figure of merit and how it changes with the number of lattices n.

    Attributes
    ----------
    name : its key among the merge statistics
    title : for people
    target : that is aimed for unless another is given
    lowest, highest : targets that are possible
    """

    name: str
    title: str
    target: float
    lowest: float
    highest: float

    def linear(self, value: Array) -> Array:
        """Return what of the figure grows in proportion to n (see `forecast`)."""
        if self.name == "r_split":
            return np.asarray(value**-2.0)
        if self.name == "cc_half":
            return np.asarray(value / (1.0 - value))
        return np.asarray(value**2.0)

    def value(self, linear: Array) -> Array:
        """Return the figure again: the inverse of `linear`."""
        if self.name == "r_split":
            return np.asarray(linear**-0.5)
        if self.name == "cc_half":
            return np.asarray(linear / (1.0 + linear))
        return np.asarray(linear**0.5)


MERITS = {
    item.name: item
    for item in (
        Merit("cc_half", "CC½", 0.95, 0.01, 0.9999),
        Merit("r_split", "Rsplit", 0.1, 0.001, 2.0),
        Merit("mean_i_over_sigma", "I/σ", 10.0, 0.01, 1e4),
    )
}


@dataclass(frozen=True)
class Forecast:
    """Where a figure of merit goes.

    Attributes
    ----------
    merit, target : which, and what is aimed for
    rate : of growth of `merit.linear` with n
    spread : relative standard deviation of `rate` among the versions; None with one version
    n_now : lattices of the newest version
    n_needed : lattices that reach the target
    """

    merit: Merit
    target: float
    rate: float
    spread: float | None
    n_now: int
    n_needed: int

    def curve(self, n_lattices: Array) -> Array:
        """Return the figure at numbers of lattices (n,)."""
        return self.merit.value(self.rate * n_lattices)

    @property
    def is_reached(self) -> bool:
        """Whether the newest version has the target."""
        return self.n_now >= self.n_needed


def forecast(
    merit: Merit, target: float, points: Sequence[tuple[int, float | None]]
) -> Forecast | None:
    r"""Return when a figure of merit reaches a target; None where nothing is known of it.

    Parameters
    ----------
    points : lattices and the figure of each version, in the order they were made

    Notes
    -----
    All stand on the error of a mean of n independent observations, :math:`\sigma \propto n^{-1/2}`,
    as long as the further lattices are like those there are.

    - Rsplit compares the means of two halves, so :math:`R_{split}(n) = R_{split}(n_0)
      \sqrt{n_0 / n}`. Source: White et al. (2012), Acta Cryst. D68, 335.
    - CC1/2 :math:`= \sigma_y^2 / (\sigma_y^2 + \sigma_\epsilon^2)` with the variance of the true
      intensities and that of a half's error, which falls as 1/n; hence CC1/2 / (1 - CC1/2) grows
      in proportion to n. Source: Karplus & Diederichs (2012), Science 336, 1030 (supplement);
      Assmann, Brehm & Diederichs (2016), J. Appl. Cryst. 49, 1021.
    - I/sigma grows with the square root of n.

    The rate is the median over the versions, each weighted by its lattices, so that the small
    versions of the beginning do not tell where the large ones go.
    """
    usable = [(n, x) for n, x in points if n > 0 and x is not None and _is_usable(merit, x)]
    known = [(n, max(x, 0.0)) for n, x in usable]
    if not known:
        return None
    n_lattices, values = np.array(known, dtype=float).T
    rates = merit.linear(values) / n_lattices
    rate = _weighted_median(rates, n_lattices)
    if rate <= 0.0:
        return None
    needed = float(merit.linear(np.array(target))) / rate
    spread = float(np.std(rates) / rate) if len(rates) > 1 else None
    n_now = int(points[-1][0])
    return Forecast(merit, target, rate, spread, n_now, int(np.ceil(needed)))


def _is_usable(merit: Merit, value: float) -> bool:
    """Return whether growth can be told from this value: CC1/2 below 1, others above 0."""
    return value < 1.0 if merit.name == "cc_half" else 0.0 < value < np.inf


def _weighted_median(values: Array, weights: Array) -> float:
    order = np.argsort(values)
    share = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][np.searchsorted(share, 0.5)])
