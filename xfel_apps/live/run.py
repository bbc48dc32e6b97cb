"""One run of one trial on its way from the first frame to sealed products."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xfel_apps.containers.events import Events
from xfel_apps.containers.manifest import Manifest
from xfel_apps.containers.reader import ProductReader, readable_parts
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.results import RunResults
from xfel_apps.containers.spots import SPOTS
from xfel_apps.errors import ContainerError
from xfel_apps.experiment import Experiment
from xfel_apps.ingest.run import events_digest
from xfel_apps.live.chunk import Chunk, Facts, live_digest
from xfel_apps.live.layout import LiveRun
from xfel_apps.live.queue import Queue, chunk_key, entry_name
from xfel_apps.live.seal import is_sealed
from xfel_apps.live.trial import LiveTrial
from xfel_apps.live.watch import Seen, Signature
from xfel_apps.sources import expand
from xfel_apps.spotfind.hot import decide_hot

MISSING_S = 5.0
"""A chunk that is neither done nor anywhere in the queue for so long is put there again [s]."""


@dataclass
class ChunkState:
    """A chunk of the run: how many shots, when its last frame was complete, what came of it.

    Attributes
    ----------
    n_shots : of the chunk
    complete_s : when its last frame was complete [s since 1970]
    done : content of `done.json`; None until then
    missed_s : since when it is neither done nor in the queue [s, monotonic]
    """

    n_shots: int
    complete_s: float
    done: Mapping[str, Any] | None = None
    missed_s: float | None = None


@dataclass
class Sealed:
    """What a sealed run holds.

    Attributes
    ----------
    digest : of its reflections
    n_events, n_lattices, outcomes : in all
    """

    digest: str
    n_events: int
    n_lattices: int
    outcomes: Mapping[str, int] = field(default_factory=dict)


class TrialRun:
    """One run of one trial.

    Parameters
    ----------
    trial, run : which
    paths : its raw files, as an experiment file names them
    facts : known of the run before it, until its own shots tell
    """

    def __init__(self, trial: LiveTrial, run: str, paths: list[str], facts: Facts) -> None:
        self.trial, self.run, self.paths, self.facts = trial, run, paths, facts
        self.live_run = LiveRun(trial.folder, run)
        self.chunks: dict[int, ChunkState] = {}
        self.known: set[str] = set()
        self.sealed: Sealed | None = None
        self.is_complete = False
        self.n_waiting = 0
        self.signature: Signature = ()
        self._look_again = True
        self._lowest = 0
        self._facts_at = 0
        self._is_loaded = False

    @property
    def experiment(self) -> Experiment:
        """Settings that the run has."""
        return self.trial.experiment.of_run(self.run)

    def load(self) -> None:
        """Take up what an earlier daemon has left of a run that is not sealed."""
        if self._is_loaded:
            return
        for folder in self.live_run.chunks():
            first, manifest = int(folder.name), folder / "events.json"
            try:
                self.note(first, Events.read(manifest))
            except ContainerError:
                # Shots of a chunk that cannot be read come again, with other numbers if crews may
                # have used these.
                if manifest.exists():
                    self._lowest = first + self.trial.experiment.live.chunk_shots
                else:
                    shutil.rmtree(folder)
        self._is_loaded = True

    def note(self, first: int, events: Events) -> None:
        """Remember the chunk that begins with shot `first`."""
        shots = events.frame
        complete_s = float(shots["complete_s"].max())  # NaN where no shot has one
        self.chunks[first] = ChunkState(len(shots), complete_s if complete_s > 0 else 0.0)
        self.known.update(bytes(text).decode() for text in shots["shot_id"])

    @property
    def n_seen(self) -> int:
        """Shots that are in chunks."""
        return sum(chunk.n_shots for chunk in self.chunks.values())

    @property
    def next_first(self) -> int:
        """Number of the next shot to come."""
        ends = [first + chunk.n_shots for first, chunk in self.chunks.items()]
        return max([*ends, self._lowest])

    @property
    def n_done(self) -> int:
        """Shots of the chunks that are done."""
        return sum(chunk.n_shots for chunk in self.chunks.values() if chunk.done)

    @property
    def n_lattices(self) -> int:
        """Lattices found so far."""
        if self.sealed:
            return self.sealed.n_lattices
        return sum(int(chunk.done["n_lattices"]) for chunk in self.chunks.values() if chunk.done)

    @property
    def outcomes(self) -> Mapping[str, int]:
        """How shots have ended so far."""
        if self.sealed:
            return self.sealed.outcomes
        total: Counter[str] = Counter()
        for chunk in self.chunks.values():
            if chunk.done:
                total.update(chunk.done["outcomes"])
        return total

    @property
    def latency_s(self) -> float | None:
        """Time from the last frame to the result of the newest chunk that is done [s]."""
        done = [chunk for chunk in self.chunks.values() if chunk.done]
        if not done:
            return None
        newest = max(done, key=lambda chunk: chunk.complete_s)
        assert newest.done is not None
        return float(newest.done["end_s"]) - newest.complete_s

    @property
    def is_processed(self) -> bool:
        """Whether the run is complete and all its chunks are done."""
        all_done = all(chunk.done for chunk in self.chunks.values())
        return self.is_complete and not self.n_waiting and all_done

    def look_for_seal(self, seen: Seen) -> None:
        """See whether the run's products are made, from the files that are there now."""
        if seen.signature == self.signature and not self._look_again:
            return
        self.sealed = self._sealed()
        self.signature, self._look_again = seen.signature, False

    def sealed_facts(self) -> Facts:
        """Return what was decided over the whole run, for the runs that follow."""
        manifest = Manifest.read(self.live_run.products / "spots.json", SPOTS)
        return Facts.of_manifest(dict(manifest.extra))

    def forget_seal(self) -> None:
        """Look again whether the run is sealed."""
        self._look_again = True

    @property
    def may_be_sealed(self) -> bool:
        """Whether it has been sealed, or has not been looked at yet."""
        return self.sealed is not None or self._look_again

    def _sealed(self) -> Sealed | None:
        if self.live_run.chunks() and not is_sealed(self.live_run):
            return None
        results = RunResults(self.live_run.products)
        try:
            if not results.has(REFLECTIONS):
                return None
            settings = self.experiment.ingest
            files = expand(self.paths, settings.geometry)
            if results.manifests["events"].digest != events_digest(files, settings):
                return None
            manifest = results.need(REFLECTIONS)
            n_lattices = sum(
                len(lattices) for _, lattices in _lattices(results.reader(REFLECTIONS))
            )
            return Sealed(manifest.digest, manifest.n_events, n_lattices, manifest.outcomes)
        finally:
            results.close()

    def look_for_done(self) -> list[int]:
        """Return the chunks (their first shots) that have been done since the last look."""
        found = []
        for first, chunk in self.chunks.items():
            if chunk.done is None:
                path = self.live_run.chunk(first) / "done.json"
                try:
                    chunk.done = json.loads(path.read_text())
                except FileNotFoundError:
                    continue
                found.append(first)
        return found

    def renew_facts(self, queue: Queue) -> None:
        """Decide again on hot pixels and gain when twice as many shots are done as last time.

        Chunks that wait are processed with what is known now: what is known of the run in the end
        is more often the same, and then sealing takes over what crews have done.
        """
        if self.n_done < 2 * self._facts_at:
            return
        self._facts_at = self.n_done
        experiment = self.experiment
        wanted = live_digest(SPOTS, experiment, self.facts)
        parts = readable_parts(self.live_run.all_parts(SPOTS.name), SPOTS, wanted)
        reader = ProductReader([part.path for part in parts], SPOTS)
        try:
            extra, _ = decide_hot(reader, experiment.spotfind)
        finally:
            reader.close()
        facts = Facts.of_manifest(extra)
        if facts == self.facts:
            return
        self.facts = facts
        own = self.keys()
        for name in queue.waiting():
            if chunk_key(name) in own:
                queue.change_facts(name, facts)

    def put(self, first: int, queue: Queue) -> None:
        """Let a chunk wait in the queue."""
        chunk = self.chunks[first]
        entry = Chunk(str(self.trial.folder), self.run, first, chunk.n_shots, self.facts)
        queue.put(entry_name(entry, self.trial.priority, chunk.complete_s), entry)
        chunk.missed_s = None

    def _key(self, first: int) -> str:
        chunk = Chunk(str(self.trial.folder), self.run, first, 0)
        return chunk_key(entry_name(chunk, self.trial.priority, 0.0))

    def keys(self) -> set[str]:
        """Return the keys of all chunks in the queue."""
        return {self._key(first) for first in self.chunks}

    def put_missing(self, present: set[str], queue: Queue) -> int:
        """Put chunks into the queue that are neither done nor known there; return how many.

        Parameters
        ----------
        present : keys of all chunks that wait or are taken
        queue : of chunks
        """
        n_put = 0
        for first, chunk in self.chunks.items():
            if chunk.done or self._key(first) in present:
                chunk.missed_s = None
            elif chunk.missed_s is None:
                chunk.missed_s = time.monotonic()
            elif time.monotonic() - chunk.missed_s > MISSING_S:
                self.put(first, queue)
                n_put += 1
        return n_put


def _lattices(reader: ProductReader) -> Any:
    kind = reader.product.tables["crystals"]
    return reader.each("crystals", kind)
