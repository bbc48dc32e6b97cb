"""The only place that knows ranks: rank 0 hands out work, the others ask for more.

With one rank the same loop runs serially. Work is handed out in small batches, so that slow shots
do not hold up others, and what comes out does not depend on who did what.
"""

import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from xfel_apps.errors import ShotTimeoutError, XfelError

Comm = MPI.Intracomm
Array = NDArray[Any]

ASK, GIVE = 1, 2
POLL_S = 5e-4
JOB_ENDS = ("SLURM_JOB_END_TIME", "PARSL_BLOCK_END")
"""Environment variables that say when the batch job's walltime is over [s since 1970]."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def world() -> Comm:
    """Return the communicator of all ranks."""
    return MPI.COMM_WORLD


def serial() -> Comm:
    """Return the communicator of this process alone."""
    return MPI.COMM_SELF


def check_ranks() -> None:
    """Raise an `XfelError` where srun started ranks that do not see one another."""
    n_tasks = os.environ.get("SLURM_STEP_NUM_TASKS", "1")
    if world().size == 1 and n_tasks != "1":
        raise XfelError(
            f"srun started {n_tasks} ranks, but MPI sees one: they have no PMI in common; "
            "`srun --mpi=list` names what srun has, `mpi: srun --mpi=...` in the profile chooses"
        )


@dataclass
class StopRequest:
    """Wanted after SIGINT, SIGTERM or SIGUSR1, and in time: finish the shot, flush and end."""

    latest_s: float = math.inf
    """When to stop without a signal [s since 1970]."""
    signalled: bool = False

    @property
    def wanted(self) -> bool:
        """Whether to stop now."""
        return self.signalled or time.time() >= self.latest_s


def end_of_job() -> float:
    """Return when the batch job's walltime is over [s since 1970]; never, if that is not known."""
    ends = [math.inf]
    for name in JOB_ENDS:
        text = os.environ.get(name, "inf")
        try:
            ends.append(float(text))
        except ValueError:
            raise XfelError(f"{name}={text}: not a time in seconds since 1970") from None
    return min(ends)


@contextmanager
def stop_on_signal(latest_s: float = math.inf) -> Iterator[StopRequest]:
    """Turn stop signals into a request that the loop looks at between shots.

    Without a signal it is wanted from the time `latest_s` on [s since 1970].
    """
    request = StopRequest(latest_s)

    def note(_signum: int, _frame: FrameType | None) -> None:
        request.signalled = True

    before = {number: signal.signal(number, note) for number in STOP_SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `ShotTimeoutError` in the block once it has run for `seconds`; 0 sets no limit."""

    def give_up(_signum: int, _frame: FrameType | None) -> None:
        raise ShotTimeoutError(f"took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def batch_size(n_items: int, n_workers: int) -> int:
    """Return how many items to hand out at a time: few enough to keep the ranks level.

    >>> batch_size(1000, 10), batch_size(3, 10), batch_size(10**6, 4)
    (7, 1, 64)
    """
    return max(1, min(64, math.ceil(n_items / (16 * max(1, n_workers)))))


def share_out(
    comm: Comm,
    items: Sequence[int],
    work: Callable[[int], Any],
    on_report: Callable[[Any], None],
    stop: StopRequest,
) -> bool:
    """Do `work` on every item, on whichever rank asks for it; return whether all was done.

    Parameters
    ----------
    comm : ranks that take part; with more than one, rank 0 only hands out
    items : what is to be done; only rank 0's counts
    work : called with an item on a worker; what it returns is reported to rank 0
    on_report : called on rank 0 with each report
    stop : once wanted on any rank, that rank finishes its item; on rank 0, nothing more is given
    """
    if comm.size == 1:
        for item in items:
            if stop.wanted:
                return False
            on_report(work(item))
        return not stop.wanted
    if comm.rank == 0:
        done = _hand_out(comm, items, on_report, stop)
    else:
        _ask_for_work(comm, work, stop)
        done = False
    return bool(comm.bcast(done))


def _hand_out(
    comm: Comm, items: Sequence[int], on_report: Callable[[Any], None], stop: StopRequest
) -> bool:
    """Serve the workers until each has been sent home; return whether all items were done.

    MPI libraries wait by spinning; rank 0 sleeps between looks, so that its core can work.
    """
    size = batch_size(len(items), comm.size - 1)
    next_item, n_done, at_work = 0, 0, comm.size - 1
    status = MPI.Status()
    while at_work:
        while not comm.Iprobe(source=MPI.ANY_SOURCE, tag=ASK):
            time.sleep(POLL_S)
        reports, leaving = comm.recv(source=MPI.ANY_SOURCE, tag=ASK, status=status)
        for report in reports:
            on_report(report)
        n_done += len(reports)
        batch = [] if stop.wanted or leaving else list(items[next_item : next_item + size])
        next_item += len(batch)
        at_work -= not batch
        comm.send(batch, dest=status.Get_source(), tag=GIVE)
    return n_done == len(items)


def _ask_for_work(comm: Comm, work: Callable[[int], Any], stop: StopRequest) -> None:
    """Ask rank 0 for items, do them, report; until there are none left."""
    reports: list[Any] = []
    while True:
        comm.send((reports, stop.wanted), dest=0, tag=ASK)
        batch = comm.recv(source=0, tag=GIVE)
        if not batch:
            return
        reports = []
        for item in batch:
            if stop.wanted:
                break
            reports.append(work(item))


def exchange(comm: Comm, column: Array, counts: NDArray[np.int64]) -> Array:
    """Return what the other ranks send to this one of `column`, in the order of the ranks.

    Parameters
    ----------
    column : (n,) values sorted by the rank they go to
    counts : (size,) how many go to each rank
    """
    received = np.empty_like(counts)
    comm.Alltoall(np.ascontiguousarray(counts), received)
    result = np.empty(int(received.sum()), dtype=column.dtype)
    comm.Alltoallv(
        [np.ascontiguousarray(column), (counts, np.cumsum(counts) - counts)],
        [result, (received, np.cumsum(received) - received)],
    )
    return result


def gather_all(comm: Comm, mine: Array) -> list[Array]:
    """Return the arrays `mine` (n_rank, ...) of all ranks, on every rank; lengths may differ."""
    lengths = np.array(comm.allgather(len(mine)), dtype=np.int64)
    width = math.prod(mine.shape[1:])
    result = np.empty((int(lengths.sum()), *mine.shape[1:]), dtype=mine.dtype)
    sizes = lengths * width
    comm.Allgatherv(np.ascontiguousarray(mine), [result, (sizes, np.cumsum(sizes) - sizes)])
    return np.split(result, np.cumsum(lengths)[:-1])


def largest(comm: Comm, mine: Array) -> Array:
    """Return the largest of all ranks' values, number by number, on every rank."""
    result = np.empty_like(mine)
    comm.Allreduce(np.ascontiguousarray(mine), result, op=MPI.MAX)
    return result


def agree(comm: Comm, action: Callable[[], Any]) -> Any:
    """Return what `action` gives on rank 0, on every rank; its `XfelError` is raised on all."""
    answer: tuple[Any, XfelError | None] = (None, None)
    if comm.rank == 0:
        try:
            answer = (action(), None)
        except XfelError as err:
            answer = (None, err)
    value, error = comm.bcast(answer)
    if error is not None:
        error.on_all_ranks = True
        raise error
    return value
