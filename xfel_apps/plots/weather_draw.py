"""Drawers of the weather plot: a figure for files and the report, a chart for browsers."""

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from xfel_apps.plots.chart import Chart, numbers
from xfel_apps.plots.style import FAINT, INK, PINK, RED, STAGE_COLOURS, figure, styled
from xfel_apps.plots.weather import KINDS, Lines, Weather
from xfel_apps.units import brief

Array = NDArray[np.float64]

COLOURS = {**STAGE_COLOURS, "read": PINK}
SHADES = (1.0, 0.72)
"""Opacities in turn, so that neighbours are told apart."""
MARK = {
    "ha": "center",
    "va": "center",
    "fontsize": 7,
    "color": "white",
    "bbox": {"boxstyle": "circle,pad=0.25", "facecolor": RED, "edgecolor": "none"},
    "annotation_clip": False,
    "xycoords": ("data", "axes fraction"),
    "xytext": (0.0, 7.0),
    "textcoords": "offset points",
}
LEAST_GAP = 0.06
"""Breaks closer together than this share of the axis share one label."""


def label(kind: str, shares: Weather) -> str:
    """Return what the legend says of a kind of line."""
    name = {"read": "off the processor (reading)"}.get(kind, kind)
    return f"{name} {100 * shares.shares[kind]:.0f} %"


@styled
def draw(data: Weather) -> Figure:
    """Return the weather plot."""
    n_rows = len(data.rows)
    told = [textwrap.fill(note, 160, subsequent_indent="    ") for note in notes(data)]
    below = "\n".join(told) if data.diagnoses else ""
    below_in = 0.16 * (below.count("\n") + 1) if below else 0.0
    plot_in = float(np.clip(0.9 + 0.34 * n_rows, 2.0, 7.0))
    result = figure(9.2, plot_in + below_in)
    axes = result.subplots()
    height = min(0.8 * plot_in * 72 / (n_rows + 1), 16.0)
    for number, kind in enumerate(KINDS):
        for lines, alpha in _shaded(data, number):
            _collect(axes, lines, (COLOURS[kind], alpha, height))
    style = {"color": INK, "markersize": height, "markeredgewidth": 1.5}
    axes.plot(data.failed_s, data.failed_row, "|", **style)  # type: ignore[arg-type]  # mixed
    for place, text in break_labels(data):
        axes.axvline(place, color=FAINT, linewidth=0.8, linestyle=(0, (2, 3)))
        top = {"xycoords": ("data", "axes fraction"), "va": "top", "color": FAINT, "fontsize": 7}
        axes.annotate(text, (place, 1.0), **top)  # type: ignore[arg-type]  # mixed
    axes.set_xlim(-0.005 * data.length_s, 1.005 * data.length_s)
    axes.set_ylim(n_rows - 0.4, -0.9)
    step = max(1, n_rows // 16)
    axes.set_yticks(np.arange(0, n_rows, step), data.rows[::step])
    for number, place in enumerate(data.marks_s.mean(axis=1).tolist()):
        axes.annotate(f"{number + 1}", (place, 1.0), **MARK)  # type: ignore[arg-type]  # mixed
    axes.set_xlabel("wall time [s]" + (", long breaks cut out" if data.breaks else ""))
    if below:
        result.supxlabel(below, x=0.01, ha="left", fontsize=8)
    axes.set_ylabel("rank" if n_rows == data.n_ranks else f"rank ({n_rows} of {data.n_ranks})")
    _legend(axes, data)
    return result


def break_labels(data: Weather) -> list[tuple[float, str]]:
    """Return where the axis is cut and, as far as there is room to say it, how much of it."""
    result, said = [], -np.inf
    for place, gap_s in data.breaks:
        has_room = place - said > LEAST_GAP * data.length_s
        said = place if has_room else said
        result.append((place, f" {brief(gap_s)}" if has_room else ""))
    return result


def _shaded(data: Weather, kind: int) -> list[tuple[Lines, float]]:
    """Return the lines of a kind in shades, each with its opacity; sums of shots are not shaded."""
    mine = data.lines.take(data.lines.kind == kind)
    if data.is_summed:
        return [(mine, 1.0)]
    order = np.lexsort((mine.start_s, mine.row))
    turn = np.empty(len(order), np.int64)
    turn[order] = np.arange(len(order)) % len(SHADES)
    return [(mine.take(turn == i), alpha) for i, alpha in enumerate(SHADES)]


def _collect(axes: Axes, lines: Lines, look: tuple[str, float, float]) -> None:
    """Draw lines with a colour, an opacity and a height [pt]."""
    colour, alpha, height = look
    begin, end = (np.column_stack([x, lines.row]) for x in (lines.start_s, lines.end_s))
    segments = np.stack([begin, end], axis=1)
    axes.add_collection(
        LineCollection(
            list(segments), colors=colour, alpha=alpha, linewidths=height, capstyle="butt"
        )
    )


def _legend(axes: Axes, data: Weather) -> None:
    entries = [
        Line2D([], [], color=COLOURS[kind], linewidth=6, label=label(kind, data))
        for kind in KINDS
        if data.shares[kind] > 0
    ]
    entries.append(
        Line2D([], [], color="none", label=f"white: waiting {100 * data.shares['wait']:.0f} %")
    )
    if len(data.failed_s):
        style = {"linestyle": "none", "marker": "|", "color": INK, "markersize": 9.0}
        entries.append(Line2D([], [], label="failed", **style))  # type: ignore[arg-type]  # mixed
    axes.legend(
        handles=entries,
        ncols=len(entries),
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        borderaxespad=2.0 if data.diagnoses else 0.5,
        labelcolor=INK,
        columnspacing=1.2,
        handlelength=1.4,
    )


def chart(data: Weather) -> Chart:
    """Return the weather plot for a browser; each diagnosis is a band with its number."""
    traces = []
    for number, kind in enumerate(KINDS):
        for turn, (lines, alpha) in enumerate(_shaded(data, number)):
            if len(lines.row):
                traces.append(_boxes(lines, kind, alpha, label(kind, data) if turn == 0 else ""))
    if len(data.failed_s):
        failed = {"type": "scatter", "mode": "markers", "name": "failed", "hoverinfo": "x"}
        marker = {"symbol": "line-ns-open", "size": 12, "line": {"width": 2}, "color": "#d00"}
        x, y = numbers(data.failed_s), data.failed_row.tolist()
        traces.append({**failed, "x": x, "y": y, "marker": marker})
    waiting = f"blank: waiting {100 * data.shares['wait']:.0f} %"
    nothing = {"mode": "markers", "marker": {"opacity": 0}, "hoverinfo": "skip"}
    traces.append({"type": "scatter", "x": [None], "y": [None], "name": waiting, **nothing})
    return {"data": traces, "layout": _layout(data)}


def _boxes(lines: Lines, kind: str, alpha: float, name: str) -> Chart:
    """Return one trace of many filled boxes: a single path, quick to draw."""
    low, high = lines.row - 0.4, lines.row + 0.4
    gap = np.full(len(lines.row), np.nan)
    x = np.column_stack([lines.start_s, lines.end_s, lines.end_s, lines.start_s, gap]).ravel()
    y = np.column_stack([low, low, high, high, gap]).ravel()
    return {
        "type": "scatter",
        "mode": "none",
        "fill": "toself",
        "fillcolor": COLOURS[kind],
        "opacity": alpha,
        "x": numbers(x, 7),
        "y": numbers(y),
        "name": name,
        "showlegend": bool(name),
        "legendgroup": kind,
        "hoverinfo": "skip",
    }


def _marks(data: Weather) -> list[Chart]:
    """Return the numbers of the diagnoses, above the plot, each with its text on hover."""
    look = {"showarrow": False, "bgcolor": RED, "borderpad": 3, "font": {"color": "#fff"}}
    return [
        {"x": x, "y": 1, "yref": "paper", "yanchor": "bottom", "yshift": 3, "text": str(number)}
        | {"hovertext": f"{item.kind}: {item.text}", "captureevents": True, **look}
        for number, (x, item) in enumerate(
            zip(data.marks_s.mean(axis=1).tolist(), data.diagnoses, strict=True), 1
        )
    ]


def _layout(data: Weather) -> Chart:
    n_rows = len(data.rows)
    shapes = [
        {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper"}
        | {"line": {"color": FAINT, "width": 1, "dash": "dot"}}
        for x, _ in data.breaks
    ]
    bands = [
        {"type": "rect", "x0": x0, "x1": x1, "y0": 0, "y1": 1, "yref": "paper", "layer": "below"}
        | {"fillcolor": RED, "opacity": 0.1, "line": {"width": 0}}
        for (x0, x1), item in zip(data.marks_s.tolist(), data.diagnoses, strict=True)
        if item.kind in ("I/O stall", "one slow shot")
    ]
    notes = [
        {"x": x, "y": 1, "yref": "paper", "text": text, "showarrow": False}
        | {"xanchor": "left", "yanchor": "top", "font": {"size": 10, "color": FAINT}}
        for x, text in break_labels(data)
        if text
    ]
    step = max(1, -(-n_rows // 24))
    ticks = {"tickvals": list(range(0, n_rows, step)), "ticktext": list(data.rows[::step])}
    title = "rank" if n_rows == data.n_ranks else f"rank ({n_rows} of {data.n_ranks})"
    return {
        "xaxis": {"title": {"text": "wall time [s]"}, "range": [0, data.length_s]},
        "yaxis": {"title": {"text": title}, "range": [n_rows - 0.4, -0.9], "type": "linear"}
        | ticks
        | {"showgrid": False, "zeroline": False},
        "shapes": shapes + bands,
        "annotations": notes + _marks(data),
        "margin": {"l": 70, "r": 24, "t": 72, "b": 56},
        "legend": {"orientation": "h", "yref": "container", "y": 0.995, "yanchor": "top", "x": 0},
        "hovermode": "closest",
    }


def notes(data: Weather) -> list[str]:
    """Return the diagnoses as numbered lines, or that there is none."""
    told = [f"{i + 1}. {item.kind}: {item.text}" for i, item in enumerate(data.diagnoses)]
    return told or ["Nothing stands out: no stall, no starved rank, no late start, no slow shot."]
