"""What a crew that is lost has left: durable shots count, the rest of its chunks waits again."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from xfel_apps.containers import powder as powders
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import Product
from xfel_apps.containers.reader import ProductReader, open_part
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.spots import SPOTS, Spots
from xfel_apps.errors import XfelError
from xfel_apps.experiment import Experiment
from xfel_apps.live.chunk import Chunk, Facts, live_digest
from xfel_apps.live.crew.done import close_chunk
from xfel_apps.live.crew.onepass import Ended, is_still_hit
from xfel_apps.live.layout import LiveFolder, experiment_file
from xfel_apps.live.queue import Queue
from xfel_apps.live.tally import Tally

MOST_LOST = 4
"""A chunk that so many crews were lost with, one after the other, may be what ended them."""

DAMAGED = (XfelError, OSError, RuntimeError, KeyError, ValueError)
"""What HDF5 files raise that a full disk or a killed writer left."""


def recover(live: LiveFolder, crew: str) -> int:
    """Let what a lost crew has not finished wait again; return how many chunks that are.

    Parameters
    ----------
    live : folder of live processing
    crew : that is known to be dead
    """
    queue = Queue(live)
    n_back = 0
    for claim in queue.taken(crew):
        rest = rest_of(claim.chunk, crew)
        if rest.n_lost < MOST_LOST:
            queue.give_back(claim, rest)
            n_back += 1
        else:
            problem = f"{MOST_LOST} crews were lost with it; its run's sealing sees to its shots"
            close_chunk(claim, crew, rest.skipped, time.time(), problem)
    return n_back


def rest_of(chunk: Chunk, crew: str) -> Chunk:
    """Return the chunk without the shots that are durable in a crew's containers."""
    try:
        live = chunk.live_run
        experiment = Experiment.from_json(experiment_file(live.trial).read_text()).of_run(live.run)
        ended = Remains(chunk, crew, experiment).ended()
        in_powder = _in_powder(chunk, crew, experiment)
    except DAMAGED as err:
        print(f"warning: crew {crew}: {err}; its shots are done again", file=sys.stderr, flush=True)
        return replace(chunk, n_lost=chunk.n_lost + 1)
    skipped = Tally.from_json(asdict(chunk.skipped))
    for event in ended.keys() - set(chunk.skip):
        skipped.add(*ended[event])
    skip = set(chunk.skip) | ended.keys()
    in_powder = (in_powder | set(chunk.in_powder)) - skip
    return replace(
        chunk,
        skip=tuple(sorted(skip)),
        in_powder=tuple(sorted(in_powder)),
        skipped=skipped,
        n_lost=0 if len(skip) > len(chunk.skip) else chunk.n_lost + 1,
    )


class Remains:
    """The rows of one chunk that a crew has left.

    Parameters
    ----------
    chunk : that it had taken
    crew : its name
    experiment : settings of the trial
    """

    def __init__(self, chunk: Chunk, crew: str, experiment: Experiment) -> None:
        self._chunk = chunk
        self._crew = crew
        self._experiment = experiment
        self._indexes = experiment.index.target() is not None

    def ended(self) -> dict[int, Ended]:
        """Return how each shot ended that is durable in every product that it must be in."""
        with ExitStack() as stack:
            read = partial(self._read, stack)
            spots, crystals, reflections = read(SPOTS), read(CRYSTALS), read(REFLECTIONS)
            found = (outcomes(spots), outcomes(crystals), outcomes(reflections))
            result = {}
            for event in self._own(spots):
                last = self._last(event, spots, found)
                if last is not None:
                    n_lattices = 0
                    if last == Outcome.INTEGRATED:
                        kind = REFLECTIONS.tables["crystals"]
                        n_lattices = len(reflections.rows("crystals", event, kind))
                    result[event] = Ended(last, n_lattices)
            return result

    def _read(self, stack: ExitStack, product: Product) -> ProductReader:
        """Return the readable parts of a product that were made with the chunk's facts."""
        digest = live_digest(product, self._experiment, self._chunk.facts)
        folder = self._chunk.live_run.parts(self._crew, product.name)
        reader = ProductReader(readable(folder, product, digest), product)
        stack.callback(reader.close)
        return reader

    def _own(self, spots: ProductReader) -> Iterator[int]:
        """Yield the shots of the chunk that spots were looked for on."""
        first = self._chunk.first
        for event in spots.events:
            if first <= event < first + self._chunk.n_shots:
                yield int(event)

    def _last(
        self, event: int, spots: ProductReader, found: tuple[Mapping[int, Outcome], ...]
    ) -> Outcome | None:
        """Return how a shot ended; None if a stage's rows of it are missing."""
        after_spotfind, after_index, after_integrate = found
        if after_spotfind[event] != Outcome.HIT_NOT_INDEXED:
            return after_spotfind[event]
        rows = spots.rows("spots", event, Spots)
        if not is_still_hit(rows, self._chunk.facts, self._experiment.spotfind.min_spots):
            return Outcome.MISS
        if not self._indexes:
            return Outcome.HIT_NOT_INDEXED
        indexed = after_index.get(event)
        return after_integrate.get(event) if indexed == Outcome.INDEXED else indexed


def outcomes(reader: ProductReader) -> dict[int, Outcome]:
    """Return how each shot ended in a stage."""
    shots = reader.shots()["outcome"]
    return dict(zip(map(int, shots.index), map(Outcome, shots), strict=True))


def readable(folder: Path, product: Product, digest: str) -> list[Path]:
    """Return the parts with a digest that can be read; what is damaged holds nothing durable."""
    found = []
    for path in sorted(folder.glob("rank-*.h5")):
        try:
            with open_part(path) as file:
                is_own = file.attrs.get("digest") == digest
            if is_own:
                ProductReader([path], product).close()
                found.append(path)
        except DAMAGED:
            continue
    return found


def _in_powder(chunk: Chunk, crew: str, experiment: Experiment) -> set[int]:
    """Return the shots of the chunk that are in the crew's powder sums."""
    folder = chunk.live_run.parts(crew, SPOTS.name)
    known = powders.events_in(folder, live_digest(SPOTS, experiment, Facts()))
    return known & set(range(chunk.first, chunk.first + chunk.n_shots))
