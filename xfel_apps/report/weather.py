"""The weather plot: which rank did what, when.

One line a shot, coloured by stage: white within a rank's row is time in which it had no shot;
one long line is a slow shot; white over many rows at once is a stall that all shared.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from xfel_apps.containers.outcome import Outcome
from xfel_apps.plots.style import FAINT, INK, RED, STAGE_COLOURS, figure, styled
from xfel_apps.report.tables import STAGES, seconds

Array = NDArray[np.float64]

BREAK_SHARE = 0.05
"""Idle time of everything, longer than this share of the busy time, is cut out of the axis."""


@styled
def draw(times: pd.DataFrame) -> Figure:
    """Return the weather plot.

    Parameters
    ----------
    times : columns stage, outcome, rank, start_s, end_s [seconds since 1970]
    """
    ranks = np.sort(times["rank"].unique())
    result = figure(9.2, float(np.clip(0.9 + 0.34 * len(ranks), 2.0, 7.0)))
    axes = result.subplots()
    row = np.searchsorted(ranks, times["rank"].to_numpy())
    cut = CutAxis(times["start_s"].to_numpy(float), times["end_s"].to_numpy(float))
    start, end = (
        cut.place(times["start_s"].to_numpy(float)),
        cut.place(times["end_s"].to_numpy(float)),
    )
    height = min(0.8 * result.get_figheight() * 72 / (len(ranks) + 1), 16.0)
    for stage in STAGES:
        _lines(axes, times["stage"] == stage, (start, end, row), STAGE_COLOURS[stage], height)
    failed = (times["outcome"] == Outcome.FAILED).to_numpy()
    axes.plot(start[failed], row[failed], "|", color=RED, markersize=height, markeredgewidth=1.5)
    _breaks(axes, cut)
    axes.set_xlim(-0.005 * cut.length, 1.005 * cut.length)
    axes.set_ylim(len(ranks) - 0.4, -0.9)
    step = max(1, len(ranks) // 16)
    axes.set_yticks(np.arange(0, len(ranks), step), [str(rank) for rank in ranks[::step]])
    axes.set_xlabel("wall time [s]")
    axes.set_ylabel("rank")
    _legend(axes, times, bool(failed.any()))
    return result


def _breaks(axes: Axes, cut: "CutAxis") -> None:
    """Mark where idle time was cut out and how much, as far as there is room to say it."""
    said = -np.inf
    for place, gap_s in cut.breaks:
        axes.axvline(place, color=FAINT, linewidth=0.8, linestyle=(0, (2, 3)))
        if place - said > 0.06 * cut.length:
            axes.text(place, -0.62, f" {seconds(gap_s)}", color=FAINT, fontsize=7, va="top")
            said = place


def _lines(
    axes: Axes,
    chosen: "pd.Series[bool]",
    places: tuple[Array, Array, NDArray[np.intp]],
    colour: str,
    height: float,
) -> None:
    """Draw one line a shot of a stage, shades in turn so that neighbours are told apart."""
    start, end, row = (values[chosen.to_numpy()] for values in places)
    order = np.lexsort((start, row))
    start, end, row = start[order], end[order], row[order]
    for turn, alpha in ((0, 1.0), (1, 0.72)):
        x0, x1, y = start[turn::2], end[turn::2], row[turn::2]
        segments = np.stack([np.column_stack([x0, y]), np.column_stack([x1, y])], axis=1)
        lines = LineCollection(
            list(segments), colors=colour, alpha=alpha, linewidths=height, capstyle="butt"
        )
        axes.add_collection(lines)


def _legend(axes: Axes, times: pd.DataFrame, any_failed: bool) -> None:
    entries = [
        Line2D([], [], color=STAGE_COLOURS[stage], linewidth=6, label=stage)
        for stage in STAGES
        if (times["stage"] == stage).any()
    ]
    if any_failed:
        style = {"linestyle": "none", "marker": "|", "color": RED, "markersize": 9.0}
        entries.append(Line2D([], [], label="failed", **style))  # type: ignore[arg-type]  # mixed
    axes.legend(
        handles=entries,
        ncols=len(entries),
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        labelcolor=INK,
    )


class CutAxis:
    """Time axis with the long breaks cut out in which nothing ran.

    Parameters
    ----------
    start_s, end_s : of every shot [s]

    Attributes
    ----------
    breaks : where the axis is cut [s on the axis] and how much was left out [s]
    length : length of the axis [s]
    """

    def __init__(self, start_s: Array, end_s: Array) -> None:
        order = np.argsort(start_s)
        starts, reached = start_s[order], np.maximum.accumulate(end_s[order])
        gaps = np.append(0.0, np.maximum(starts[1:] - reached[:-1], 0.0))
        busy_s = float(reached[-1] - starts[0] - gaps.sum())
        keep_s = BREAK_SHARE * max(busy_s, 1e-3)
        cut = np.where(gaps > keep_s, gaps - 0.2 * keep_s, 0.0)
        self._from_s, self._cut_s = starts, np.cumsum(cut)
        self._zero_s = float(starts[0])
        self.breaks = [
            (float(starts[i] - self._zero_s - self._cut_s[i] - 0.1 * keep_s), float(gaps[i]))
            for i in np.flatnonzero(cut)
        ]
        self.length = float(self.place(reached[-1:])[0])

    def place(self, time_s: Array) -> Array:
        """Return where times stand on the axis [s]."""
        before = np.searchsorted(self._from_s, time_s, side="right") - 1
        return np.asarray(time_s - self._zero_s - self._cut_s[np.maximum(before, 0)])
