"""Sorted rows cut into blocks that never part a group."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 200_000


@dataclass(frozen=True)
class Block:
    """Consecutive rows, and the groups whose rows they all are."""

    rows: slice
    groups: slice


def blocks(group: NDArray[np.integer], groups: slice, n_rows: int = BLOCK_ROWS) -> list[Block]:
    """Return blocks of about `n_rows` rows, together all rows and all of `groups`.

    What is summed over a group's rows is the same to the last bit wherever the cuts are.

    Parameters
    ----------
    group : (n,) group of each row, ascending
    groups : the groups there are, also those without rows

    >>> for block in blocks(np.array([3, 3, 3, 5, 5, 8]), slice(2, 9), n_rows=2):
    ...     print(block.rows.start, block.rows.stop, block.groups.start, block.groups.stop)
    0 3 2 5
    3 6 5 9
    """
    wanted = group[n_rows::n_rows] if len(group) else group
    cuts = np.unique(np.searchsorted(group, wanted, side="left"))
    cuts = cuts[cuts > 0]
    rows = [0, *cuts.tolist(), len(group)]
    edges = [groups.start, *group[cuts].tolist(), groups.stop]
    return [
        Block(slice(*row_pair), slice(*group_pair))
        for row_pair, group_pair in zip(pairwise(rows), pairwise(edges), strict=True)
    ]
