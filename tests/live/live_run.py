"""A run as a daemon and its crews leave it: chunks, and the containers of each crew's ranks.

The stages' processors do the work, in one process; who has which shot, what the crew knows of the
run and what gets lost is the test's choice.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tests.products import InMemory
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.events import EVENTS, Events
from xfel_apps.containers.manifest import Manifest, write_text
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import Product, ShotResult
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.spots import SPOTS, is_good
from xfel_apps.containers.writer import ContainerWriter
from xfel_apps.experiment import Experiment
from xfel_apps.index.processor import FoundSpots, Indexer
from xfel_apps.ingest.run import ingest
from xfel_apps.integrate.processor import Integrator, RunInput
from xfel_apps.live.chunk import Facts, live_digest
from xfel_apps.live.layout import LiveRun, experiment_file
from xfel_apps.sources import FrameCache
from xfel_apps.spotfind.powder import RankPowder
from xfel_apps.spotfind.processor import SpotFinder
from xfel_apps.worker import StageWorker

NOTHING_KNOWN = Facts()


@dataclass(frozen=True)
class ArrivingRun:
    """A run whose shots have come in some order and were cut into chunks.

    Attributes
    ----------
    live : where its files lie
    experiment : settings of the trial
    events : its shots, numbered as they came
    """

    live: LiveRun
    experiment: Experiment
    events: Events

    @classmethod
    def make(
        cls, live: LiveRun, experiment: Experiment, order: Sequence[int], chunk_shots: int
    ) -> "ArrivingRun":
        """Write the chunks and the trial's settings; `order` has the events as they came."""
        write_text(experiment_file(live.trial), json.dumps(experiment.model_dump(mode="json")))
        scratch = live.trial / "scratch" / "events.json"
        ingest(live.run, experiment.runs[live.run], experiment.ingest, scratch)
        batch = Events.read(scratch)
        frame = batch.frame.loc[list(order)].reset_index(drop=True)
        arrived = cls(live, experiment, Events(batch.manifest, frame))
        for first in range(0, len(order), chunk_shots):
            arrived._write_chunk(first, min(first + chunk_shots, len(order)))
        return arrived

    def _write_chunk(self, first: int, stop: int) -> None:
        folder = self.live.chunk(first)
        with ContainerWriter(folder / "events", 0, EVENTS, f"chunk-{first}") as writer:
            for number in range(first, stop):
                columns = self.events.frame.loc[number].to_dict()
                columns["shot_id"] = self.events.shot_id(number).encode()
                outcome = Outcome(columns["outcome"])
                writer.append(number - first, ShotResult(outcome, "", columns), 0.0, 0.0)
        counts = dict.fromkeys(map(str, Outcome), 0)
        counts["pending"] = stop - first
        fields = json.loads((self.live.trial / "scratch" / "events.json").read_text())
        containers = (f"events/{writer.path.name}",)
        fields |= {"n_events": stop - first, "outcomes": counts, "containers": containers}
        Manifest(**fields).write(folder / "events.json")

    def crew(
        self,
        name: str,
        shots: Sequence[int],
        facts: Facts = NOTHING_KNOWN,
        *,
        rank: int = 1,
        in_powder: Sequence[int] = (),
        until: Product = REFLECTIONS,
    ) -> None:
        """Let a crew do some shots, as far as the product `until`.

        Parameters
        ----------
        name, rank : of the crew, and which of its ranks
        shots : numbers of the shots, as they came
        facts : what it knows of the run
        in_powder : shots that it finds in another crew's powder
        until : the last product it writes
        """
        settings, events = self.experiment, self.events
        frames = FrameCache(events.geometry_file, events.mask_file)
        digests = {p.name: live_digest(p, settings, facts) for p in (SPOTS, CRYSTALS, REFLECTIONS)}
        folder = self.live.parts(name, SPOTS.name)
        powder = RankPowder(folder, rank, digests[SPOTS.name], in_powder)
        spots: dict[int, ShotResult] = {}
        crystals: dict[int, ShotResult] = {}
        found = FoundSpots(events, InMemory(spots), facts.hot_pixels)
        rows = RunInput(
            events, InMemory(spots), InMemory(crystals), facts.hot_pixels, facts.gain_adu or 1.0
        )
        processors = (
            (SPOTS, SpotFinder(events, frames, settings.spotfind, powder)),
            (CRYSTALS, Indexer(found, settings.index.target(), settings.index)),
            (REFLECTIONS, Integrator(rows, frames, settings.integrate)),
        )
        workers = {}
        for product, processor in processors:
            parts = self.live.parts(name, product.name)
            writer = ContainerWriter(parts, rank, product, digests[product.name])
            workers[product.name] = StageWorker(processor, writer, 0.0)
            if product is until:
                break
        for shot in shots:
            if events.outcomes[shot] == Outcome.PENDING:
                self._pass(shot, facts, workers, (spots, crystals))
        for worker in workers.values():
            worker.close()

    def _pass(
        self,
        shot: int,
        facts: Facts,
        workers: Mapping[str, StageWorker],
        kept: tuple[dict[int, ShotResult], dict[int, ShotResult]],
    ) -> None:
        """Take one shot through the stages."""
        spots, crystals = kept
        spots[shot] = workers[SPOTS.name].do(shot)
        is_hit = spots[shot].outcome == Outcome.HIT_NOT_INDEXED
        if not is_hit or CRYSTALS.name not in workers:
            return
        good = np.count_nonzero(is_good(spots[shot].tables["spots"], facts.hot_pixels))
        if good < self.experiment.spotfind.min_spots:
            return
        crystals[shot] = workers[CRYSTALS.name].do(shot)
        if crystals[shot].outcome == Outcome.INDEXED and REFLECTIONS.name in workers:
            workers[REFLECTIONS.name].do(shot)
