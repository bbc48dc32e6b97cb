"""How fast shots go through the stages, and what share of them is hit, indexed, integrated."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xfel_apps.containers.outcome import Outcome
from xfel_apps.errors import ContainerError
from xfel_apps.plots.chart import Chart, grid_of, heading, numbers
from xfel_apps.plots.style import (
    BLUE,
    FAINT,
    GREEN,
    ORANGE,
    STAGE_COLOURS,
    figure,
    grid,
    styled,
)
from xfel_apps.plots.time_axis import CutAxis
from xfel_apps.plots.timing import STAGES, Timings
from xfel_apps.units import brief

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

N_TIMES, N_BLOCKS = 160, 120
LEAST_BLOCK = 20
"""A share is that of at least so many shots, where there are as many."""
NOT_HITS = tuple(item.code for item in (Outcome.MISS, Outcome.FAILED, Outcome.FILTERED))
SHARES = {"hit": BLUE, "indexed": ORANGE, "integrated": GREEN}


@dataclass(frozen=True)
class Rates:
    """Rates of runs.

    Attributes
    ----------
    time_s : (b,) middles of spans of wall time, on an axis without long breaks [s]
    rate_hz : stage -> (b,) shots a second in each span, all ranks together
    length_s, breaks : of that axis; where it is cut and how much was left out [s]
    shot : (m,) middles of blocks of shots, in the order they were taken, over all runs
    share : `hit`, `indexed`, `integrated` -> (m,) share of the shots of each block
    starts : number of the first shot of each run
    runs : their names
    n_shots : shots searched for spots
    totals : `hit`, `indexed`, `integrated` -> how many
    """

    time_s: Array
    rate_hz: Mapping[str, Array]
    length_s: float
    breaks: tuple[tuple[float, float], ...]
    shot: Array
    share: Mapping[str, Array]
    starts: IntArray
    runs: tuple[str, ...]
    n_shots: int
    totals: Mapping[str, int]


def rates(times: Timings) -> Rates:
    """Return the rates that timing rows tell."""
    if not len(times):
        raise ContainerError("no shot has been processed yet; rates are those of processed shots")
    axis = CutAxis(times.start_s, times.end_s)
    n_times = int(np.clip(len(times) / LEAST_BLOCK, 10, N_TIMES))
    edges = np.linspace(0.0, axis.length, n_times + 1)
    end_s = axis.place(times.end_s)
    step_s = max(float(edges[1]), 1e-9)
    rate_hz = {
        stage: np.histogram(end_s[times.stage == number], edges)[0] / step_s
        for number, stage in enumerate(STAGES)
    }
    run, ends = endings(times)
    block = np.arange(len(run)) // max(LEAST_BLOCK, -(-len(run) // N_BLOCKS))
    n_of_block = np.maximum(np.bincount(block), 1)
    share = {name: np.bincount(block, is_so) / n_of_block for name, is_so in ends.items()}
    return Rates(
        time_s=0.5 * (edges[:-1] + edges[1:]),
        rate_hz=rate_hz,
        length_s=axis.length,
        breaks=tuple(axis.breaks),
        shot=np.bincount(block, np.arange(len(run))) / n_of_block,
        share=share,
        starts=np.searchsorted(run, np.arange(len(times.runs))),
        runs=times.runs,
        n_shots=len(run),
        totals={name: int(is_so.sum()) for name, is_so in ends.items()},
    )


def endings(times: Timings) -> tuple[IntArray, dict[str, NDArray[np.bool_]]]:
    """Return the run (n,) of each shot that was searched for spots, and how it ended.

    Shots are in order of run and event; `hit`, `indexed` and `integrated` are (n,) each. Hits are
    counted before hot pixels are known.
    """
    width = int(times.event.max(initial=0)) + 1
    key = times.run * width + times.event
    searched = times.stage == 0
    shots, first = np.unique(key[searched], return_index=True)
    hit = ~np.isin(times.outcome[searched][first], NOT_HITS)
    found = {"hit": hit}
    for stage, outcome in ((1, Outcome.INDEXED), (2, Outcome.INTEGRATED)):
        good = key[(times.stage == stage) & (times.outcome == outcome.code)]
        found[outcome.value] = np.isin(shots, good)
    return shots // width, found


def _label(data: Rates, name: str) -> str:
    return f"{name}: {data.totals[name]:,} of {data.n_shots:,}"


@styled
def draw(data: Rates) -> Figure:
    """Return shots a second against wall time, and shares against the shots as taken."""
    result = figure(9.2, 5.0)
    speed, share = result.subplots(2, 1)
    for stage, rate_hz in data.rate_hz.items():
        if rate_hz.any():
            speed.plot(data.time_s, rate_hz, color=STAGE_COLOURS[stage], label=stage)
    for place, gap_s in data.breaks:
        speed.axvline(place, color=FAINT, linewidth=0.8, linestyle=(0, (2, 3)))
        speed.annotate(
            f" {brief(gap_s)}", (place, 1.0), xycoords=("data", "axes fraction"), va="top"
        )
    speed.set_xlim(0.0, data.length_s)
    speed.set_xlabel("wall time [s]" + (", long breaks cut out" if data.breaks else ""))
    speed.set_ylabel("shots/s")
    for name, colour in SHARES.items():
        style = {"color": colour, "marker": ".", "markersize": 3}
        share.plot(data.shot, 100 * data.share[name], label=_label(data, name), **style)
    _run_names(share, data)
    share.set_ylim(-2, 102)
    share.set_xlim(0, max(data.n_shots, 1))
    share.set_xlabel("shots, in the order they were taken")
    share.set_ylabel("of the shots [%]")
    for axes in (speed, share):
        axes.set_ylim(bottom=0.0)
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, borderaxespad=0.2)
        grid(axes)
    return result


def _run_names(axes: Axes, data: Rates) -> None:
    """Mark where runs begin, with their names as far as there is room."""
    said = -np.inf
    for start, name in zip(data.starts.tolist(), data.runs, strict=True):
        axes.axvline(start, color=FAINT, linewidth=0.5)
        if start - said > 0.07 * data.n_shots:
            style = {"fontsize": 7, "color": FAINT, "va": "top"}
            axes.text(start, 101, f" {name}", **style)  # type: ignore[arg-type]  # mixed
            said = start


def chart(data: Rates) -> Chart:
    """Return the same for a browser."""
    line = {"type": "scatter", "mode": "lines"}
    traces = [
        {**line, "x": numbers(data.time_s), "y": numbers(rate_hz, 4), "name": f"{stage} [shots/s]"}
        | {"line": {"color": STAGE_COLOURS[stage], "width": 2}}
        for stage, rate_hz in data.rate_hz.items()
        if rate_hz.any()
    ]
    traces += [
        {**line, "mode": "lines+markers", "x": numbers(data.shot), "xaxis": "x2", "yaxis": "y2"}
        | {"y": numbers(100 * data.share[name], 4), "name": _label(data, name)}
        | {"line": {"color": colour, "width": 2}, "marker": {"size": 4}}
        for name, colour in SHARES.items()
    ]
    axes = grid_of(2, 1, (0.0, 0.22))
    axes["xaxis"] |= {"title": {"text": "wall time [s]"}, "range": [0, data.length_s]}
    axes["yaxis"] |= {"title": {"text": "shots/s"}, "rangemode": "tozero"}
    axes["xaxis2"] |= {"title": {"text": "shots, in the order they were taken"}}
    axes["yaxis2"] |= {"title": {"text": "% of the shots"}, "range": [0, 102]}
    starts = [
        {"type": "line", "xref": "x2", "yref": "y2 domain", "x0": x, "x1": x, "y0": 0, "y1": 1}
        | {"line": {"color": FAINT, "width": 1}}
        for x in data.starts.tolist()
    ]
    cuts = [
        {"type": "line", "yref": "y domain", "x0": x, "x1": x, "y0": 0, "y1": 1}
        | {"line": {"color": FAINT, "width": 1, "dash": "dot"}}
        for x, _ in data.breaks
    ]
    runs = ", ".join(data.runs[:4]) + (" …" if len(data.runs) > 4 else "")
    layout = {**axes, "shapes": starts + cuts, "hovermode": "x unified"}
    return {"data": traces, "layout": {**layout, "annotations": [heading(runs, 1)]}}
