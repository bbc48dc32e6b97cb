"""What a crew has taken, handed out, and has back as durable: kept on the rank that hands out."""

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace

from xfel_apps.containers.events import Events
from xfel_apps.containers.outcome import Outcome
from xfel_apps.errors import XfelError
from xfel_apps.experiment import Experiment
from xfel_apps.live.chunk import Chunk
from xfel_apps.live.crew.beat import IDLE, WORKING, CrewName, CrewState
from xfel_apps.live.crew.done import close_chunk
from xfel_apps.live.crew.worker import Assignment, Done
from xfel_apps.live.layout import experiment_file
from xfel_apps.live.queue import Claim, Queue
from xfel_apps.live.tally import Tally
from xfel_apps.mpi import batch_size

LOOK_S = 0.2
"""Time between looks at an empty queue [s]."""

TRIES, TRY_AGAIN_S = 3, 1.0
"""How often a chunk's files are read before it is given up; network file systems lag."""


@dataclass
class InFlight:
    """A chunk that the crew works on.

    Attributes
    ----------
    claim : of the chunk
    assignment : what workers are told
    waiting : shots not handed out yet, by live number
    left : shots not durable yet
    tally : how the durable ones ended, also those of other crews
    start_s : when it was taken [s since 1970]
    """

    claim: Claim
    assignment: Assignment
    waiting: list[int]
    left: set[int]
    tally: Tally
    start_s: float = field(default_factory=time.time)

    @classmethod
    def of(cls, claim: Claim) -> "InFlight":
        """Return the work on a chunk that was taken; what it needs is read."""
        chunk = claim.chunk
        events = Events.read(chunk.folder / "events.json")
        live = chunk.live_run
        experiment = Experiment.from_json(experiment_file(live.trial).read_text()).of_run(live.run)
        assignment = Assignment(claim.path.name, chunk, events, experiment)
        skip = set(chunk.skip)
        todo = [number for number in assignment.pending if number not in skip]
        return cls(claim, assignment, todo, set(todo), Tally.from_json(asdict(chunk.skipped)))

    def rest(self) -> Chunk:
        """Return what is left of the chunk, for another crew."""
        chunk = self.claim.chunk
        skip = tuple(number for number in self.assignment.pending if number not in self.left)
        in_powder = tuple(sorted(set(chunk.in_powder) - set(skip)))
        return replace(chunk, skip=skip, in_powder=in_powder, skipped=self.tally)

    def whole_tally(self) -> Tally:
        """Return how all shots of the chunk ended, also those that ingest filtered or failed."""
        for outcome in self.assignment.events.outcomes.values():
            if outcome != Outcome.PENDING:
                self.tally.add(outcome)
        return self.tally


class Ledger:
    """The chunks of a crew.

    Parameters
    ----------
    crew : who it is
    state : what it says of itself; kept up to date
    """

    def __init__(self, crew: CrewName, state: CrewState) -> None:
        self._crew = crew
        self._state = state
        self._queue = Queue(crew.live)
        self._flights: dict[str, InFlight] = {}
        self._current: InFlight | None = None
        self._look_s = 0.0
        self._busy_s = time.monotonic()

    @property
    def idle_s(self) -> float | None:
        """How long there has been nothing to do [s]; None while there is."""
        is_idle = self._state.state == IDLE and not self._flights
        return time.monotonic() - self._busy_s if is_idle else None

    def next_shots(self, n_workers: int) -> tuple[Assignment, list[int]] | None:
        """Return shots for a worker, by live number, and their chunk; None if there are none."""
        flight = self._current
        while flight is None or not flight.waiting:
            flight = self._current = self._take()
            if flight is None:
                return None
        size = batch_size(len(flight.waiting), n_workers)
        shots, flight.waiting = flight.waiting[:size], flight.waiting[size:]
        return flight.assignment, shots

    def _take(self) -> InFlight | None:
        """Take the next chunk; a queue that was empty is not looked at again at once."""
        if time.monotonic() < self._look_s:
            return None
        claim = self._queue.take(self._crew.name)
        if claim is None:
            self._look_s = time.monotonic() + LOOK_S
            if not self._flights:
                self._state.state, self._state.chunk = IDLE, None
            return None
        self._state.state, self._state.chunk = WORKING, claim.path.name
        self._busy_s = time.monotonic()
        flight = self._read(claim)
        if flight is not None:
            self._flights[claim.path.name] = flight
            self._finish_if_done(flight)
        return flight

    def _read(self, claim: Claim) -> InFlight | None:
        """Return the work on a chunk; one that cannot be read is left to the sealing of its run."""
        for attempt in range(TRIES):
            try:
                return InFlight.of(claim)
            except (XfelError, OSError) as err:
                problem = str(err)
            if attempt + 1 < TRIES:
                time.sleep(TRY_AGAIN_S)
        close_chunk(claim, self._crew.name, Tally(), time.time(), problem)
        return None

    def note(self, reports: Iterable[Done]) -> None:
        """Note shots that are durable; a chunk that has no others left is done."""
        for done in reports:
            flight = self._flights.get(done.name)
            if flight is None or done.event not in flight.left:
                continue
            flight.left.discard(done.event)
            flight.tally.add(done.outcome, done.n_lattices)
            self._state.tally.add(done.outcome, done.n_lattices)
            self._finish_if_done(flight)

    def _finish_if_done(self, flight: InFlight) -> None:
        if not flight.left:
            self._forget(flight.claim.path.name)
            close_chunk(flight.claim, self._crew.name, flight.whole_tally(), flight.start_s)

    def refuse(self, name: str, problem: str) -> None:
        """Give up a chunk that cannot be worked on; the sealing of its run sees to its shots."""
        flight = self._flights.get(name)
        if flight is not None:
            self._forget(name)
            close_chunk(flight.claim, self._crew.name, flight.tally, flight.start_s, problem)

    def _forget(self, name: str) -> None:
        self._flights.pop(name).waiting.clear()
        self._busy_s = time.monotonic()

    def drop_lost(self) -> None:
        """Forget chunks that were taken from this crew, which was believed lost."""
        for name in [n for n, flight in self._flights.items() if not flight.claim.is_held]:
            self._forget(name)

    def give_back(self) -> None:
        """Let what is left of every chunk wait again."""
        self.drop_lost()
        for flight in self._flights.values():
            self._queue.give_back(flight.claim, flight.rest())
        self._flights.clear()
