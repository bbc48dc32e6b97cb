"""Who does what in a crew: rank 0 hands out and asks for what is durable, the others process.

With one rank the same ledger and the same worker take turns. MPI libraries wait by spinning; here
all ranks sleep between looks, for a crew that waits for data should leave its node to others.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from mpi4py import MPI

from xfel_apps import mpi
from xfel_apps.errors import XfelError
from xfel_apps.live.crew.beat import STOPPING, CrewName, CrewState, DaemonWatch
from xfel_apps.live.crew.ledger import Ledger
from xfel_apps.live.crew.worker import Assignment, CrewWorker, Done

CHECK_S = 1.0
"""Time between looks at the daemon's file and at the claims [s]."""

LONGEST_SLEEP_S = 0.01

N_STAGES = 3
"""Stages in one pass, each with its own limit of time."""

SPARE_S = 120.0
"""A worker may be silent for so long beyond the limits of a shot, as file systems stall [s]."""


class End(Enum):
    """Why a crew ends."""

    STOPPED = "stopped; what is left waits again"
    NO_WORK = "no work for a while"
    OTHER_DAEMON = "another daemon has taken over"
    NO_DAEMON = "the daemon is gone and nothing waits"


class Report(NamedTuple):
    """What a worker tells rank 0.

    Attributes
    ----------
    durable : shots that have become durable
    wants : whether it waits for an order
    stops : whether it was told by a signal to stop, or its time is over
    is_last : whether it ends now
    refused : name of a chunk that it cannot work on, and why
    """

    durable: Sequence[Done]
    wants: bool = False
    stops: bool = False
    is_last: bool = False
    refused: tuple[str, str] | None = None


class Order(NamedTuple):
    """What rank 0 tells a worker: process shots, or flush (no shots), or end.

    Attributes
    ----------
    shots : live numbers
    assignment : chunk of the shots, where it is another one than before
    ends : flush, report and end
    """

    shots: Sequence[int] = ()
    assignment: Assignment | None = None
    ends: bool = False


class Sleeper:
    """Sleeps a little longer each time, so that waiting costs nothing and work is seen at once."""

    def __init__(self) -> None:
        self._next_s = mpi.POLL_S

    def sleep(self) -> None:
        """Sleep for a moment."""
        time.sleep(self._next_s)
        self._next_s = min(1.2 * self._next_s, LONGEST_SLEEP_S)

    def reset(self) -> None:
        """Begin with short moments again."""
        self._next_s = mpi.POLL_S


class Foreman:
    """Decides when the crew ends.

    Parameters
    ----------
    crew : who it is
    ledger : its chunks
    stop : a signal's request
    idle_s : longest time without work [s]
    """

    def __init__(
        self, crew: CrewName, ledger: Ledger, stop: mpi.StopRequest, idle_s: float
    ) -> None:
        self._daemon = DaemonWatch(crew)
        self._ledger = ledger
        self._stop = stop
        self._idle_s = idle_s
        self._check_s = 0.0

    def end(self) -> End | None:
        """Return why the crew is to end now, if it is."""
        if self._stop.wanted:
            return End.STOPPED
        now_s = time.monotonic()
        if now_s < self._check_s:
            return None
        self._check_s = now_s + CHECK_S
        self._ledger.drop_lost()
        if self._daemon.has_changed():
            return End.OTHER_DAEMON
        is_silent, idle_s = self._daemon.is_silent(), self._ledger.idle_s
        if idle_s is None:
            return None
        if is_silent:
            return End.NO_DAEMON
        return End.NO_WORK if idle_s > self._idle_s else None


def alone(worker: CrewWorker, ledger: Ledger, foreman: Foreman, stop: mpi.StopRequest) -> End:
    """Take chunks and process them on this rank until the crew ends."""
    sleeper = Sleeper()
    while not (end := foreman.end()):
        given = ledger.next_shots(1)
        if given is None:
            worker.flush()
            ledger.note(worker.durable())
            sleeper.sleep()
            continue
        sleeper.reset()
        assignment, shots = given
        if problem := worker.turn_to(assignment):
            ledger.refuse(assignment.name, problem)
            continue
        for shot in shots:
            if not stop.wanted:
                worker.do(shot)
        ledger.note(worker.durable())
    worker.close()
    ledger.note(worker.durable())
    return end


@dataclass
class Member:
    """What rank 0 knows of a worker.

    Attributes
    ----------
    n_open : shots it has been given that are not durable yet
    n_given : how many of them it was given last
    chunk : name of the chunk it works on
    wants : whether it waits for an order
    is_there : whether it has not ended
    heard_s : when it was last heard of, or given an order
    patience_s : how long it may take over one shot [s]
    """

    n_open: int = 0
    n_given: int = 0
    chunk: str = ""
    wants: bool = False
    is_there: bool = True
    heard_s: float = field(default_factory=time.monotonic)
    patience_s: float = math.inf


class Leader:
    """Rank 0 of several.

    Parameters
    ----------
    comm : all ranks
    ledger : of the crew
    foreman : decides when it ends
    state : what the crew says of itself
    """

    def __init__(self, comm: mpi.Comm, ledger: Ledger, foreman: Foreman, state: CrewState) -> None:
        self._comm = comm
        self._ledger = ledger
        self._foreman = foreman
        self._state = state
        self._members = {rank: Member() for rank in range(1, comm.size)}
        self._end: End | None = None

    def lead(self) -> End:
        """Hand out shots until the crew ends; return why it did."""
        sleeper = Sleeper()
        while self._end is None:
            self._end = self._foreman.end()
            heard = self._hear()
            given = self._give() if self._end is None else False
            if heard or given:
                sleeper.reset()
            else:
                self._check_members()
                sleeper.sleep()
        self._state.state = STOPPING
        for rank in self._members:
            self._comm.send(Order(ends=True), dest=rank, tag=mpi.GIVE)
        while any(member.is_there for member in self._members.values()):
            if not self._hear():
                sleeper.sleep()
        return self._end

    def _hear(self) -> bool:
        """Take in what workers report; return whether there was anything."""
        heard = False
        status = MPI.Status()
        while self._comm.Iprobe(source=MPI.ANY_SOURCE, tag=mpi.ASK):
            report: Report = self._comm.recv(source=MPI.ANY_SOURCE, tag=mpi.ASK, status=status)
            member = self._members[status.Get_source()]
            member.heard_s = time.monotonic()
            if report.refused:
                member.n_open -= member.n_given
                self._ledger.refuse(*report.refused)
            member.n_open -= len(report.durable)
            member.wants = member.wants or report.wants
            member.is_there = not report.is_last
            self._ledger.note(report.durable)
            if report.stops and self._end is None:
                self._end = End.STOPPED
            heard = True
        return heard

    def _give(self) -> bool:
        """Give work to those who wait; those with nothing to do flush. Return whether any."""
        given = False
        for rank, member in self._members.items():
            if not member.wants:
                continue
            order = self._order(member)
            if order is not None:
                member.wants = False
                self._comm.send(order, dest=rank, tag=mpi.GIVE)
                given = True
        return given

    def _check_members(self) -> None:
        """End the crew if a worker that has shots was not heard of for too long."""
        now_s = time.monotonic()
        for rank, member in self._members.items():
            if not member.wants and now_s - member.heard_s > member.patience_s:
                raise XfelError(
                    f"rank {rank} has not been heard of for {member.patience_s:g} s; the crew "
                    "ends, what it has not done waits again"
                )

    def _order(self, member: Member) -> Order | None:
        work = self._ledger.next_shots(len(self._members))
        if work is None:
            return Order() if member.n_open else None
        assignment, shots = work
        is_new = assignment.name != member.chunk
        member.chunk = assignment.name
        member.n_given = len(shots)
        member.n_open += member.n_given
        member.heard_s = time.monotonic()
        limit_s = assignment.experiment.worker.shot_limit_s
        member.patience_s = N_STAGES * limit_s + SPARE_S if limit_s else math.inf
        return Order(shots, assignment if is_new else None)


Tell = Callable[..., None]
"""Sends rank 0 a report with what is durable; takes the other fields of `Report`."""


def follow(comm: mpi.Comm, worker: CrewWorker, stop: mpi.StopRequest) -> None:
    """Do what rank 0 orders until it says to end."""

    def tell(**said: Any) -> None:
        comm.send(Report(worker.durable(), stops=stop.wanted, **said), dest=0, tag=mpi.ASK)

    ends = False
    while not ends:
        tell(wants=True)
        order = _next_order(comm, stop, tell)
        if order.assignment is not None and (problem := worker.turn_to(order.assignment)):
            tell(refused=(order.assignment.name, problem))
            continue
        if not order.shots:
            worker.flush()
        ends = order.ends or _process(comm, worker, order.shots, (stop, tell))
    worker.close()
    tell(is_last=True)


def _process(
    comm: mpi.Comm, worker: CrewWorker, shots: Sequence[int], control: tuple[mpi.StopRequest, Tell]
) -> bool:
    """Process shots until rank 0 says to end; return whether it did."""
    stop, tell = control
    for shot in shots:
        if stop.wanted:
            return False
        if comm.Iprobe(source=0, tag=mpi.GIVE):  # only an end comes unasked
            return bool(comm.recv(source=0, tag=mpi.GIVE).ends)
        worker.do(shot)
        if worker.has_durable:
            tell()
    return False


def _next_order(comm: mpi.Comm, stop: mpi.StopRequest, tell: Tell) -> Order:
    """Wait for an order; a signal that comes meanwhile is told at once."""
    sleeper, told = Sleeper(), stop.wanted
    while not comm.Iprobe(source=0, tag=mpi.GIVE):
        if stop.wanted and not told:
            tell(wants=True)
            told = True
        sleeper.sleep()
    order: Order = comm.recv(source=0, tag=mpi.GIVE)
    return order
