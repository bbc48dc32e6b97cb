"""Latencies as a figure: their histogram, and how they went during the beam time."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xfel_apps.errors import SettingsError
from xfel_apps.latency.summary import brief, known_s
from xfel_apps.latency.times import STAGES
from xfel_apps.plots.style import BLUE, STAGE_COLOURS, figure, grid, save_png, save_svg, styled

COLOURS = {**STAGE_COLOURS, "merge": BLUE}
N_BINS = 60
N_TIMES = 80
LEAST_S = 0.01
DPI = 150
TICKS_S = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 120, 600, 1800, 7200, 6 * 3600, 86400, 604800)
"""Where a logarithmic axis of durations has its ticks."""


def save(frame: pd.DataFrame, path: Path) -> None:
    """Draw latencies to a PNG or SVG file, by its name."""
    if path.suffix == ".svg":
        save_svg(draw(frame), path)
    elif path.suffix == ".png":
        save_png(draw(frame), path, DPI)
    else:
        raise SettingsError(f"--plot {path}: choose a name that ends in .png or .svg")


@styled
def draw(frame: pd.DataFrame) -> Figure:
    """Return the figure of latencies (see `latencies`)."""
    stages = [stage for stage in STAGES if frame[stage].notna().any()]
    result = figure(9.4, 3.4)
    left, right = result.subplots(1, 2, width_ratios=(3, 2))
    _histogram(left, frame, stages)
    _course(right, frame, stages)
    return result


def _histogram(axes: Axes, frame: pd.DataFrame, stages: list[str]) -> None:
    """Draw how many shots had their result of each stage after how long."""
    values = {stage: np.maximum(known_s(frame, stage), LEAST_S) for stage in stages}
    low = min(float(v.min()) for v in values.values())
    high = max(float(v.max()) for v in values.values())
    edges = np.geomspace(0.9 * low, 1.1 * high, N_BINS)
    for stage, found in values.items():
        label = f"{stage}: median {brief(float(np.median(found)))}"
        style = {"bins": edges, "color": COLOURS[stage]}
        axes.hist(found, alpha=0.25, **style)  # type: ignore[arg-type]  # keywords of two kinds
        axes.hist(found, histtype="step", label=label, linewidth=1.2, **style)  # type: ignore[arg-type]
    axes.set_xscale("log")
    _ticks(axes, edges[0], edges[-1], "x")
    axes.set_xlabel("time from complete frame to result")
    axes.set_ylabel("shots")
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, 1.16), ncols=2, borderaxespad=0.0)
    grid(axes)


def _course(axes: Axes, frame: pd.DataFrame, stages: list[str]) -> None:
    """Draw the median latency of frames that came at about the same time."""
    start_s = float(frame["complete_s"].min())
    since_s = frame["complete_s"].to_numpy(float) - start_s
    unit, name = (3600.0, "h") if since_s.max() > 7200 else (60.0, "min")
    edges = np.linspace(0.0, since_s.max() or 1.0, N_TIMES + 1)
    drawn = []
    for stage in stages:
        middle, median = medians(since_s, frame[stage].to_numpy(float), edges)
        drawn.append(median)
        axes.plot(middle / unit, median, color=COLOURS[stage], marker=".", markersize=3)
    shown = np.maximum(np.concatenate(drawn), LEAST_S)
    low, high = 0.8 * float(np.nanmin(shown)), 1.25 * float(np.nanmax(shown))
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    _ticks(axes, low, high, "y")
    axes.set_xlabel(f"frame complete, since the first one [{name}]")
    axes.set_title("median latency")
    grid(axes)


def medians(
    since_s: NDArray[np.float64], values_s: NDArray[np.float64], edges: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the middle of each bin, and the median of the values in it; NaN where none is.

    Parameters
    ----------
    since_s, values_s : (n,) place and value; NaN values do not count
    edges : of the bins
    """
    known = np.isfinite(values_s)
    place = np.clip(np.digitize(since_s[known], edges) - 1, 0, len(edges) - 2)
    found = pd.Series(values_s[known]).groupby(place).median().reindex(range(len(edges) - 1))
    return 0.5 * (edges[:-1] + edges[1:]), np.asarray(found, dtype=np.float64)


def _ticks(axes: Axes, low: float, high: float, which: str) -> None:
    """Label a logarithmic axis with durations."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    inside = [tick for tick in TICKS_S if low <= tick <= high]
    if len(inside) < 2:
        inside = [float(f"{value:.1g}") for value in np.geomspace(low, high, 4)]
    axis.set_ticks(inside, [brief(tick) for tick in inside])
    axis.set_ticks([], minor=True)
