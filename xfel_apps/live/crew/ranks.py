"""Who does what in a crew: rank 0 hands out and asks for what is durable, the others process.

With one rank the same ledger and the same worker take turns. MPI libraries wait by spinning; here
all ranks sleep between looks, for a crew that waits for data should leave its node to others.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mpi4py import MPI

from xfel_apps import mpi
from xfel_apps.errors import XfelError
from xfel_apps.live.crew.beat import STOPPING, CrewState
from xfel_apps.live.crew.foreman import End, Foreman
from xfel_apps.live.crew.ledger import Ledger
from xfel_apps.live.crew.messages import Order, Report, Sleeper
from xfel_apps.live.crew.worker import CrewWorker

N_STAGES = 3
"""Stages in one pass, each with its own limit of time."""

SPARE_S = 120.0
"""A worker may be silent for so long beyond the limits of a shot, as file systems stall [s]."""


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
