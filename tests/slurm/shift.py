"""Play a shift of seconds on the test cluster, to compare what it does with what a plan says.

Live work is jobs that sleep; they go to a reservation of all nodes, which preemptible jobs fill.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.slurm.cluster import Cluster
from xfel_apps.plan.arrivals import Backlog, Job, draw_shift
from xfel_apps.plan.history import Activity, Done, History, Use
from xfel_apps.plan.outcome import WORK, node_time
from xfel_apps.plan.settings import PlanSettings
from xfel_apps.plan.simulation import simulate

N_FILLERS = 12
ENDLESS = (Backlog(0.0, 1e9),)
# They stamp a common file: who, what, when.
LIVE = """#!/bin/sh
echo "$1 start $(date +%s.%N)" >> stamps
sleep "$2"
echo "$1 end $(date +%s.%N)" >> stamps
"""
FILLER = """#!/bin/sh
me=filler.$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}
echo "$me start $(date +%s.%N)" >> stamps
give_way() {
  echo "$me told $(date +%s.%N)" >> stamps
  sleep "$1"
  echo "$me end $(date +%s.%N)" >> stamps
  scontrol requeue "$SLURM_JOB_ID"
  exit
}
trap "give_way $1" INT
sleep 3600 &
wait
"""


Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """What the cluster takes to start jobs on idle nodes, and to fill them [s]."""

    schedule_s: float
    fill_s: float


def small_shift(shift_s: float, give_way_s: float, calibration: Calibration) -> PlanSettings:
    """Return the settings of a shift whose runs last seconds: jobs of two of four nodes."""
    return PlanSettings.checked(
        {
            "beam": {
                "shift_h": shift_s / 3600,
                "run_min": 8 / 60,
                "gap_min": 5 / 60,
                "change_min": 15 / 60,
                "runs_per_sample": 4,
                "shots_hz": 10,
                "hit_spread": 0,
                "hit_fraction": 0.5,
                "transfer_min": 1 / 60,
            },
            "work": {
                "hit_core_s": 1.4,
                "miss_core_s": 0.4,
                "efficiency": 1,
                "nodes_per_job": 2,
                "trials": 2,
            },
            "reservation": {
                "nodes": 4,
                "cores_per_node": 4,
                "schedule_s": calibration.schedule_s,
                "warm_up_s": 0,
                "keep_warm_s": 0,
            },
            "filling": {
                "reprocess": "reservation",
                "walltime_min": 60,
                "schedule_s": calibration.fill_s,
                "warm_up_s": 0,
                "give_way_s": give_way_s,
            },
        }
    )


def work_of(settings: PlanSettings, seed: int) -> tuple[Job, ...]:
    """Return the jobs of a shift drawn at random; all that arrive before it ends."""
    shift_s = 3600 * settings.beam.shift_h
    jobs = draw_shift(settings, np.random.default_rng(seed)).jobs
    return tuple(job for job in jobs if job.arrival_s < shift_s)


def predict(settings: PlanSettings, jobs: Sequence[Job]) -> History:
    """Return what the plan says of these jobs."""
    shift_s = 3600 * settings.beam.shift_h
    return simulate(settings.reservation, settings.filling, shift_s, jobs, ENDLESS)


@dataclass(frozen=True)
class Comparison:
    """A shift as predicted and as measured.

    Attributes
    ----------
    waits_s : predicted and measured, (jobs,) in the order of arrival [s]
    node_time : predicted and measured, activity -> fraction of the reserved node time
    """

    waits_s: tuple[Floats, Floats]
    node_time: tuple[dict[Activity, float], dict[Activity, float]]

    def figures(self) -> dict[str, float]:
        """Return medians and 90 % of the waits, and utilisation, predicted and measured."""
        found: dict[str, float] = {"jobs": len(self.waits_s[0])}
        for name, waits_s, spent in zip(
            ("predicted", "measured"), self.waits_s, self.node_time, strict=True
        ):
            found[f"wait_s_median_{name}"] = round(float(np.median(waits_s)), 2)
            found[f"wait_s_p90_{name}"] = round(float(np.percentile(waits_s, 90)), 2)
            found[f"used_{name}"] = round(sum(spent[what] for what in WORK), 3)
        return found

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:g}" for name, value in self.figures().items())


def compare(
    settings: PlanSettings, jobs: Sequence[Job], predicted: History, measured: History
) -> Comparison:
    """Return waits and node time of the same jobs, as predicted and as measured."""
    nodes, shift_s = settings.reservation.nodes, 3600 * settings.beam.shift_h
    waits_s, times = [], []
    for history in (predicted, measured):
        start_s = {id(done.job): done.start_s for done in history.done}
        waits_s.append(np.array([start_s[id(job)] - job.arrival_s for job in jobs]))
        times.append(node_time(history.uses, nodes, shift_s))
    return Comparison((waits_s[0], waits_s[1]), (times[0], times[1]))


def calibrate(cluster: Cluster) -> Calibration:
    """Measure how long an empty cluster takes to start a job, and to fill its nodes."""
    folder = _folder(cluster, "calibration")
    cluster.reserve("calibration", cluster.nodes)
    waits_s = []
    for number in range(5):
        submitted_s = time.time()
        _submit_live(cluster, folder, "calibration", number, 1, 0.1)
        waits_s.append(_wait_for(folder, f"{number} end")[f"{number}"]["start"] - submitted_s)
    asked_s = time.time()
    _submit_fillers(cluster, folder, 0.0)
    stamps = _wait_for(folder, "filler", len(cluster.nodes))
    fills_s = [at["start"] - asked_s for who, at in stamps.items() if who.startswith("filler")]
    cluster.drain()
    return Calibration(float(np.median(waits_s)), float(np.median(fills_s)))


def play(cluster: Cluster, settings: PlanSettings, jobs: Sequence[Job]) -> History:
    """Have the cluster do the jobs as they arrive; return what happened, by the jobs' own stamps.

    Times count from the moment when all nodes are filled.
    """
    shift_s = 3600 * settings.beam.shift_h
    folder = _folder(cluster, f"shift{settings.filling.give_way_s:g}")
    cluster.reserve("shift", cluster.nodes)
    _submit_fillers(cluster, folder, settings.filling.give_way_s)
    _wait_for(folder, "filler", len(cluster.nodes))
    began_s = time.time()
    for number, job in enumerate(jobs):
        time.sleep(max(0.0, began_s + job.arrival_s - time.time()))
        _submit_live(cluster, folder, "shift", number, job.nodes, job.work_s)
    for number in range(len(jobs)):
        _wait_for(folder, f"{number} end")
    time.sleep(max(0.0, began_s + shift_s - time.time()))
    cluster.drain()
    return _history(_read(folder), jobs, began_s, shift_s)


def _history(
    stamps: dict[str, dict[str, float]], jobs: Sequence[Job], began_s: float, shift_s: float
) -> History:
    history = History()
    for number, job in enumerate(jobs):
        start_s, end_s = (stamps[str(number)][what] - began_s for what in ("start", "end"))
        what = Activity.LIVE if job.is_live else Activity.REPROCESSING
        history.done.append(Done(job, start_s, end_s))
        history.uses.append(Use(what, job.nodes, start_s, end_s))
    for who, at in stamps.items():
        if who.startswith("filler"):
            history.uses += _filler_uses(at, began_s, shift_s)
    return history


def _filler_uses(at: dict[str, float], began_s: float, shift_s: float) -> Iterator[Use]:
    """Yield what a preemptible job did; times before the shift do not count."""
    start_s = max(0.0, at["start"] - began_s)
    told_s = at.get("told", began_s + shift_s) - began_s
    yield Use(Activity.PREEMPTIBLE, 1, start_s, max(start_s, told_s))
    if "told" in at:
        yield Use(Activity.LOST, 1, told_s, at.get("end", began_s + shift_s) - began_s)


def _folder(cluster: Cluster, name: str) -> Path:
    folder = cluster.home / name
    cluster.run("mkdir", str(folder))
    (folder / "live.sh").write_text(LIVE)
    (folder / "filler.sh").write_text(FILLER)
    return folder


def _submit_live(
    cluster: Cluster, folder: Path, reservation: str, number: int, nodes: int, work_s: float
) -> None:
    cluster.run(
        "sbatch", "-N", str(nodes), "--exclusive", "-t", "5", f"--reservation={reservation}",
        "--output=/dev/null", "live.sh", str(number), f"{work_s:.3f}", folder=folder,
    )  # fmt: skip


def _submit_fillers(cluster: Cluster, folder: Path, give_way_s: float) -> None:
    cluster.run(
        "sbatch", "-N1", "--exclusive", "-t", "15", "--qos=preempt", "--signal=BR:INT@60",
        f"--array=1-{N_FILLERS}", "--requeue", "--open-mode=append", "--output=/dev/null",
        "filler.sh", f"{give_way_s:g}", folder=folder,
    )  # fmt: skip


def _read(folder: Path) -> dict[str, dict[str, float]]:
    """Return who -> what -> when [s since the epoch]."""
    stamps: dict[str, dict[str, float]] = {}
    path = folder / "stamps"
    for line in path.read_text().splitlines() if path.exists() else ():
        who, what, when_s = line.split()
        stamps.setdefault(who, {})[what] = float(when_s)
    return stamps


def _wait_for(
    folder: Path, start: str, n: int = 1, limit_s: float = 300.0
) -> dict[str, dict[str, float]]:
    """Return the stamps as soon as `n` of them begin with a text."""
    path = folder / "stamps"
    end_s = time.monotonic() + limit_s
    while time.monotonic() < end_s:
        lines = path.read_text().splitlines() if path.exists() else []
        if sum(line.startswith(start) for line in lines) >= n:
            return _read(folder)
        time.sleep(0.1)
    raise TimeoutError(f"no {n} stamps {start!r} in {limit_s} s; there are {lines}")
