"""A live run as the daemon leaves it for crews: chunks in the queue, made by the batch's ingest."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tests.ranks import on_ranks
from xfel_apps.containers.manifest import write_text
from xfel_apps.containers.product import Product
from xfel_apps.containers.reader import ProductReader, open_part
from xfel_apps.errors import ContainerError
from xfel_apps.experiment import Experiment
from xfel_apps.ingest.run import ingest
from xfel_apps.live.chunk import Chunk, Facts
from xfel_apps.live.layout import LiveFolder, LiveRun, experiment_file
from xfel_apps.live.queue import LIVE_FIRST, Queue, entry_name

RUN = "r1"
INDEX = {"cell": "79.2 79.2 38 90 90 90", "space_group": "P43212"}
CLOCK = ["start_s", "end_s", "cpu_s", "rank"]


@dataclass(frozen=True)
class LiveTrial:
    """One run of one trial, cut into a chunk a raw file."""

    results: Path
    experiment: Experiment
    raw: list[Path]

    @classmethod
    def make(cls, folder: Path, raw: list[Path], **sections: Any) -> "LiveTrial":
        data = {"index": INDEX, "worker": {"flush_s": 0.05}, **sections}
        experiment = Experiment.checked({"results": str(folder), "trial": "000", **data})
        text = json.dumps(experiment.model_dump(mode="json"))
        write_text(experiment_file(experiment.folder), text)
        made = cls(folder, experiment, raw)
        made.say_daemon("d1")
        return made

    @property
    def live(self) -> LiveFolder:
        return LiveFolder(self.results)

    @property
    def run(self) -> LiveRun:
        return LiveRun(self.experiment.folder, RUN)

    def say_daemon(self, name: str) -> None:
        write_text(self.live.daemon, json.dumps({"id": name, "now_s": time.time()}))

    def put(self, facts: Facts, **more: Any) -> list[Chunk]:
        """Let a chunk of each raw file wait, the last first; numbers are those of the batch."""
        first, chunks = 0, []
        for path in self.raw:
            events = self.run.chunk(first) / "events.json"
            n_shots = ingest(RUN, [str(path)], self.experiment.ingest, events).n_events
            chunk = Chunk(str(self.run.trial), RUN, first, n_shots, facts, **more)
            Queue(self.live).put(entry_name(chunk, LIVE_FIRST, 1e9 + first), chunk)
            chunks.append(chunk)
            first += n_shots
        return chunks

    def command(self, ranks: int, crew: str = "c1", **live: Any) -> list[str]:
        """Return the command of a crew; it ends once it has nothing to do for a moment."""
        arguments = ["-m", "xfel_apps.live.crew", *self.arguments(crew, **live)]
        return on_ranks(ranks, *arguments)

    def arguments(self, crew: str = "c1", **live: Any) -> list[str]:
        who = ["--results", str(self.results), "--name", crew, "--pool", "p", "--daemon", "d1"]
        return [*who, "--live", json.dumps({"idle_s": 0.3, **live})]

    def done(self) -> list[dict[str, Any]]:
        """Return what is said of each chunk that is done."""
        paths = [folder / "done.json" for folder in self.run.chunks()]
        return [json.loads(path.read_text()) for path in paths if path.exists()]

    def waiting(self) -> list[Chunk]:
        files = sorted(self.live.queue.glob("*.json"))
        return [Chunk.from_json(json.loads(path.read_text())) for path in files]

    def parts(self, product: Product, crew: str = "*") -> list[Path]:
        return sorted(self.run.folder.glob(f"{crew}/{product.name}/rank-*.h5"))

    def events_of(self, product: Product, crew: str = "*") -> list[int]:
        """Return every shot that crews have written, one written twice twice."""
        found = []
        for path in self.parts(product, crew):
            reader = ProductReader([path], product)
            found += [int(event) for event in reader.events]
            reader.close()
        return sorted(found)

    def tables(self, product: Product) -> dict[str, pd.DataFrame]:
        """Return the tables of all parts but those that a full disk made unreadable."""
        return tables(ProductReader(filter(_is_readable, self.parts(product)), product))


def _is_readable(path: Path) -> bool:
    try:
        open_part(path).close()
    except ContainerError:
        return False
    return True


def tables(reader: ProductReader) -> dict[str, pd.DataFrame]:
    """Return the tables of a product without what says when and where it was made."""
    found = {name: reader.frame(name) for name in reader.product.tables}
    found["shots"] = reader.shots().drop(columns=CLOCK)
    reader.close()
    return found
