"""Time axis with the long breaks cut out in which nothing ran."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BREAK_SHARE = 0.05
"""Idle time of everything, longer than this share of the busy time, is cut out of the axis."""


class CutAxis:
    """Time axis with the long breaks cut out in which nothing ran.

    Parameters
    ----------
    start_s, end_s : of every shot, at least one [s]

    Attributes
    ----------
    breaks : where the axis is cut [s on the axis] and how much was left out [s]
    length : length of the axis [s]
    zero_s : time at its beginning [s]
    """

    def __init__(self, start_s: Array, end_s: Array) -> None:
        order = np.argsort(start_s)
        starts, reached = start_s[order], np.maximum.accumulate(end_s[order])
        gaps = np.append(0.0, np.maximum(starts[1:] - reached[:-1], 0.0))
        busy_s = float(reached[-1] - starts[0] - gaps.sum())
        keep_s = BREAK_SHARE * max(busy_s, 1e-3)
        cut = np.where(gaps > keep_s, gaps - 0.2 * keep_s, 0.0)
        self._from_s, self._cut_s = starts, np.cumsum(cut)
        self.zero_s = float(starts[0])
        self.breaks = [
            (float(starts[i] - self.zero_s - self._cut_s[i] - 0.1 * keep_s), float(gaps[i]))
            for i in np.flatnonzero(cut)
        ]
        self.length = float(self.place(reached[-1:])[0])

    def place(self, time_s: Array) -> Array:
        """Return where times stand on the axis [s]."""
        before = np.searchsorted(self._from_s, time_s, side="right") - 1
        return np.asarray(time_s - self.zero_s - self._cut_s[np.maximum(before, 0)])
