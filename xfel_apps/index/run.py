"""Index on one run: read the inputs, find the cell if none is given, index every hit."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xfel_apps import mpi
from xfel_apps.containers.cells import CELLS
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.events import EVENTS, Events
from xfel_apps.containers.manifest import Manifest, open_product
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import Product
from xfel_apps.containers.reader import ProductReader
from xfel_apps.containers.spots import SPOTS
from xfel_apps.index.consensus import consensus, in_space_group
from xfel_apps.index.processor import CellFinder, FoundSpots, Indexer
from xfel_apps.index.settings import IndexSettings
from xfel_apps.index.target import TargetLattice
from xfel_apps.worker import StageRun, WorkerSettings, run_stage


@dataclass(frozen=True)
class IndexInput:
    """What index reads.

    Attributes
    ----------
    events : of the run
    reader : of its spots
    manifest : of the spots
    outcomes : of every event after spotfind
    """

    events: Events
    reader: ProductReader
    manifest: Manifest
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
        return cls(events, reader, manifest, outcomes)

    @property
    def spots(self) -> FoundSpots:
        """Good spots of the run's shots."""
        hot_pixels = self.manifest.extra.get("hot_pixels", [])
        return FoundSpots(self.events, self.reader, hot_pixels)

    @property
    def hits(self) -> list[int]:
        """Events that are to be indexed, in order."""
        return sorted(e for e, end in self.outcomes.items() if end == Outcome.HIT_NOT_INDEXED)

    def best_hits(self, n: int) -> list[int]:
        """Return the n hits with most spots, in order; of equal ones the first."""
        n_spots = self.reader.shots()["n_spots"]
        ranked = sorted(self.hits, key=lambda event: (-int(n_spots[event]), event))
        return sorted(ranked[:n])

    def job(
        self,
        product: Product,
        manifest: Path,
        todo: list[int],
        settings: IndexSettings,
        worker: WorkerSettings,
    ) -> StageRun:
        """Return the work of making a product from some of the hits."""
        events = self.events.manifest
        inputs = {EVENTS.name: events, SPOTS.name: self.manifest}
        return StageRun(
            product, manifest, events.run, settings, inputs, self.outcomes, todo, worker
        )


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
    crystals : manifest to write; without a given cell, `cells.json` is written beside it
    settings, worker : the sections
    """
    data = IndexInput.read(*inputs)
    target, extra = settings.target(), {}
    if target is None:
        job = data.job(
            CELLS,
            crystals.with_name("cells.json"),
            data.best_hits(settings.cell_shots),
            settings,
            worker,
        )
        cells = run_stage(comm, job, lambda: CellFinder(data.spots, settings), cell_of_run)
        target, extra = found_target(cells, settings), {"cell_found": dict(cells.extra)}
    settings = with_target(settings, target)
    job = data.job(CRYSTALS, crystals, data.hits, settings, worker)
    return run_stage(
        comm, job, lambda: Indexer(data.spots, target, settings), lambda _: (extra, {})
    )


def index_job(
    data: IndexInput, crystals: Path, settings: IndexSettings, worker: WorkerSettings
) -> StageRun | None:
    """Return the work of indexing a run's hits; None where the cell has to be found first."""
    target = settings.target()
    if target is None:
        return None
    return data.job(CRYSTALS, crystals, data.hits, with_target(settings, target), worker)


def with_target(settings: IndexSettings, target: TargetLattice | None) -> IndexSettings:
    """Return the settings with the lattice that is looked for, if it is known."""
    if target is None:
        return settings
    filled = {"cell": target.cell, "space_group": target.space_group}
    return settings.model_copy(update=filled)


def cell_of_run(reader: ProductReader) -> tuple[dict[str, Any], dict[int, Outcome]]:
    """Return the consensus of the cells found, as the manifest's extra, and no outcomes."""
    table = reader.frame("cells")
    if not len(table):
        return {}, {}
    lattices = table[[f"a_matrix_{i}" for i in range(9)]].to_numpy(float).reshape(-1, 3, 3)
    found = consensus(lattices, table["log_odds"].to_numpy(float))
    return {
        "bravais": found.bravais.kind,
        "cell": list(found.bravais.target.cell),
        "space_group": found.bravais.target.space_group,
        "n_shots": found.n_shots,
        "n_found": found.n_found,
    }, {}


def found_target(cells: Manifest, settings: IndexSettings) -> TargetLattice | None:
    """Return the lattice that the run's shots agreed on, in the space group wanted."""
    if not cells.extra:
        return None
    a, b, c, alpha, beta, gamma = cells.extra["cell"]
    cell = (a, b, c, alpha, beta, gamma)
    if settings.space_group is not None:
        return in_space_group(cells.extra["bravais"], cell, settings.space_group)
    return TargetLattice.checked(cell, cells.extra["space_group"])
