"""Who does what in a crew: rank 0 hands out and asks for what is durable, the others process.

With one rank the same ledger and the same worker take turns. MPI libraries wait by spinning; here
all ranks sleep between looks, for a crew that waits for data should leave its node to others.
"""

import math
import time
from collections.abc import Sequence
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
        self._sends: list[MPI.Request] = []
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
            self._send(Order(ends=True), rank)
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

    def _send(self, order: Order, rank: int) -> None:
        """Send an order without waiting until the worker, which may be busy, takes it."""
        self._sends = [request for request in self._sends if not request.Test()]
        self._sends.append(self._comm.isend(order, dest=rank, tag=mpi.GIVE))

    def _give(self) -> bool:
        """Give work to those who wait; those with nothing to do flush. Return whether any."""
        given = False
        for rank, member in self._members.items():
            if not member.wants:
                continue
            order = self._order(member)
            if order is not None:
                member.wants = False
                self._send(order, rank)
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


class Follower:
    """A worker among several ranks.

    Parameters
    ----------
    comm : all ranks
    worker : does what rank 0 orders
    stop : a signal's request
    """

    def __init__(self, comm: mpi.Comm, worker: CrewWorker, stop: mpi.StopRequest) -> None:
        self._comm = comm
        self._worker = worker
        self._stop = stop
        self._has_asked = False
        self._has_told_stop = False

    def follow(self) -> None:
        """Do what rank 0 orders until it says to end."""
        ends = False
        while not ends:
            self._ask()
            order = self._next_order()
            chunk = order.assignment
            if chunk is not None and (problem := self._worker.turn_to(chunk)):
                self._tell(refused=(chunk.name, problem))
                continue
            if not order.shots:
                self._worker.flush()
            ends = order.ends or self._process(order.shots)
        self._worker.close()
        self._tell(is_last=True)

    def _tell(self, **said: Any) -> None:
        """Send rank 0 a report with what is durable."""
        self._has_told_stop = self._stop.wanted
        report = Report(self._worker.durable(), stops=self._has_told_stop, **said)
        self._comm.send(report, dest=0, tag=mpi.ASK)

    def _ask(self) -> None:
        """Ask for an order, once."""
        if not self._has_asked:
            self._tell(wants=True)
            self._has_asked = True

    def _process(self, shots: Sequence[int]) -> bool:
        """Process shots until rank 0 says to end; return whether it did.

        More is asked for before the last one, so that it is there in time.
        """
        for shot in shots:
            if self._stop.wanted:
                return False
            if self._comm.Iprobe(source=0, tag=mpi.GIVE):  # only an end comes unasked
                return bool(self._comm.recv(source=0, tag=mpi.GIVE).ends)
            if shot == shots[-1]:
                self._ask()
            self._worker.do(shot)
            if self._worker.has_durable:
                self._tell()
        return False

    def _next_order(self) -> Order:
        """Wait for an order; a signal that comes meanwhile is told at once."""
        sleeper = Sleeper()
        while not self._comm.Iprobe(source=0, tag=mpi.GIVE):
            if self._stop.wanted and not self._has_told_stop:
                self._tell()
            sleeper.sleep()
        self._has_asked = False
        order: Order = self._comm.recv(source=0, tag=mpi.GIVE)
        return order
