"""What came of the shifts: where the node time went, how long work and people waited."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.plan.arrivals import Shift
from xfel_apps.plan.history import Activity, History, Use

Floats = NDArray[np.float64]
WORK = (Activity.LIVE, Activity.REPROCESSING, Activity.PREEMPTIBLE)
PERCENTILES = {"median": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}


@dataclass(frozen=True)
class Outcome:
    """What came of shifts over a reservation of `nodes` nodes.

    Attributes
    ----------
    nodes : of the reservation
    load : live work that arrives over what the nodes can do
    node_time : activity -> mean fraction of the reserved node time; what is left is idle
    waits_s : (jobs,) of live jobs, from submission to start [s]
    results_s : (runs,) from a run's last shot to the end of its processing, transfer included [s]
    left_node_h : reprocessing that is left when a shift ends, on average [node-hours]
    """

    nodes: int
    load: float
    node_time: dict[Activity, float]
    waits_s: Floats
    results_s: Floats
    left_node_h: float

    @property
    def used(self) -> float:
        """Fraction of the reserved node time that did work on shots."""
        return sum(self.node_time[what] for what in WORK)

    @property
    def idle(self) -> float:
        """Fraction of the reserved node time in which nothing ran."""
        return max(0.0, 1 - sum(self.node_time.values()))

    def share_within(self, limit_min: float) -> float:
        """Return the fraction of the runs whose results came in time."""
        return float(np.mean(self.results_s <= 60 * limit_min)) if len(self.results_s) else 1.0

    def row(self, limit_min: float) -> dict[str, Any]:
        """Return the outcome as plain numbers (`--json`)."""
        return {
            "nodes": self.nodes,
            "live_load": self.load,
            "used": self.used,
            "node_time": {**{str(k): v for k, v in self.node_time.items()}, "idle": self.idle},
            "wait_s": percentiles(self.waits_s),
            "result_s": percentiles(self.results_s),
            "share_in_time": self.share_within(limit_min),
            "left_node_h": self.left_node_h,
            "n_live_jobs": len(self.waits_s),
            "n_runs": len(self.results_s),
        }


def outcome(
    nodes: int,
    load: float,
    shift_s: float,
    shifts: Sequence[Shift],
    histories: Sequence[History],
) -> Outcome:
    """Return what came of the shifts; node time counts to the end of each shift."""
    spent = [node_time(history.uses, nodes, shift_s) for history in histories]
    return Outcome(
        nodes,
        load,
        {what: float(np.mean([one[what] for one in spent])) for what in Activity},
        np.concatenate([waits_s(history) for history in histories]),
        np.concatenate([results_s(*pair) for pair in zip(shifts, histories, strict=True)]),
        float(np.mean([history.left_node_s for history in histories])) / 3600,
    )


def node_time(uses: Sequence[Use], nodes: int, shift_s: float) -> dict[Activity, float]:
    """Return the fraction of the reserved node time that each activity took.

    >>> node_time([Use(Activity.LIVE, 2, 0, 30), Use(Activity.LIVE, 4, 90, 190)], 4, 100)["live"]
    0.25
    """
    total = dict.fromkeys(Activity, 0.0)
    for use in uses:
        inside_s = min(use.end_s, shift_s) - min(use.start_s, shift_s)
        total[use.what] += use.nodes * inside_s / (nodes * shift_s)
    return total


def waits_s(history: History) -> Floats:
    """Return how long each live job waited for nodes [s]."""
    waits = [done.start_s - done.job.arrival_s for done in history.done if done.job.is_live]
    return np.array(waits, dtype=np.float64)


def results_s(shift: Shift, history: History) -> Floats:
    """Return how long after its last shot each run was done [s]."""
    ends_s = np.zeros(len(shift.runs))
    for done in history.done:
        if done.job.is_live:
            ends_s[done.job.run] = max(ends_s[done.job.run], done.end_s)
    taken_s = np.array([run.end_s for run in shift.runs], dtype=np.float64)
    return np.asarray(ends_s - taken_s)


def percentiles(values: Floats) -> dict[str, float | None]:
    """Return median, p90, p99 and maximum; None where there are no values."""
    if not len(values):
        return dict.fromkeys(PERCENTILES)
    return {name: float(np.percentile(values, at)) for name, at in PERCENTILES.items()}


def timeline(uses: Sequence[Use], times_s: Floats) -> dict[Activity, Floats]:
    """Return the nodes that each activity has at each of the times."""
    nodes = {what: np.zeros(len(times_s)) for what in Activity}
    for use in uses:
        first, last = np.searchsorted(times_s, [use.start_s, use.end_s])
        nodes[use.what][first:last] += use.nodes
    return nodes
