"""Crystals cut into leaves: what a rank works on at a time, and what sums are built up from.

The cuts depend on the dataset alone. Each leaf lies on one rank, and what leaves add up to is added
pair by pair as in `LeafSums`, so that no sum depends on the number of ranks.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from xfel_apps import mpi

Array = NDArray[np.float64]

N_LEAVES, MAX_LEAF_ROWS = 64, 2**16
"""At least so many leaves where there are as many crystals, and of so many rows at most."""


@dataclass(frozen=True)
class Block:
    """The rows of a leaf on this rank, and the crystals whose rows they all are."""

    number: int
    rows: slice
    groups: slice


@dataclass(frozen=True)
class Leaves:
    """Cuts of the crystals of a dataset: leaf i has the crystals edges[i] ... edges[i + 1]."""

    edges: NDArray[np.int64]

    @classmethod
    def of(cls, work: NDArray[np.integer], shot: NDArray[np.integer]) -> "Leaves":
        """Return leaves of about equal work that never part a shot.

        Parameters
        ----------
        work : (n,) of each crystal, more than 0
        shot : (n,) number of its shot; crystals of a shot follow each other

        >>> Leaves.of(np.array([1, 1, 1, 1]), np.array([0, 0, 1, 2])).edges.tolist()
        [0, 2, 3, 4]
        """
        done = np.cumsum(work)
        size = min(-(-int(done[-1]) // N_LEAVES), MAX_LEAF_ROWS)
        first = np.flatnonzero(np.diff(shot, prepend=shot[0] - 1))
        number = (done - work)[first] // size
        cuts = first[np.flatnonzero(np.diff(number, prepend=-1))]
        return cls(np.append(cuts, len(work)).astype(np.int64))

    def __len__(self) -> int:
        return len(self.edges) - 1

    def of_rank(self, rank: int, size: int) -> range:
        """Return the leaves of a rank: consecutive, in order of rank."""
        return range(len(self) * rank // size, len(self) * (rank + 1) // size)

    def crystals(self, leaves: range) -> slice:
        """Return the crystals of consecutive leaves."""
        return slice(int(self.edges[leaves.start]), int(self.edges[leaves.stop]))

    def blocks(self, crystal: NDArray[np.integer], leaves: range) -> list[Block]:
        """Return the rows of each of some leaves.

        Parameters
        ----------
        crystal : (n,) crystal of each row, ascending
        """
        edges = self.edges[leaves.start : leaves.stop + 1]
        rows = np.searchsorted(crystal, edges.astype(crystal.dtype))
        spans = zip(pairwise(rows.tolist()), pairwise(edges.tolist()), strict=True)
        return [
            Block(number, slice(*row_pair), slice(*group_pair))
            for number, (row_pair, group_pair) in zip(leaves, spans, strict=True)
        ]


@dataclass(frozen=True)
class _Node:
    """The sum of the leaves number << level up to (number + 1) << level."""

    number: int
    level: int
    values: Array


class LeafSums:
    """Sums over leaves, added pair by pair: the same to the last bit whatever rank has which leaf.

    Leaves 2 i and 2 i + 1 are added, then such sums, and so on. A rank adds up what it can of its
    leaves; the rest is added where all ranks' sums meet.
    """

    def __init__(self) -> None:
        self._nodes: list[_Node] = []

    def push(self, number: int, values: Array, level: int = 0) -> None:
        """Add the values (k, n) of the next leaf, or of the next node of a higher level."""
        nodes = self._nodes
        while nodes and number % 2 and (nodes[-1].number, nodes[-1].level) == (number - 1, level):
            values = nodes.pop().values + values
            number, level = number // 2, level + 1
        nodes.append(_Node(number, level, values))

    def total(self, comm: mpi.Comm, shape: tuple[int, int]) -> Array:
        """Return the sum (k, n) over the leaves of all ranks, on every rank."""
        labels = comm.allgather([(node.number, node.level) for node in self._nodes])
        cuts = np.arange(comm.size + 1) * shape[1] // comm.size
        widths = np.diff(cuts)
        parts = [
            node.values[:, start:stop].ravel()
            for start, stop in pairwise(cuts)
            for node in self._nodes
        ]
        counts = np.array(len(self._nodes) * shape[0] * widths, dtype=np.int64)
        received = mpi.exchange(comm, np.concatenate([np.zeros(0), *parts]), counts)
        every = [label for of_rank in labels for label in of_rank]
        met = LeafSums()
        for (number, level), values in zip(
            every, received.reshape(len(every), shape[0], widths[comm.rank]), strict=True
        ):
            met.push(number, values, level)
        mine = sum((node.values for node in met._nodes), np.zeros((shape[0], widths[comm.rank])))
        return np.concatenate(mpi.gather_all(comm, np.ascontiguousarray(mine.T))).T.copy()
