"""Sums of observations by slot, in the order given: the same to the last bit every time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Real = NDArray[np.floating]
Index = NDArray[np.integer]


@dataclass(frozen=True)
class Sums:
    """Weighted sums of slots: ``weighted = sum(x I / v)`` and ``weight = sum(x^2 / v)``.

    Their ratio is the least-squares mean, the inverse of `weight` its variance.
    """

    weighted: Array
    weight: Array

    @property
    def mean(self) -> Array:
        """Return the least-squares means (n_slots,), 0 where nothing was observed."""
        return np.divide(
            self.weighted, self.weight, out=np.zeros_like(self.weighted), where=self.weight > 0
        )

    def plus(self, other: "Sums") -> "Sums":
        """Return the sums of the observations in either."""
        return Sums(self.weighted + other.weighted, self.weight + other.weight)

    def pooled(self, n_each: int) -> "Sums":
        """Return the sums where `n_each` slots that follow each other are one, each with all.

        >>> Sums(np.array([1.0, 2.0, 5.0, 0.0]), np.ones(4)).pooled(2).weighted.tolist()
        [3.0, 3.0, 5.0, 5.0]
        """
        if n_each == 1:
            return self
        weighted, weight = (
            np.repeat(each.reshape(-1, n_each).sum(axis=1), n_each)
            for each in (self.weighted, self.weight)
        )
        return Sums(weighted, weight)


def total_by(group: Index, values: Real, n_groups: int) -> Array:
    """Return the sum of `values` (n,) in each group (n_groups,), added in the order given.

    >>> total_by(np.array([1, 0, 1]), np.array([1.0, 2.0, 3.0]), 3)
    array([2., 4., 0.])
    """
    return np.asarray(np.bincount(group, weights=values, minlength=n_groups), dtype=np.float64)


class Runs:
    """Rows in order of their groups, for sums in a fraction of the time that `total_by` takes.

    >>> Runs(np.array([0, 0, 2]), 4).total(np.array([1.0, 2.0, 3.0]))
    array([3., 0., 3., 0.])
    """

    def __init__(self, group: Index, n_groups: int) -> None:
        self.n_groups = n_groups
        self.starts = np.flatnonzero(np.diff(group, prepend=-1))
        self.present = group[self.starts]

    def total(self, values: Array) -> Array:
        """Return the sum of `values` (n,) in each group (n_groups,)."""
        result = np.zeros(self.n_groups)
        if len(self.starts):
            result[self.present] = np.add.reduceat(values, self.starts)
        return result


def slot_sums(slot: Index, intensity: Real, x: Array, variance: Array, n_slots: int) -> Sums:
    """Return the weighted sums of every slot."""
    weight = x / variance
    return Sums(total_by(slot, weight * intensity, n_slots), total_by(slot, weight * x, n_slots))
