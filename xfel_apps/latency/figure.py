"""Latencies as a figure: their histogram, and how they went during the beam time."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xfel_apps.errors import ContainerError, SettingsError
from xfel_apps.latency.summary import known_s
from xfel_apps.latency.times import STAGES
from xfel_apps.plots.chart import Chart, grid_of, heading, numbers
from xfel_apps.plots.style import BLUE, STAGE_COLOURS, figure, grid, save_png, save_svg, styled
from xfel_apps.units import brief

Times = NDArray[np.float64]

COLOURS = {**STAGE_COLOURS, "merge": BLUE}
N_BINS = 60
N_TIMES = 80
LEAST_S = 0.01
DPI = 150
TICKS_S = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 120, 600, 1800, 7200, 6 * 3600, 86400, 604800)
"""Where a logarithmic axis of durations has its ticks."""


@dataclass(frozen=True)
class LatencyCurves:
    """Latencies as they are drawn.

    Attributes
    ----------
    edges_s : (bins + 1,) of the histograms [s]
    counts : stage -> (bins,) shots that had their result after such a time
    median_s : stage -> median of all [s]
    middle_s : (t,) when frames were complete, since the first one [s]
    course_s : stage -> (t,) median latency of the frames of that time [s]; NaN where none is
    """

    edges_s: Times
    counts: Mapping[str, NDArray[np.int64]]
    median_s: Mapping[str, float]
    middle_s: Times
    course_s: Mapping[str, Times]

    @property
    def unit(self) -> tuple[float, str]:
        """Unit of the time since the first frame: in seconds, and its name."""
        return (3600.0, "h") if self.middle_s[-1] > 7200 else (60.0, "min")

    @property
    def range_s(self) -> tuple[float, float]:
        """Lowest and highest median latency to be shown [s]."""
        shown = np.maximum(np.concatenate([*self.course_s.values()]), LEAST_S)
        return 0.8 * float(np.nanmin(shown)), 1.25 * float(np.nanmax(shown))


def curves(frame: pd.DataFrame) -> LatencyCurves:
    """Return what is drawn of latencies (see `latencies`)."""
    stages = [stage for stage in STAGES if frame[stage].notna().any()]
    if not stages:
        raise ContainerError("no shot has a result yet; latency is the time to a result")
    values = {stage: np.maximum(known_s(frame, stage), LEAST_S) for stage in stages}
    low = min(float(v.min()) for v in values.values())
    high = max(float(v.max()) for v in values.values())
    edges = np.geomspace(0.9 * low, 1.1 * high, N_BINS)
    since_s = frame["complete_s"].to_numpy(float) - float(frame["complete_s"].min())
    times = np.linspace(0.0, max(float(since_s.max()), 1.0), N_TIMES + 1)
    course = {stage: medians(since_s, frame[stage].to_numpy(float), times) for stage in stages}
    return LatencyCurves(
        edges_s=edges,
        counts={stage: np.histogram(v, edges)[0] for stage, v in values.items()},
        median_s={stage: float(np.median(v)) for stage, v in values.items()},
        middle_s=0.5 * (times[:-1] + times[1:]),
        course_s={stage: median for stage, (_, median) in course.items()},
    )


def save(frame: pd.DataFrame, path: Path) -> None:
    """Draw latencies to a PNG or SVG file, by its name."""
    if path.suffix == ".svg":
        save_svg(draw(curves(frame)), path)
    elif path.suffix == ".png":
        save_png(draw(curves(frame)), path, DPI)
    else:
        raise SettingsError(f"--plot {path}: choose a name that ends in .png or .svg")


@styled
def draw(data: LatencyCurves) -> Figure:
    """Return the figure of latencies."""
    result = figure(9.4, 3.4)
    left, right = result.subplots(1, 2, width_ratios=(3, 2))
    _histogram(left, data)
    _course(right, data)
    return result


def _label(data: LatencyCurves, stage: str) -> str:
    return f"{stage}: median {brief(data.median_s[stage])}"


def _histogram(axes: Axes, data: LatencyCurves) -> None:
    """Draw how many shots had their result of each stage after how long."""
    for stage, counts in data.counts.items():
        style = {"color": COLOURS[stage], "linewidth": 1.2, "label": _label(data, stage)}
        axes.stairs(counts, data.edges_s, fill=True, color=COLOURS[stage], alpha=0.25)
        axes.stairs(counts, data.edges_s, **style)  # type: ignore[arg-type]  # of mixed types
    axes.set_xscale("log")
    _ticks(axes, data.edges_s[0], data.edges_s[-1], "x")
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("time from complete frame to result")
    axes.set_ylabel("shots")
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, 1.16), ncols=2, borderaxespad=0.0)
    grid(axes)


def _course(axes: Axes, data: LatencyCurves) -> None:
    """Draw the median latency of frames that came at about the same time."""
    unit, name = data.unit
    for stage, median_s in data.course_s.items():
        style = {"color": COLOURS[stage], "marker": ".", "markersize": 3}
        axes.plot(data.middle_s / unit, median_s, **style)  # type: ignore[arg-type]  # mixed
    axes.set_yscale("log")
    axes.set_ylim(*data.range_s)
    _ticks(axes, *data.range_s, "y")
    axes.set_xlabel(f"frame complete, since the first one [{name}]")
    axes.set_title("median latency")
    grid(axes)


def chart(data: LatencyCurves) -> Chart:
    """Return the same for a browser."""
    unit, name = data.unit
    traces: list[Chart] = []
    middle_s = np.sqrt(data.edges_s[:-1] * data.edges_s[1:])
    line = {"type": "scatter", "hoverinfo": "y+name"}
    for stage, counts in data.counts.items():
        colour = {"color": COLOURS[stage], "width": 2}
        traces += [
            {**line, "mode": "lines", "fill": "tozeroy", "name": _label(data, stage)}
            | {"x": numbers(middle_s), "y": counts.tolist(), "legendgroup": stage}
            | {"line": {**colour, "shape": "hvh"}},
            {**line, "mode": "lines+markers", "name": stage, "xaxis": "x2", "yaxis": "y2"}
            | {"x": numbers(data.middle_s / unit), "y": numbers(data.course_s[stage], 4)}
            | {"line": colour, "marker": {"size": 4}, "legendgroup": stage, "showlegend": False},
        ]
    axes = grid_of(2, 2)
    low, high = data.range_s
    axes["xaxis"] |= _log_axis(data.edges_s[0], data.edges_s[-1])
    axes["xaxis"] |= {"title": {"text": "time from complete frame to result"}}
    axes["yaxis"] |= {"title": {"text": "shots"}, "rangemode": "tozero"}
    axes["xaxis2"] |= {"title": {"text": f"frame complete, since the first one [{name}]"}}
    axes["yaxis2"] |= _log_axis(low, high)
    legend = {"orientation": "h", "y": 1.08, "yanchor": "bottom", "x": 0}
    layout = {**axes, "annotations": [heading("median latency", 1)], "legend": legend}
    return {"data": traces, "layout": layout}


def _log_axis(low: float, high: float) -> Chart:
    inside = _inside(low, high)
    ticks = {"tickvals": inside, "ticktext": [brief(tick) for tick in inside]}
    return {"type": "log", "range": [float(np.log10(low)), float(np.log10(high))], **ticks}


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
    inside = _inside(low, high)
    axis.set_ticks(inside, [brief(tick) for tick in inside])
    axis.set_ticks([], minor=True)


def _inside(low: float, high: float) -> list[float]:
    """Return the durations [s] that a logarithmic axis says."""
    inside = [float(tick) for tick in TICKS_S if low <= tick <= high]
    if len(inside) < 2:
        inside = [float(f"{value:.1g}") for value in np.geomspace(low, high, 4)]
    return inside
