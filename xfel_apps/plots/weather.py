"""The weather plot: which rank did what, when.

One line a shot, coloured by stage: white within a rank's row is time in which it had no shot;
one long line is a slow shot; white over many rows at once is a stall that all shared.
What of a shot's time was not spent on the processor is drawn first, as `read`: rows say when a
shot began and ended and how much processor time it took, not when it read.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.outcome import Outcome
from xfel_apps.errors import ContainerError
from xfel_apps.plots.diagnoses import Diagnosis, diagnose
from xfel_apps.plots.time_axis import CutAxis
from xfel_apps.plots.timing import STAGES, Timings

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

KINDS = ("read", *STAGES)
"""What a line can show."""

MOST_LINES, MOST_ROWS, COLUMNS = 40_000, 192, 2000
"""More lines than this are drawn as their sums over columns of the picture, at most so many."""
MOST_FAILED = 500


@dataclass(frozen=True)
class Lines:
    """Lines of a weather plot: one a shot and kind, or sums of them.

    Attributes
    ----------
    kind, row : (n,) number of the kind in `KINDS` and of the rank
    start_s, end_s : (n,) on the cut time axis [s]
    """

    kind: IntArray
    row: IntArray
    start_s: Array
    end_s: Array

    def take(self, chosen: NDArray[np.bool_]) -> "Lines":
        """Return the chosen lines."""
        return Lines(self.kind[chosen], self.row[chosen], self.start_s[chosen], self.end_s[chosen])


@dataclass(frozen=True)
class Weather:
    """All that a weather plot shows.

    Attributes
    ----------
    lines : what is drawn, rows counted from 0 as drawn
    rows : names of the ranks that are drawn
    n_ranks : ranks that there are; more than are drawn where every k-th is
    failed_s, failed_row : (m,) when shots failed, on the axis, and on which rank
    length_s, breaks : of the axis; where it is cut [s on the axis] and how much was left out [s]
    zero_s : its beginning [seconds since 1970]
    shares : kind, and `wait`, -> its share of the ranks' time
    n_shots : shots and stages in it
    is_summed : whether lines are sums over columns
    diagnoses : what cost most time, worst first
    marks_s : (d, 2) on the axis, when each of them was [s]
    """

    lines: Lines
    rows: tuple[str, ...]
    n_ranks: int
    failed_s: Array
    failed_row: IntArray
    length_s: float
    breaks: tuple[tuple[float, float], ...]
    zero_s: float
    shares: Mapping[str, float]
    n_shots: int
    is_summed: bool
    diagnoses: tuple[Diagnosis, ...]
    marks_s: Array

    @property
    def is_live(self) -> bool:
        """Whether crews' shots are in it that have live numbers yet."""
        return any("/" in name for name in self.rows)


def weather(times: Timings) -> Weather:
    """Return the weather plot of timing rows."""
    if not len(times):
        raise ContainerError("no shot has been processed yet; weather is what stages did when")
    axis = CutAxis(times.start_s, times.end_s)
    lines = _lines(times, axis)
    told = diagnose(times)
    drawn = _drawn_rows(len(times.rows), told)
    new_row = np.full(len(times.rows), -1)
    new_row[drawn] = np.arange(len(drawn))
    shown = lines.take(new_row[lines.row] >= 0)
    shown = Lines(shown.kind, new_row[shown.row], shown.start_s, shown.end_s)
    thinned = thin(shown, axis.length) if len(shown.row) > MOST_LINES else shown
    failed = np.flatnonzero(times.outcome == Outcome.FAILED.code)
    failed = failed[new_row[times.row[failed]] >= 0]
    failed = failed[:: max(1, -(-len(failed) // MOST_FAILED))]
    marks = np.array([[item.from_s, item.to_s] for item in told]).reshape(-1, 2)
    return Weather(
        lines=thinned,
        rows=tuple(times.rows[row] for row in drawn),
        n_ranks=len(times.rows),
        failed_s=axis.place(times.start_s[failed]),
        failed_row=new_row[times.row[failed]],
        length_s=axis.length,
        breaks=tuple(axis.breaks),
        zero_s=axis.zero_s,
        shares=_shares(lines, len(times.rows) * axis.length),
        n_shots=len(times),
        is_summed=thinned is not shown,
        diagnoses=told,
        marks_s=axis.place(marks.ravel()).reshape(-1, 2),
    )


def _lines(times: Timings, axis: CutAxis) -> Lines:
    """Return two lines a shot: off the processor, then the stage."""
    start_s = axis.place(times.start_s)
    length_s = np.maximum(times.end_s - times.start_s, 0.0)
    off_s = np.minimum(times.off_cpu_s, length_s)
    kind = np.concatenate([np.zeros(len(times), np.int64), times.stage + 1])
    row = np.tile(times.row, 2)
    begin = np.concatenate([start_s, start_s + off_s])
    end = np.concatenate([start_s + off_s, start_s + length_s])
    lines = Lines(kind, row, begin, end)
    return lines.take(end > begin)


def _drawn_rows(n_rows: int, told: tuple[Diagnosis, ...]) -> IntArray:
    """Return which ranks are drawn: all, or every k-th and those that few were told of."""
    every = np.arange(0, n_rows, -(-n_rows // MOST_ROWS))
    if len(every) == n_rows:
        return every
    named = [row for item in told if len(item.rows) <= 5 for row in item.rows]
    return np.union1d(every, np.array(named, dtype=np.int64))


def thin(lines: Lines, length_s: float) -> Lines:
    """Return at most about `MOST_LINES` lines that cover as much time.

    Lines of a rank that begin in the same column of the picture become one of each kind, as long
    as they are together, one after the other: what stays white is still the time between shots.
    """
    n_columns = COLUMNS
    while True:
        column = np.minimum((lines.start_s / length_s * n_columns).astype(np.int64), n_columns - 1)
        cell = lines.row * n_columns + column
        key, group = np.unique(cell * len(KINDS) + lines.kind, return_inverse=True)
        if len(key) <= MOST_LINES or n_columns <= 100:
            break
        n_columns //= 2
    sums_s = np.bincount(group, weights=lines.end_s - lines.start_s)
    cells, cell_of = np.unique(key // len(KINDS), return_inverse=True)
    first_s = np.full(len(cells), np.inf)
    np.minimum.at(first_s, cell_of[group], lines.start_s)
    before_s = np.cumsum(sums_s) - sums_s
    begins = np.flatnonzero(np.diff(cell_of, prepend=-1))
    start_s = first_s[cell_of] + before_s - before_s[begins][cell_of]
    return Lines(key % len(KINDS), cells[cell_of] // n_columns, start_s, start_s + sums_s)


def _shares(lines: Lines, whole_s: float) -> dict[str, float]:
    """Return the share of the ranks' time of each kind and, as `wait`, of none."""
    sums_s = np.bincount(lines.kind, lines.end_s - lines.start_s, minlength=len(KINDS))
    shares = dict(zip(KINDS, (sums_s / max(whole_s, 1e-9)).tolist(), strict=True))
    return {**shares, "wait": max(1.0 - sum(shares.values()), 0.0)}
