"""A shift over a reservation, event by event: who has which nodes when.

Nodes are alike. Live jobs start in the order they arrive; the first in line is not overtaken.
Preemptible jobs take nodes that nobody waits for, and are told to go as soon as a queued job can
start on their nodes; as many as it needs and no more, and for all queued jobs at once. So does
Slurm 22.05 (`tests/slurm/test_plan.py`). That the youngest go first is assumed.
"""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

from xfel_apps.plan.arrivals import Backlog, Job
from xfel_apps.plan.history import Activity, Done, History, Use
from xfel_apps.plan.settings import Filling, Reservation

TINY_S = 1e-6


def simulate(
    reservation: Reservation,
    filling: Filling,
    shift_s: float,
    jobs: Sequence[Job],
    backlog: Sequence[Backlog] = (),
) -> History:
    """Return what happens to jobs and backlog; jobs that queue when the shift ends are still done.

    No preemptible job starts after the end of the shift.
    """
    return _Simulation(reservation, filling, shift_s).run(jobs, backlog)


@dataclass(eq=False)
class _Held:
    """Nodes that are held: by a block kept warm, or by a preemptible job with its share of work."""

    nodes: int
    since_s: float
    useful_s: float = 0.0


@dataclass(eq=False)
class _Queued:
    """A job, with the work that is left, when the scheduler can start it, and its first start."""

    job: Job
    left_s: float
    ready_s: float
    start_s: float | None = None


class _Simulation:
    """The state of the reservation, and what each event changes."""

    def __init__(self, reservation: Reservation, filling: Filling, shift_s: float) -> None:
        self.reservation, self.filling, self.shift_s = reservation, filling, shift_s
        self.history = History()
        # Freed nodes go to others after the scheduler's time, and to preemptible jobs after theirs.
        self.fill_after_s = max(0.0, filling.schedule_s - reservation.schedule_s)
        self.now_s = 0.0
        self.free = reservation.nodes
        self.coming = 0  # nodes that are being given up
        self.outside = reservation.overflow_nodes
        self.queue: deque[_Queued] = deque()
        self.warm: list[_Held] = []
        self.fillers: dict[_Held, None] = {}  # the youngest last
        self.filled = 0  # nodes that they have
        self.is_fill_due = False
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()

    def run(self, jobs: Sequence[Job], backlog: Sequence[Backlog]) -> History:
        """Return the history once nothing more happens."""
        for job in jobs:
            item = _Queued(job, job.work_s, job.arrival_s + self.reservation.schedule_s)
            self._at(job.arrival_s, partial(self._arrive, item))
        for part in backlog:
            self._at(part.arrival_s, partial(self._add, part.node_s))
        while self._events:
            self.now_s, _, happen = heapq.heappop(self._events)
            happen()
        return self.history

    def _at(self, time_s: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time_s, next(self._number), happen))

    def _used(self, what: Activity, nodes: int, start_s: float, end_s: float) -> None:
        if end_s > start_s:
            self.history.uses.append(Use(what, nodes, start_s, end_s))

    # jobs of the reservation

    def _arrive(self, item: _Queued) -> None:
        """Queue a job; preemptible jobs in its way are told at once, while it is scheduled."""
        self.queue.append(item)
        self._at(item.ready_s, self._dispatch)
        self._dispatch()

    def _dispatch(self) -> None:
        """Start what can start, in order, and have preemptible jobs give way to the rest."""
        while self.queue and self._try_to_start(self.queue[0]):
            self.queue.popleft()
        promised = self.free + self._n_warm() + self.coming
        for item in tuple(self.queue):
            short = item.job.nodes - promised
            if short > self.filled:
                if item.job.nodes > self.outside:
                    break
                self.queue.remove(item)
                self._start_outside(item)
                continue
            if short > 0:
                promised += self._preempt(short)
            promised -= item.job.nodes
        self._fill_soon()

    def _try_to_start(self, item: _Queued) -> bool:
        nodes = item.job.nodes
        if self._n_warm() >= nodes:
            self._start_warm(item)
            return True
        if self.now_s < item.ready_s or self.free + self._n_warm() < nodes:
            return False
        if self.free < nodes:
            self.free += self._take_warm(nodes - self.free)
        self.free -= nodes
        self._work(item, self.reservation.warm_up_s)
        return True

    def _start_warm(self, item: _Queued) -> None:
        self._take_warm(item.job.nodes)
        self._work(item, 0.0)

    def _work(self, item: _Queued, warm_up_s: float) -> None:
        """Have a job on its nodes until it is done or its walltime is over."""
        start_s, nodes = self.now_s, item.job.nodes
        work_s = min(item.left_s, 60 * self.reservation.walltime_min - warm_up_s)
        what = Activity.LIVE if item.job.is_live else Activity.REPROCESSING
        self._used(Activity.WARMING_UP, nodes, start_s, start_s + warm_up_s)
        self._used(what, nodes, start_s + warm_up_s, start_s + warm_up_s + work_s)
        first_s = start_s if item.start_s is None else item.start_s
        rest = replace(item, left_s=item.left_s - work_s, start_s=first_s)
        self._at(start_s + warm_up_s + work_s, partial(self._end, rest))

    def _end(self, item: _Queued) -> None:
        if item.left_s > TINY_S:
            self.queue.appendleft(item)
            self._give_up(item.job.nodes, 0.0)
            return
        self._record(item)
        if self.reservation.keep_warm_s > 0:
            block = _Held(item.job.nodes, self.now_s)
            self.warm.append(block)
            self._at(self.now_s + self.reservation.keep_warm_s, partial(self._cool_down, block))
            self._dispatch()
        else:
            self._give_up(item.job.nodes, 0.0)

    def _record(self, item: _Queued) -> None:
        assert item.start_s is not None
        self.history.done.append(Done(item.job, item.start_s, self.now_s))

    def _start_outside(self, item: _Queued) -> None:
        """Have a job done on nodes outside the reservation."""
        self.outside -= item.job.nodes
        start_s = self.now_s + 60 * self.reservation.overflow_wait_min
        first_s = start_s if item.start_s is None else item.start_s
        started = replace(item, start_s=first_s)
        end_s = start_s + self.reservation.warm_up_s + item.left_s
        self._at(end_s, partial(self._end_outside, started))

    def _end_outside(self, item: _Queued) -> None:
        self._record(item)
        self.outside += item.job.nodes
        self._dispatch()

    # blocks that are kept warm

    def _n_warm(self) -> int:
        return sum(block.nodes for block in self.warm)

    def _take_warm(self, nodes: int) -> int:
        """Take nodes from the blocks that are kept warm, the latest first."""
        left = nodes
        while left:
            block = self.warm[-1]
            taken = min(left, block.nodes)
            self._used(Activity.KEPT_WARM, taken, block.since_s, self.now_s)
            block.nodes -= taken
            left -= taken
            if not block.nodes:
                self.warm.pop()
        return nodes

    def _cool_down(self, block: _Held) -> None:
        """End a block that was kept warm in vain."""
        if block.nodes:
            self.warm.remove(block)
            self._used(Activity.KEPT_WARM, block.nodes, block.since_s, self.now_s)
            self._give_up(block.nodes, 0.0)

    # nodes and what fills them

    def _give_up(self, nodes: int, after_s: float) -> None:
        """Let others have nodes after a time, and the scheduler's."""
        self.coming += nodes
        self._at(self.now_s + after_s + self.reservation.schedule_s, partial(self._free, nodes))

    def _free(self, nodes: int) -> None:
        self.coming -= nodes
        self.free += nodes
        self._dispatch()

    def _add(self, node_s: float) -> None:
        self.history.left_node_s += node_s
        self._fill_soon()

    def _n_unwanted(self) -> int:
        return self.free - sum(item.job.nodes for item in self.queue)

    def _can_fill(self) -> bool:
        return (
            self.history.left_node_s > TINY_S
            and self._n_unwanted() >= self.filling.nodes
            and self.now_s < self.shift_s
        )

    def _fill_soon(self) -> None:
        if not self.is_fill_due and self._can_fill():
            self.is_fill_due = True
            self._at(self.now_s + self.fill_after_s, self._fill)

    def _fill(self) -> None:
        """Start preemptible jobs on the nodes that nobody waits for, and share the backlog out.

        Where little is left, no job starts for less work than it takes to warm up.
        """
        self.is_fill_due = False
        if not self._can_fill():
            return
        nodes, warm_up_s = self.filling.nodes, self.filling.warm_up_s
        worth = int(self.history.left_node_s / (nodes * max(warm_up_s, 1.0)))
        jobs = max(1, min(self._n_unwanted() // nodes, worth))
        longest_s = 60 * self.filling.walltime_min - warm_up_s
        useful_s = min(longest_s, self.history.left_node_s / (jobs * nodes))
        for _ in range(jobs):
            filler = _Held(nodes, self.now_s, useful_s)
            self.free -= nodes
            self.history.left_node_s -= nodes * useful_s
            self.filled += nodes
            self.fillers[filler] = None
            self._at(self.now_s + warm_up_s + useful_s, partial(self._end_filler, filler))
        self._fill_soon()

    def _end_filler(self, filler: _Held) -> None:
        if filler in self.fillers:
            del self.fillers[filler]
            self.filled -= filler.nodes
            self._used_by(filler, self.now_s, 0.0, self.now_s)
            self._give_up(filler.nodes, 0.0)

    def _preempt(self, nodes: int) -> int:
        """Tell preemptible jobs to go, the youngest first; return the nodes they will leave."""
        leaving = 0
        while leaving < nodes:
            filler, _ = self.fillers.popitem()
            self.filled -= filler.nodes
            leaving += filler.nodes
            is_killed = self.filling.give_way_s > self.filling.grace_s
            ready_s = filler.since_s + self.filling.warm_up_s
            worked_s = max(0.0, self.now_s - ready_s)
            lost_s = min(self.filling.save_every_s, worked_s) if is_killed else 0.0
            after_s = min(self.filling.give_way_s, self.filling.grace_s)
            after_s = min(after_s, ready_s + filler.useful_s - self.now_s)
            kept_s = worked_s - lost_s
            self.history.left_node_s += filler.nodes * (filler.useful_s - kept_s)
            self._used_by(filler, self.now_s, lost_s, self.now_s + after_s)
            self._give_up(filler.nodes, after_s)
        return leaving

    def _used_by(self, filler: _Held, told_s: float, lost_s: float, gone_s: float) -> None:
        """Note what a preemptible job did until it was told to go, and until it was gone."""
        ready_s = min(filler.since_s + self.filling.warm_up_s, told_s)
        self._used(Activity.WARMING_UP, filler.nodes, filler.since_s, ready_s)
        self._used(Activity.PREEMPTIBLE, filler.nodes, ready_s, told_s - lost_s)
        self._used(Activity.LOST, filler.nodes, told_s - lost_s, gone_s)
