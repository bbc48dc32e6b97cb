"""How the observations that were merged scatter about their means."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.sums import total_by
from xfel_apps.intensities.scatter import Scatter
from xfel_apps.merge.averaging import Averager
from xfel_apps.merge.blocks import Block
from xfel_apps.merge.totals import State

Array = NDArray[np.float64]

ALONE = 1e-6
"""An observation is repeated if the others have more than this share of the weight."""


def scatter(averager: Averager, state: State) -> Scatter:
    """Return how the observations that were merged scatter about the means.

    The distance from a mean that the observation is part of is expected to be smaller than sigma,
    by the square root of one minus its share of the weight.
    """
    sums = averager.total(partial(_of_block, averager, state), 2)
    each = sums.reshape(2, -1, averager.slots_each).sum(axis=2)
    return Scatter(each[0], each[1])


def _of_block(averager: Averager, state: State, block: Block) -> Array:
    """Return (2, n_slots) of a block: sums of squares, numbers."""
    obs = averager.mine.take(block.rows)
    x, variance = averager.expectation(obs, state.scales, state.model, state.weigh_by)
    weight, mean = state.sums.weight[obs.slot], state.sums.mean[obs.slot]
    others = 1.0 - x * x / variance / np.maximum(weight, 1e-300)
    counts = (~averager.rejected[block.rows] & (others > ALONE)).astype(float)
    square = (obs.intensity - x * mean) ** 2 / variance / np.where(counts > 0, others, 1.0)
    n_slots = averager.n_slots
    return np.stack(
        [total_by(obs.slot, square * counts, n_slots), total_by(obs.slot, counts, n_slots)]
    )
