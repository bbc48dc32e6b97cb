"""What a weather plot shows, in words: I/O stalls, starved ranks, late starts, one slow shot.

Each rule looks at one job: the shots of a run that were worked on together (one stage of a batch,
or all stages where a live crew takes each shot through them in one go). Off the processor is the
wall time of a shot without its processor time: it was read, written, or its core was shared.
After the diagnoses that Blaschke et al. (2024) read from such plots, Concurrency Computat. 36.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.plots.timing import STAGES, Timings
from xfel_apps.units import brief

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

STALL_RANKS, STALL_MEDIANS, STALL_S = 0.5, 5.0, 1.0
BOUND_SHARE = 0.5
STARVED_SHARE, WORKING_SHARE = 0.5, 0.2
IDLE_SHARE = 0.5
LATE_SHARE, LATE_S = 0.1, 5.0
SLOW_MEDIANS, SLOW_SHARE, SLOW_S = 10.0, 0.05, 1.0
N_NAMED, N_TOLD = 5, 8

RULES = {
    "I/O stall": f"at least {STALL_RANKS:.0%} of the ranks (two or more) at once in shots that are "
    f"off the processor for {STALL_MEDIANS:g} times the median shot, {STALL_S:g} s at least; for "
    f"{STALL_S:g} s together",
    "I/O or shared cores": f"{BOUND_SHARE:.0%} or more of the shots' time is off the processor",
    "starved ranks": f"a rank at work for less than {STARVED_SHARE:.0%} of the median rank's time, "
    f"which is at least {WORKING_SHARE:.0%} of the job",
    "waiting for work": f"more than {IDLE_SHARE:.0%} of the ranks' time lies between shots",
    "late start": f"a rank's first shot begins {LATE_SHARE:.0%} of the job after the first one's, "
    f"{LATE_S:g} s at least",
    "one slow shot": f"a shot of {SLOW_MEDIANS:g} times the median of its stage, {SLOW_SHARE:.0%} "
    f"of the job and {SLOW_S:g} s at least",
}
"""Diagnosis -> the rule that finds it."""


@dataclass(frozen=True)
class Diagnosis:
    """Something that cost time.

    Attributes
    ----------
    kind : key of `RULES`
    text : what happened, with numbers
    from_s, to_s : when [seconds since 1970]
    rows : numbers of the ranks concerned
    lost_s : time of ranks that it cost [s]
    run, event : the shot, for a slow one; event -1 for none
    """

    kind: str
    text: str
    from_s: float
    to_s: float
    rows: tuple[int, ...]
    lost_s: float
    run: str
    event: int = -1


@dataclass(frozen=True)
class Job:
    """The shots of one job.

    Attributes
    ----------
    name, run : what it is, such as `r0014 index`; name of its run
    row, stage, event : (n,) of each shot
    start_s, end_s, off_s : (n,) [s]
    names : of all rows
    """

    name: str
    run: str
    row: IntArray
    stage: IntArray
    event: IntArray
    start_s: Array
    end_s: Array
    off_s: Array
    names: tuple[str, ...]

    @property
    def first_s(self) -> float:
        """Start of the first shot [seconds since 1970]."""
        return float(self.start_s.min())

    @property
    def last_s(self) -> float:
        """End of the last shot [seconds since 1970]."""
        return float(self.end_s.max())

    @property
    def length_s(self) -> float:
        """From the first shot's start to the last one's end [s]."""
        return max(self.last_s - self.first_s, 1e-9)

    @property
    def ranks(self) -> IntArray:
        """Rows that did a shot."""
        return np.unique(self.row)

    def named(self, rows: IntArray) -> str:
        """Return the first few ranks by name."""
        shown = ", ".join(self.names[row] for row in rows[:N_NAMED])
        return f"rank{'s' * (len(rows) > 1)} {shown}{' …' * (len(rows) > N_NAMED)}"


def diagnose(times: Timings) -> tuple[Diagnosis, ...]:
    """Return what cost most time, worst first."""
    found: list[Diagnosis] = []
    for job in jobs(times):
        for rule in (_stalls, _bound, _starved, _waiting, _late, _slow):
            found += rule(job)
    found.sort(key=lambda item: (-item.lost_s, item.run, item.kind))
    return tuple(found[:N_TOLD])


def jobs(times: Timings) -> Iterator[Job]:
    """Yield the jobs of all runs: stages of a run that overlap for more than half are one."""
    off_s = times.off_cpu_s
    for run, name in enumerate(times.runs):
        of_run = np.flatnonzero(times.run == run)
        for stages in _together(times, of_run):
            mine = of_run[np.isin(times.stage[of_run], stages)]
            yield Job(
                name=f"{name} {'+'.join(STAGES[stage] for stage in stages)}",
                run=name,
                row=times.row[mine],
                stage=times.stage[mine],
                event=times.event[mine],
                start_s=times.start_s[mine],
                end_s=times.end_s[mine],
                off_s=off_s[mine],
                names=times.rows,
            )


def _together(times: Timings, of_run: IntArray) -> list[list[int]]:
    """Return the stages of a run by jobs."""
    groups: list[list[int]] = []
    reach_s = -np.inf
    for stage in range(len(STAGES)):
        mine = of_run[times.stage[of_run] == stage]
        if not len(mine):
            continue
        start_s, end_s = times.start_s[mine].min(), times.end_s[mine].max()
        if groups and reach_s - start_s > 0.5 * (end_s - start_s):
            groups[-1].append(stage)
        else:
            groups.append([stage])
        reach_s = max(reach_s, end_s)
    return groups


def _stalls(job: Job) -> Iterator[Diagnosis]:
    """Yield the times when many ranks were stuck off the processor at once."""
    long_s = max(STALL_MEDIANS * float(np.median(job.end_s - job.start_s)), STALL_S)
    stuck = job.off_s > long_s
    n_least = max(2, int(np.ceil(STALL_RANKS * len(job.ranks))))
    if np.count_nonzero(stuck) < n_least:
        return
    row, start_s, end_s = job.row[stuck], job.start_s[stuck], job.end_s[stuck]
    for from_s, to_s in joined(crowded(start_s, end_s, n_least)):
        if to_s - from_s < STALL_S:
            continue
        rows = np.unique(row[(start_s < to_s) & (end_s > from_s)])
        length_s = to_s - from_s
        text = (
            f"{job.name}: {len(rows)} of {len(job.ranks)} ranks stood still together for "
            f"{brief(length_s)}, off the processor: the file system answered none of them"
        )
        lost_s = length_s * len(rows)
        yield Diagnosis("I/O stall", text, from_s, to_s, tuple(rows.tolist()), lost_s, job.run)


def crowded(start_s: Array, end_s: Array, n_least: int) -> list[tuple[float, float]]:
    """Return when at least `n_least` of the intervals (n,) hold at once.

    >>> crowded(np.array([0.0, 1.0, 5.0]), np.array([3.0, 4.0, 6.0]), 2)
    [(1.0, 3.0)]
    """
    when = np.concatenate([start_s, end_s])
    step = np.concatenate([np.ones(len(start_s), int), -np.ones(len(end_s), int)])
    order = np.lexsort((-step, when))
    when, level = when[order], np.cumsum(step[order])
    enough = np.concatenate([[False], level >= n_least])
    begins = np.flatnonzero(enough[1:] & ~enough[:-1])
    ends = np.flatnonzero(~enough[1:] & enough[:-1])
    return [(float(when[i]), float(when[j])) for i, j in zip(begins, ends, strict=True)]


def joined(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return spans of time in order with those closer than `STALL_S` made one.

    >>> joined([(0.0, 2.0), (2.5, 3.0), (9.0, 10.0)])
    [(0.0, 3.0), (9.0, 10.0)]
    """
    result: list[tuple[float, float]] = []
    for from_s, to_s in spans:
        if result and from_s - result[-1][1] < STALL_S:
            result[-1] = result[-1][0], to_s
        else:
            result.append((from_s, to_s))
    return result


def _bound(job: Job) -> Iterator[Diagnosis]:
    """Yield whether the shots spent most of their time off the processor."""
    took_s, off_s = float((job.end_s - job.start_s).sum()), float(job.off_s.sum())
    if took_s < STALL_S or off_s < BOUND_SHARE * took_s:
        return
    text = (
        f"{job.name}: {off_s / took_s:.0%} of the time of the shots is off the processor: "
        "reading is slow, or the cores are shared with other work"
    )
    rows = tuple(job.ranks.tolist())
    yield Diagnosis("I/O or shared cores", text, job.first_s, job.last_s, rows, off_s, job.run)


def _busy_s(job: Job) -> Array:
    """Return the time each rank of the job was at work, in order of `job.ranks` [s]."""
    _, place = np.unique(job.row, return_inverse=True)
    return np.asarray(np.bincount(place, weights=job.end_s - job.start_s), dtype=np.float64)


def _starved(job: Job) -> Iterator[Diagnosis]:
    """Yield which ranks worked much less than the others."""
    busy_s = _busy_s(job)
    usual_s = float(np.median(busy_s))
    few = busy_s < STARVED_SHARE * usual_s
    if len(busy_s) < 3 or usual_s < WORKING_SHARE * job.length_s or not few.any():
        return
    rows = job.ranks[few]
    lost_s = float((usual_s - busy_s[few]).sum())
    if lost_s < STALL_S:
        return
    text = (
        f"{job.name}: {job.named(rows)} worked for {np.mean(busy_s[few]) / job.length_s:.0%} of "
        f"the job, the median rank for {usual_s / job.length_s:.0%}"
    )
    where = tuple(rows.tolist())
    yield Diagnosis("starved ranks", text, job.first_s, job.last_s, where, lost_s, job.run)


def _waiting(job: Job) -> Iterator[Diagnosis]:
    """Yield whether the ranks of the job had mostly nothing to do."""
    rows = job.ranks
    whole_s = len(rows) * job.length_s
    idle_s = whole_s - float((job.end_s - job.start_s).sum())
    if idle_s < max(IDLE_SHARE * whole_s, STALL_S):
        return
    text = (
        f"{job.name}: {idle_s / whole_s:.0%} of the ranks' time lies between shots: frames came "
        "slowly, or handing shots out takes longer than doing them; fewer ranks would do"
    )
    where = tuple(rows.tolist())
    yield Diagnosis("waiting for work", text, job.first_s, job.last_s, where, idle_s, job.run)


def _late(job: Job) -> Iterator[Diagnosis]:
    """Yield which ranks began long after the first."""
    rows, place = np.unique(job.row, return_inverse=True)
    first_s = np.full(len(rows), np.inf)
    np.minimum.at(first_s, place, job.start_s)
    delay_s = first_s - first_s.min()
    late = delay_s > max(LATE_SHARE * job.length_s, LATE_S)
    if not late.any():
        return
    text = (
        f"{job.name}: {job.named(rows[late])} began up to {brief(float(delay_s.max()))} after "
        "the first: their start was slow (loading Python?), or they joined later"
    )
    where, lost_s = tuple(rows[late].tolist()), float(delay_s[late].sum())
    end_s = float(first_s[late].max())
    yield Diagnosis("late start", text, job.first_s, end_s, where, lost_s, job.run)


def _slow(job: Job) -> Iterator[Diagnosis]:
    """Yield the longest shot of the job, where it is out of all proportion to its stage."""
    took_s = job.end_s - job.start_s
    worst = int(took_s.argmax())
    longest_s = float(took_s[worst])
    usual_s = float(np.median(took_s[job.stage == job.stage[worst]]))
    if longest_s < max(SLOW_MEDIANS * usual_s, SLOW_SHARE * job.length_s, SLOW_S):
        return
    row, event = int(job.row[worst]), int(job.event[worst])
    others = job.end_s[job.row != row]
    alone_s = max(job.end_s[worst] - others.max(), 0.0) if len(others) else 0.0
    text = (
        f"{job.run} shot {event}: {brief(longest_s)} in {STAGES[job.stage[worst]]} on rank "
        f"{job.names[row]}, {longest_s / max(usual_s, 1e-9):.0f} times the median"
    )
    text += f"; the other ranks were done {brief(alone_s)} before" if alone_s > 0 else ""
    lost_s = longest_s + alone_s * (len(job.ranks) - 1)
    when = float(job.start_s[worst]), float(job.end_s[worst])
    yield Diagnosis("one slow shot", text, *when, (row,), lost_s, job.run, event)
