"""Runs of a shift drawn at random, and the work that comes with them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xfel_apps.plan.settings import BeamTime, PlanSettings, Work


@dataclass(frozen=True)
class Run:
    """A run: when it began and ended [s from the start of the shift], its shots and hits."""

    start_s: float
    end_s: float
    shots: float
    hit_fraction: float


@dataclass(frozen=True)
class Job:
    """Work that queues for nodes of the reservation.

    Attributes
    ----------
    run : number of the run
    arrival_s : when it is submitted
    nodes : that it takes
    work_s : that it needs on them, without warming up
    is_live : it is a run's first processing, someone waits for it
    """

    run: int
    arrival_s: float
    nodes: int
    work_s: float
    is_live: bool = True


@dataclass(frozen=True)
class Backlog:
    """Work for preemptible jobs: when it arrives [s] and how much it is [node-seconds]."""

    arrival_s: float
    node_s: float


@dataclass(frozen=True)
class Shift:
    """What one shift brings."""

    runs: tuple[Run, ...]
    jobs: tuple[Job, ...]
    backlog: tuple[Backlog, ...]


def draw_shift(settings: PlanSettings, rng: np.random.Generator) -> Shift:
    """Return a shift drawn at random: runs, live jobs, and the reprocessing of each new trial."""
    runs = tuple(draw_runs(settings.beam, rng))
    trials_s = np.sort(rng.uniform(0, 3600 * settings.beam.shift_h, settings.work.trials))
    jobs = [job for number in range(len(runs)) for job in _live_jobs(settings, runs, number)]
    backlog = [Backlog(0.0, 3600 * settings.work.backlog_node_h)]
    for trial_s in trials_s:
        again = [
            Job(number, float(trial_s), _nodes(settings), _work_s(settings, run, 1.0), False)
            for number, run in enumerate(runs)
            if run.end_s + 60 * settings.beam.transfer_min <= trial_s
        ]
        if settings.filling.reprocess == "reservation":
            jobs += again
        else:
            backlog.append(Backlog(float(trial_s), sum(job.nodes * job.work_s for job in again)))
    return Shift(runs, tuple(sorted(jobs, key=lambda job: job.arrival_s)), tuple(backlog))


def draw_runs(beam: BeamTime, rng: np.random.Generator) -> Iterator[Run]:
    """Yield the runs of a shift; the last one ends with it."""
    shift_s, now_s = 3600 * beam.shift_h, 0.0
    while True:
        changes = rng.random() < 1 / beam.runs_per_sample
        gap_min = beam.change_min if changes else beam.gap_min
        now_s += 60 * _gamma(rng, gap_min, beam.gap_spread)
        end_s = min(now_s + 60 * _gamma(rng, beam.run_min, beam.run_spread), shift_s)
        hit_fraction = _beta(rng, beam.hit_fraction, beam.hit_spread)
        if now_s >= shift_s:
            return
        yield Run(now_s, end_s, beam.shots_hz * (end_s - now_s), hit_fraction)
        now_s = end_s


def core_s_per_shot(work: Work, hit_fraction: float) -> float:
    """Return the mean cost of a shot [core-seconds]."""
    return hit_fraction * work.hit_core_s + (1 - hit_fraction) * work.miss_core_s


def offered_load(settings: PlanSettings, shifts: Sequence[Shift]) -> float:
    """Return the live work that arrives over what the reservation can do, without warming up."""
    live_s = sum(job.nodes * job.work_s for shift in shifts for job in shift.jobs if job.is_live)
    return live_s / (len(shifts) * settings.reservation.nodes * 3600 * settings.beam.shift_h)


def _live_jobs(settings: PlanSettings, runs: Sequence[Run], number: int) -> Iterator[Job]:
    """Yield the job of a run, or of each chunk of it, as its data reach the computing centre."""
    run = runs[number]
    length_s = run.end_s - run.start_s
    chunk_s = 60 * settings.beam.chunk_min or length_s
    n_chunks = max(1, int(np.ceil(length_s / chunk_s - 1e-9)))
    ends_s = np.minimum(run.start_s + chunk_s * np.arange(1, n_chunks + 1), run.end_s)
    begin_s = run.start_s
    for end_s in ends_s.tolist():
        share = (end_s - begin_s) / length_s
        arrival_s = end_s + 60 * settings.beam.transfer_min
        yield Job(number, arrival_s, _nodes(settings), _work_s(settings, run, share))
        begin_s = end_s


def _nodes(settings: PlanSettings) -> int:
    return min(settings.work.nodes_per_job, settings.reservation.nodes)


def _work_s(settings: PlanSettings, run: Run, share: float) -> float:
    core_s = share * run.shots * core_s_per_shot(settings.work, run.hit_fraction)
    cores = _nodes(settings) * settings.reservation.cores_per_node
    return core_s / (cores * settings.work.efficiency)


def _gamma(rng: np.random.Generator, mean: float, spread: float) -> float:
    """Return a draw with a mean and a standard deviation of `spread` times it."""
    if mean == 0 or spread == 0:
        return mean
    return float(rng.gamma(spread**-2, mean * spread**2))


def _beta(rng: np.random.Generator, mean: float, spread: float) -> float:
    """Return a draw from 0 to 1 with a mean and a standard deviation."""
    if spread == 0:
        return mean
    total = mean * (1 - mean) / spread**2 - 1
    return float(rng.beta(mean * total, (1 - mean) * total))
