"""Who has which shot, and sums over all ranks that do not depend on it."""

import heapq
import time
from collections.abc import Sequence

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from xfel_apps import mpi

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

GRAIN = 2.0**-26
"""What is summed is a multiple of this: whole numbers add up to the same in any order."""

SHARE_SLEPT = 0.05
"""How long a rank sleeps between looks, as a share of the time it has waited."""

MOST = 2.0**20
"""No term of a sum is larger: 2^17 of the largest do not overflow."""


def share_by_cost(costs: Sequence[float], n_ranks: int) -> list[IntArray]:
    """Return the items of each rank, in order: the costliest first, to whoever has least.

    Longest processing time first: Graham (1969), SIAM J. Appl. Math. 17, 416.

    >>> [part.tolist() for part in share_by_cost([3.0, 1.0, 2.0, 2.0], 2)]
    [[0, 1], [2, 3]]
    """
    loads = [(0.0, rank) for rank in range(n_ranks)]
    parts: list[list[int]] = [[] for _ in range(n_ranks)]
    for item in np.argsort(-np.asarray(costs, float), kind="stable").tolist():
        load, rank = heapq.heappop(loads)
        parts[rank].append(item)
        heapq.heappush(loads, (load + float(costs[item]), rank))
    return [np.array(sorted(part), dtype=np.int64) for part in parts]


def grains(values: Array) -> IntArray:
    """Return values as whole numbers of `GRAIN`."""
    return np.rint(np.clip(values, -MOST, MOST) / GRAIN).astype(np.int64)


def add_at(sums: IntArray, slot: NDArray[np.integer], values: Array) -> None:
    """Add values (n,) to the whole numbers `sums` (n_slots,) of their slots."""
    np.add.at(sums, slot, grains(values))


def total(comm: mpi.Comm, mine: IntArray) -> Array:
    """Return the sums of all ranks' whole numbers, as values, on every rank.

    MPI libraries wait by spinning; a rank that is early sleeps between looks, the longer the more
    time has passed.
    """
    result = np.empty_like(mine)
    request = comm.Iallreduce(np.ascontiguousarray(mine), result, op=MPI.SUM)
    began = time.monotonic()
    while not request.Test():
        time.sleep(max(mpi.POLL_S, SHARE_SLEPT * (time.monotonic() - began)))
    return np.asarray(result * GRAIN, dtype=np.float64)
