"""Outliers: observations too far from the mean of their reflection."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from xfel_apps import mpi
from xfel_apps.compute.scaling import ErrorModel
from xfel_apps.merge.averaging import Averager
from xfel_apps.merge.blocks import Block
from xfel_apps.merge.totals import State

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
REJECTION_PASSES = 3


def reject(averager: Averager, state: State, judge: ErrorModel, limit: float) -> State:
    """Return the state without observations too far from the mean of their reflection.

    Too far is more than `limit` sigmas by the error model `judge`.

    Both deviation and variance are taken at the mean with the observation in it: where errors
    grow with the intensity, a strong reflection that others recorded in small part is then
    not taken for an outlier, and what stands out of many still is. In each of some passes the
    worst of each reflection goes. A reflection where none went will lose none later.
    """
    looked_at = np.ones(averager.n_slots, dtype=bool)
    for _ in range(REJECTION_PASSES):
        looked_at = _reject_worst(averager, state, judge, limit, looked_at)
        if not looked_at.any():
            break
        state = replace(state, sums=averager.before.sums.plus(averager.sums(state)))
    return state


def _reject_worst(
    averager: Averager, state: State, judge: ErrorModel, limit: float, among: Mask
) -> Mask:
    """Reject the worst of each slot in `among`; return which slots (n_slots,) lost some."""
    parts = [(np.zeros(0, dtype=np.int64), np.zeros(0))]
    parts += [_deviating(averager, block, state, judge, limit, among) for block in averager.blocks]
    row, deviation = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    slot = averager.mine.slot[row]
    worst = np.zeros(averager.n_slots)
    np.maximum.at(worst, slot, deviation)
    worst = mpi.largest(averager.comm, worst)
    averager.rejected[row[deviation >= worst[slot]]] = True
    return worst > 0


def _deviating(
    averager: Averager, block: Block, state: State, judge: ErrorModel, limit: float, among: Mask
) -> tuple[NDArray[np.int64], Array]:
    """Return the rows of a block that are off by more than `limit` sigmas, and by how many."""
    obs, mean = averager.wide(block), state.sums.mean
    x, variance = averager.expectation(obs, state.scales, judge, mean)
    square = (obs.intensity - x * mean[obs.slot]) ** 2 / variance
    far = np.flatnonzero((square > limit**2) & ~averager.rejected[block.rows] & among[obs.slot])
    return far + block.rows.start, np.sqrt(square[far])
