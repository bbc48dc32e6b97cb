"""How much each crystal raises or lowers CC1/2 of the merged data.

CC1/2 is that of the sigma-tau method, without random halves: from the variance of the means of all
reflections and the mean variance of a half data set's means. Intensities are in units of what is
expected at their resolution, so that all shells count.

Source: Assmann et al. (2016), J. Appl. Cryst. 49, 1021.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from xfel_apps import mpi
from xfel_apps.compute.sums import total_by
from xfel_apps.merge.averaging import Averager
from xfel_apps.merge.blocks import Block
from xfel_apps.merge.totals import State

Array = NDArray[np.float64]

MAD_TO_SIGMA = 1.4826
MIN_CRYSTALS = 10
"""Fewer crystals do not tell what is usual."""


@dataclass(frozen=True)
class Moments:
    """Weighted sums over the observations of slots (n,): weights, values, squares; and numbers."""

    weight: Array
    value: Array
    square: Array
    count: Array

    def spread(self) -> Array:
        """Return what CC1/2 is made of (4, n).

        1 where a slot has two observations or more, its mean, the square of that, and the variance
        of a half data set's mean; 0 elsewhere.
        """
        repeated = self.count > 1.5
        weight = np.where(repeated, self.weight, 1.0)
        mean = np.where(repeated, self.value / weight, 0.0)
        variance = np.maximum(self.square / weight - mean**2, 0.0)
        half = 2.0 * variance / np.where(repeated, self.count - 1.0, 1.0)
        return np.stack([repeated, mean, mean**2, np.where(repeated, half, 0.0)])


def cc_half(sums: Array) -> Array:
    """Return CC1/2 (...) from sums (4, ...) of `Moments.spread` over reflections.

    >>> cc_half(np.array([2.0, 2.0, 4.0, 0.0])).item()  # means 0 and 2 without error
    1.0
    """
    count = np.maximum(sums[0], 1.0)
    variance = np.maximum(sums[2] / count - (sums[1] / count) ** 2, 0.0)
    error = 0.5 * sums[3] / count
    return np.asarray((variance - error) / np.maximum(variance + error, 1e-300))


def delta_cc_half(averager: Averager, state: State) -> Array:
    """Return how much lower CC1/2 would be without each crystal (n_crystals,).

    Negative for crystals that the merged data are better without; 0 for those without repeated
    observations.
    """
    whole = Moments(*averager.total(partial(_of_slots, averager, state), 4))
    sums = whole.spread().sum(axis=1)
    parts = [np.empty((0, 4))]
    parts += [_change_without(averager, state, whole, block) for block in averager.blocks]
    change = np.concatenate(mpi.gather_all(averager.comm, np.concatenate(parts)))
    return np.asarray(cc_half(sums) - cc_half(sums[:, None] + change.T))


def unusual(delta: Array, used: NDArray[np.bool_], sigmas: float) -> NDArray[np.bool_]:
    """Return which crystals (n,) lower CC1/2 by so many standard deviations more than is usual.

    Usual is the median of the crystals in use, the deviation the robust one from their quartiles.
    """
    if used.sum() < MIN_CRYSTALS:
        return np.zeros(len(delta), dtype=bool)
    middle = np.median(delta[used])
    spread = MAD_TO_SIGMA * np.median(np.abs(delta[used] - middle))
    return np.asarray(used & (delta < 0.0) & (delta < middle - sigmas * spread))


def _terms(averager: Averager, state: State, block: Block) -> tuple[NDArray[np.int32], Array]:
    """Return slots (n,) and (4, n) weights, values, squares and ones; 0 for rejected ones."""
    obs = averager.mine.take(block.rows)
    x, variance = averager.expectation(obs, state.scales, state.model, state.weigh_by)
    full = x * state.prior.mean[obs.slot]
    kept = ~averager.rejected[block.rows] / variance
    intensity = obs.intensity.astype(float)
    terms = [kept * full**2, kept * full * intensity, kept * intensity**2, kept > 0.0]
    return obs.slot, np.stack(terms)


def _of_slots(averager: Averager, state: State, block: Block) -> Array:
    """Return the moments (4, n_slots) of a block."""
    slot, terms = _terms(averager, state, block)
    return np.stack([total_by(slot, term, averager.n_slots) for term in terms])


def _change_without(averager: Averager, state: State, whole: Moments, block: Block) -> Array:
    """Return how the sums that CC1/2 is made of change without each crystal of a block (n, 4)."""
    slot, terms = _terms(averager, state, block)
    own = averager.mine.crystal[block.rows] - block.groups.start
    n_crystals = block.groups.stop - block.groups.start
    key = own.astype(np.int64) * averager.n_slots + slot
    pairs, number = np.unique(key, return_inverse=True)
    crystal, at = np.divmod(pairs, averager.n_slots)
    before = Moments(whole.weight[at], whole.value[at], whole.square[at], whole.count[at])
    mine = [total_by(number, term, len(pairs)) for term in terms]
    left = (before.weight, before.value, before.square, before.count)
    after = Moments(*(each - out for each, out in zip(left, mine, strict=True)))
    change = after.spread() - before.spread()
    return np.stack([total_by(crystal, each, n_crystals) for each in change], axis=1)
