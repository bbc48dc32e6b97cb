"""Latency: how long after its frame was complete on disk a shot had each of its results."""

from xfel_apps.latency.figure import chart, curves, draw, save
from xfel_apps.latency.show import show_latency
from xfel_apps.latency.summary import as_json, summarize
from xfel_apps.latency.times import STAGES, latencies, latencies_of

__all__ = [
    "STAGES",
    "as_json",
    "chart",
    "curves",
    "draw",
    "latencies",
    "latencies_of",
    "save",
    "show_latency",
    "summarize",
]
