"""Spotfind, index and integrate on a shot, one after the other, its frame read once."""

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.events import Events
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import Product
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.spots import SPOTS, Spots, is_good
from xfel_apps.containers.writer import ContainerWriter
from xfel_apps.experiment import Experiment
from xfel_apps.index.processor import FoundSpots, Indexer
from xfel_apps.index.target import TargetLattice
from xfel_apps.integrate.processor import Integrator, RunInput
from xfel_apps.live.chunk import Facts, live_digest
from xfel_apps.live.crew.disk import writing
from xfel_apps.live.crew.shots import ChunkShots, OneFrame, ShotRows
from xfel_apps.live.layout import LiveRun
from xfel_apps.spotfind.powder import RankPowder
from xfel_apps.spotfind.processor import SpotFinder
from xfel_apps.worker import Processor, StageWorker


class Place(NamedTuple):
    """Where a rank of a crew writes what it finds in a run."""

    run: LiveRun
    crew: str
    rank: int

    def folder(self, product: Product) -> Path:
        """Return the folder of the rank's containers of a product."""
        return self.run.parts(self.crew, product.name)


def is_still_hit(spots: Spots, facts: Facts, min_spots: int) -> bool:
    """Return whether a hit is one without the spots on hot pixels, as spotfind's end decides."""
    return int(is_good(spots, facts.hot_pixels).sum()) >= min_spots


class HitStages:
    """Index and integrate with the same facts of the run; their containers are made when needed.

    Parameters
    ----------
    experiment : settings
    facts : of the run
    place : where to write
    shots, rows, frames : of the run
    """

    def __init__(
        self,
        experiment: Experiment,
        facts: Facts,
        place: Place,
        inputs: tuple[ChunkShots, ShotRows, OneFrame],
    ) -> None:
        self._experiment = experiment
        self._facts = facts
        self._place = place
        self._shots, self._rows, self._frames = inputs
        self._stages: list[StageWorker] = []

    def _stage(self, product: Product, processor: Processor) -> StageWorker:
        digest = live_digest(product, self._experiment, self._facts)
        stage = stage_worker(product, processor, self._place, digest, self._experiment)
        self._stages.append(stage)
        return stage

    @cached_property
    def index(self) -> StageWorker:
        """Indexes a hit."""
        found = FoundSpots(self._shots, self._rows, self._facts.hot_pixels)
        settings = self._experiment.index
        return self._stage(CRYSTALS, Indexer(found, settings.target(), settings))

    @cached_property
    def integrate(self) -> StageWorker:
        """Integrates an indexed shot."""
        facts = self._facts
        gain_adu = facts.gain_adu or 1.0
        data = RunInput(self._shots, self._rows, self._rows, facts.hot_pixels, gain_adu)
        return self._stage(REFLECTIONS, Integrator(data, self._frames, self._experiment.integrate))

    def flush(self) -> None:
        """Make durable what was found."""
        for stage in self._stages:
            stage.flush()

    def close(self) -> None:
        """Flush and close the containers."""
        for stage in self._stages:
            stage.close()


def stage_worker(
    product: Product, processor: Processor, place: Place, digest: str, experiment: Experiment
) -> StageWorker:
    """Return what runs a stage and writes its product."""
    folder = place.folder(product)
    with writing(folder):
        writer = ContainerWriter(folder, place.rank, product, digest)
    return StageWorker(processor, writer, experiment.worker.shot_limit_s)


class Ended(NamedTuple):
    """How a shot ended."""

    outcome: Outcome
    n_lattices: int = 0


class RunPass:
    """The pass over the shots of one run of one trial, on one rank.

    Parameters
    ----------
    place : where to write
    experiment : settings of the trial
    events : of any chunk of the run
    """

    def __init__(self, place: Place, experiment: Experiment, events: Events) -> None:
        self._place = place
        self._experiment = experiment
        self._shots = ChunkShots()
        self._rows = ShotRows()
        self._frames = OneFrame(events.geometry_file, events.mask_file)
        digest = live_digest(SPOTS, experiment, Facts())
        folder = place.folder(SPOTS)
        self._powder = RankPowder(folder, place.rank, digest, ())
        finder = SpotFinder(self._shots, self._frames, experiment.spotfind, self._powder)
        self._spotfind = stage_worker(SPOTS, finder, place, digest, experiment)
        self._hits: dict[Facts, HitStages] = {}

    @cached_property
    def _target(self) -> TargetLattice | None:
        return self._experiment.index.target()

    def turn_to(self, first: int, events: Events, in_powder: tuple[int, ...]) -> None:
        """Take shots of a chunk from now on.

        Parameters
        ----------
        first : live number of its first shot
        events : its shots, numbered from 0
        in_powder : live numbers of shots that are in another powder sum
        """
        self._shots.turn_to(first, events)
        self._powder.leave_out(in_powder)

    def do(self, event: int, facts: Facts) -> Ended:
        """Process one shot, by its live number, and say how it ended."""
        found = self._spotfind.do(event)
        if found.outcome != Outcome.HIT_NOT_INDEXED:
            return Ended(found.outcome)
        self._rows.keep(event, found.tables)
        spots = self._rows.rows("spots", event, Spots)
        if not is_still_hit(spots, facts, self._experiment.spotfind.min_spots):
            return Ended(Outcome.MISS)
        if self._target is None:
            return Ended(Outcome.HIT_NOT_INDEXED)
        return self._index(event, self._stages(facts))

    def _index(self, event: int, stages: HitStages) -> Ended:
        indexed = stages.index.do(event)
        if indexed.outcome != Outcome.INDEXED:
            return Ended(indexed.outcome)
        self._rows.keep(event, indexed.tables)
        integrated = stages.integrate.do(event)
        return Ended(integrated.outcome, len(integrated.tables.get("crystals", ())))

    def _stages(self, facts: Facts) -> HitStages:
        """Return what indexes and integrates with these facts; that of older ones is closed."""
        if facts not in self._hits:
            self.flush()
            for stages in self._hits.values():
                with writing(self._place.folder(CRYSTALS)):
                    stages.close()
            inputs = self._shots, self._rows, self._frames
            self._hits = {facts: HitStages(self._experiment, facts, self._place, inputs)}
        return self._hits[facts]

    def flush(self) -> None:
        """Make durable what was found: each stage's before that of the stages after it."""
        with writing(self._place.folder(SPOTS)):
            self._spotfind.flush()
            for stages in self._hits.values():
                stages.flush()

    def close(self) -> None:
        """Flush and close everything."""
        self.flush()
        with writing(self._place.folder(SPOTS)):
            self._spotfind.close()
            for stages in self._hits.values():
                stages.close()
        self._frames.close()
