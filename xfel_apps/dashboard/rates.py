"""How fast shots of a run are processed, and how soon: figures against time."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Integer, cast, func, select
from sqlalchemy.orm import Session

from xfel_apps.catalog.find import find_run, find_trial
from xfel_apps.catalog.models import Event
from xfel_apps.containers.outcome import Outcome
from xfel_apps.latency import STAGES

Figure = Mapping[str, Any]
SERIES = (
    ("spotfind", tuple(Outcome), "shots", "#8a929c"),
    ("spotfind", (Outcome.HIT_NOT_INDEXED,), "hits", "#56b4e9"),
    ("index", (Outcome.INDEXED,), "indexed", "#e69f00"),
    ("integrate", (Outcome.INTEGRATED,), "integrated", "#009e73"),
)
"""Stage, outcomes that it gives, what they are called, colour (Okabe & Ito 2008)."""
LATENCY_COLOURS = {"spotfind": "#56b4e9", "index": "#e69f00", "integrate": "#009e73",
                   "merge": "#cc79a7"}  # fmt: skip
N_BINS = 120
WIDTHS_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 86400)
"""Widths of bins [s]."""

Counts = dict[tuple[str, str], dict[int, int]]


def rates(session: Session, experiment: str, trial: str, run: str) -> Figure:
    """Return the figure of shots, hits, indexed and integrated shots a second against time."""
    own = (
        Event.trial_id == find_trial(session, experiment, trial).id,
        Event.run_id == find_run(session, experiment, run).id,
    )
    first_s, last_s = session.execute(
        select(func.min(Event.end_s), func.max(Event.end_s)).where(*own, Event.stage != "ingest")
    ).one()
    if first_s is None:
        return {"data": [], "layout": {}}
    width_s = _width(last_s - first_s)
    number = cast(func.floor((Event.end_s - first_s) / width_s), Integer)
    query = select(Event.stage, Event.outcome, number, func.count())
    query = query.where(*own, Event.stage != "ingest")
    counts: Counts = defaultdict(dict)
    for stage, code, place, n in session.execute(
        query.group_by(Event.stage, Event.outcome, number)
    ):
        counts[stage, str(Outcome.from_code(code))][int(place)] = n
    n_bins = int((last_s - first_s) // width_s) + 1
    return _figure(counts, float(first_s), width_s, n_bins)


def _width(span_s: float) -> int:
    """Return the width of bins [s] that makes a hundred or so of a span of time."""
    return next((width for width in WIDTHS_S if span_s / width <= N_BINS), WIDTHS_S[-1])


def _figure(counts: Counts, first_s: float, width_s: int, n_bins: int) -> Figure:
    times = [_iso(first_s + (number + 0.5) * width_s) for number in range(n_bins)]
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": times,
            "y": (_total(counts, stage, outcomes, n_bins) / width_s).tolist(),
            "line": {"color": colour, "width": 2, "shape": "hvh"},
            "hovertemplate": "%{y:.3g} a second<extra>%{fullData.name}</extra>",
        }
        for stage, outcomes, name, colour in SERIES
    ]
    axis = {"rangemode": "tozero", "title": {"text": "a second", "standoff": 6}}
    return {"data": data, "layout": {"yaxis": axis, "xaxis": {"type": "date"}}}


def _total(counts: Counts, stage: str, outcomes: Sequence[Outcome], n_bins: int) -> Any:
    total = np.zeros(n_bins)
    for outcome in outcomes:
        for place, n in counts.get((stage, str(outcome)), {}).items():
            total[min(place, n_bins - 1)] += n
    return total


def _iso(seconds: float) -> str:
    """Return a time [s since 1970] as the browser's axis takes it, in local time."""
    return pd.Timestamp.fromtimestamp(seconds).isoformat(timespec="milliseconds")


def latency(frame: pd.DataFrame) -> Figure:
    """Return the figure of the time from a frame to its results, median and 90 %, against time.

    Parameters
    ----------
    frame : as `xfel_apps.latency.latencies_of` returns it
    """
    complete_s = frame["complete_s"].to_numpy(float)
    if not len(complete_s):
        return {"data": [], "layout": {}}
    first_s, width_s = complete_s.min(), _width(float(np.ptp(complete_s)))
    place = ((complete_s - first_s) // width_s).astype(int)
    data = []
    for stage in STAGES:
        by_bin = frame[stage].groupby(place)
        for share, dash in ((0.5, "solid"), (0.9, "dot")):
            quantile = by_bin.quantile(share).dropna()
            name = f"{stage}, {share:.0%}" if share != 0.5 else stage
            times = [_iso(first_s + (number + 0.5) * width_s) for number in quantile.index]
            values = np.maximum(quantile.to_numpy(float), 1e-3)
            if len(values):
                data.append(_quantile(name, times, values, LATENCY_COLOURS[stage], dash))
    top = max((max(trace["y"]) for trace in data), default=1.0)
    axis: dict[str, Any] = {"type": "log", "title": {"text": "seconds", "standoff": 6}}
    axis |= {"range": [-1.0, max(math.log10(top) + 0.2, 1.0)], "dtick": 1}
    limits = [_iso(first_s - width_s), _iso(complete_s.max() + width_s)]
    return {"data": data, "layout": {"yaxis": axis, "xaxis": {"type": "date", "range": limits}}}


def _quantile(name: str, times: Any, values: Any, colour: str, dash: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": times,
        "y": values.tolist(),
        "marker": {"size": 4},
        "line": {"color": colour, "dash": dash, "width": 2},
        "hovertemplate": "%{y:.3g} s<extra>%{fullData.name}</extra>",
    }
