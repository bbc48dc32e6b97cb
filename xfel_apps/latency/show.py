"""Latencies in the terminal: a histogram by stage and a table of quantiles."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table
from rich.text import Text

from xfel_apps.latency.summary import Summary, known_s, summarize
from xfel_apps.latency.times import STAGES
from xfel_apps.units import brief

EDGES_S = np.array(
    [0, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30]
    + [60 * minutes for minutes in (1, 2, 3.5, 5, 10, 15, 20, 30)]
    + [3600 * hours for hours in (1, 2, 5, 12, 24)]
)
BAR_WIDTH = 12
COLOURS = {"spotfind": "bright_blue", "index": "yellow", "integrate": "green", "merge": "magenta"}


def show_latency(frame: pd.DataFrame) -> Group:
    """Return what is to be printed of latencies (see `latencies`)."""
    return Group(histogram(frame), Text(), quantiles(summarize(frame)))


def histogram(frame: pd.DataFrame) -> Table:
    """Return the histogram of the time from a frame to its results, a column a stage."""
    stages = [stage for stage in STAGES if frame[stage].notna().any()]
    counts = {stage: counted(known_s(frame, stage)) for stage in stages}
    table = Table(title="Time from a complete frame to its result", box=None, title_justify="left")
    table.add_column("within", justify="right")
    for stage in stages:
        table.add_column(stage)
    filled = np.flatnonzero(sum(counts.values(), np.zeros(len(EDGES_S), int)))
    for row in range(filled[0], filled[-1] + 1) if len(filled) else ():
        bars = [_bar(counts[stage], row, COLOURS[stage]) for stage in stages]
        table.add_row(_label(row), *bars)
    return table


def counted(values_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many latencies fall between the edges; the last number is of what is beyond."""
    place = np.searchsorted(EDGES_S, np.maximum(values_s, 0.0), side="right") - 1
    return np.bincount(place, minlength=len(EDGES_S)).astype(np.int64)


def _label(row: int) -> str:
    if row + 1 == len(EDGES_S):
        return f"over {brief(float(EDGES_S[-1]))}"
    return brief(float(EDGES_S[row + 1]))


def _bar(counts: NDArray[np.int64], row: int, colour: str) -> Text:
    """Return a bar and its number; the longest of a stage is `BAR_WIDTH` long."""
    n = int(counts[row])
    if not n:
        return Text()
    length = max(1, round(BAR_WIDTH * n / int(counts.max())))
    return Text.assemble(("█" * length, colour), f" {n:,}")


def quantiles(summaries: Mapping[str, Mapping[str, Summary]]) -> Table:
    """Return the table of quantiles by run and stage."""
    table = Table(box=None)
    for name in ("run", "stage"):
        table.add_column(name)
    for name in ("shots", "median", "90 %", "99 %", "longest"):
        table.add_column(name, justify="right")
    for run, stages in summaries.items():
        for stage, item in stages.items():
            times = (item.median_s, item.p90_s, item.p99_s, item.max_s)
            table.add_row(run, stage, f"{item.n:,}", *map(brief, times))
    return table
