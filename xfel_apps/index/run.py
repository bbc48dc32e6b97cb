"""Index on one run: read the inputs, find the cell if none is given, index every hit."""

from dataclasses import dataclass
from pathlib import Path

from xfel_apps import mpi
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.events import EVENTS, Events
from xfel_apps.containers.manifest import Manifest, open_product
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.reader import ProductReader
from xfel_apps.containers.spots import SPOTS
from xfel_apps.errors import SettingsError
from xfel_apps.index.processor import Indexer
from xfel_apps.index.settings import IndexSettings
from xfel_apps.index.target import TargetLattice
from xfel_apps.worker import StageRun, WorkerSettings, run_stage


@dataclass(frozen=True)
class IndexInput:
    """What index reads.

    Attributes
    ----------
    events : of the run
    manifest, reader : of its spots
    outcomes : of every event after spotfind
    """

    events: Events
    manifest: Manifest
    reader: ProductReader
    outcomes: dict[int, Outcome]

    @classmethod
    def read(cls, events_path: Path, spots_path: Path) -> "IndexInput":
        """Return the input from the manifests of events and spots."""
        events = Events.read(events_path)
        manifest, reader = open_product(spots_path, SPOTS)
        outcomes = dict(events.outcomes)
        for event, outcome in reader.shots()["outcome"].items():
            outcomes[int(event)] = Outcome(outcome)  # type: ignore[call-overload]  # pandas types its index as Hashable
        for event, outcome in manifest.extra.get("decided", {}).items():
            outcomes[int(event)] = Outcome(outcome)
        return cls(events, manifest, reader, outcomes)

    @property
    def hits(self) -> list[int]:
        """Events that are to be indexed, in order."""
        return sorted(e for e, end in self.outcomes.items() if end == Outcome.HIT_NOT_INDEXED)

    @property
    def hot_pixels(self) -> list[list[int]]:
        """(panel, slow, fast) of the run's hot pixels."""
        return list(self.manifest.extra.get("hot_pixels", []))


def index_run(
    comm: mpi.Comm,
    inputs: tuple[Path, Path],
    crystals: Path,
    settings: IndexSettings,
    worker: WorkerSettings,
) -> Manifest:
    """Index the hits of a run and return the manifest of its crystals.

    Parameters
    ----------
    comm : ranks that take part
    inputs : manifests of events and spots
    crystals : manifest to write
    settings, worker : the sections
    """
    data = IndexInput.read(*inputs)
    target = given_target(settings)
    job = StageRun(
        CRYSTALS,
        crystals,
        data.events.manifest.run,
        settings,
        {EVENTS.name: data.events.manifest, SPOTS.name: data.manifest},
        data.outcomes,
        data.hits,
        worker,
    )
    return run_stage(
        comm, job, lambda: Indexer(data.events, data.reader, data.hot_pixels, target, settings)
    )


def given_target(settings: IndexSettings) -> TargetLattice:
    """Return the lattice that the settings describe."""
    if settings.cell is None or settings.space_group is None:
        raise SettingsError("index.cell and index.space_group are needed")
    return TargetLattice.checked(settings.cell, settings.space_group)
