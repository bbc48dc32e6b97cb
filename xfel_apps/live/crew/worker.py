"""What a rank of a crew does: shots of any run, flushed in time, reported once they are durable."""

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from xfel_apps.containers.events import Events
from xfel_apps.containers.outcome import Outcome
from xfel_apps.errors import ContainerError, XfelError
from xfel_apps.experiment import Experiment
from xfel_apps.live.chunk import Chunk
from xfel_apps.live.crew.onepass import Place, RunPass

FLUSH_S = 1.0
"""Longest time that a shot waits to be durable [s]; the settings can make it shorter."""

FLUSH_SHARE = 0.05
"""Flushes wait longer than that where they would take a larger share of the time."""

N_RUNS = 4
"""Runs whose files stay open."""


@dataclass(frozen=True)
class Assignment:
    """A chunk and what must be known to work on it.

    Attributes
    ----------
    name : of the chunk among those that the crew works on
    chunk : as it lay in the queue
    events : its shots, numbered from 0
    experiment : settings of its trial
    """

    name: str
    chunk: Chunk
    events: Events
    experiment: Experiment

    @property
    def pending(self) -> list[int]:
        """Live numbers of the shots to process, in order."""
        return [self.chunk.first + int(event) for event in self.events.pending]


class Done(NamedTuple):
    """A shot that is processed and durable: of which chunk, its live number, how it ended."""

    name: str
    event: int
    outcome: Outcome
    n_lattices: int


class CrewWorker:
    """Processes the shots that are given to one rank.

    Parameters
    ----------
    crew : its name
    rank : number of this rank
    """

    def __init__(self, crew: str, rank: int) -> None:
        self._crew, self._rank = crew, rank
        self._runs: OrderedDict[tuple[str, str], RunPass] = OrderedDict()
        self._assignment: Assignment | None = None
        self._written: list[Done] = []
        self._durable: list[Done] = []
        self._flush_after_s = 0.0

    def turn_to(self, assignment: Assignment) -> str:
        """Take shots of a chunk from now on; return why it cannot be worked on, empty if it can.

        Raises
        ------
        ContainerError : the disk is full or gone; that is not the chunk's fault
        """
        self._assignment = assignment
        chunk = assignment.chunk
        try:
            self._run_of(assignment).turn_to(chunk.first, assignment.events, chunk.in_powder)
        except ContainerError:
            raise
        except XfelError as err:
            return str(err)
        return ""

    def do(self, event: int) -> None:
        """Process a shot of the chunk at hand, by its live number; flush if it is time."""
        assignment = self._assignment
        if assignment is None:
            raise LookupError("a shot came before its chunk")
        ended = self._run_of(assignment).do(event, assignment.chunk.facts)
        if not self._written:
            wait_s = min(FLUSH_S, assignment.experiment.worker.flush_s)
            self._flush_after_s = max(self._flush_after_s, time.monotonic() + wait_s)
        self._written.append(Done(assignment.name, event, *ended))
        if time.monotonic() >= self._flush_after_s:
            self.flush()

    def _run_of(self, assignment: Assignment) -> RunPass:
        """Return the pass over the run of a chunk; of many runs the least recent is closed."""
        chunk = assignment.chunk
        key = chunk.trial, chunk.run
        if key not in self._runs:
            if len(self._runs) >= N_RUNS:
                self.flush()
                self._runs.popitem(last=False)[1].close()
            place = Place(chunk.live_run, self._crew, self._rank)
            self._runs[key] = RunPass(place, assignment.experiment, assignment.events)
        self._runs.move_to_end(key)
        return self._runs[key]

    def flush(self) -> None:
        """Make durable what was written."""
        start_s = time.monotonic()
        if not self._written:
            return
        for run in self._runs.values():
            run.flush()
        self._durable += self._written
        self._written = []
        end_s = time.monotonic()
        self._flush_after_s = end_s + (end_s - start_s) / FLUSH_SHARE

    @property
    def has_durable(self) -> bool:
        """Whether shots have become durable since `durable` was last asked."""
        return bool(self._durable)

    def durable(self) -> Sequence[Done]:
        """Return the shots that have become durable since this was last asked."""
        result, self._durable = self._durable, []
        return result

    def close(self) -> None:
        """Flush and close everything."""
        self.flush()
        while self._runs:
            self._runs.popitem()[1].close()
