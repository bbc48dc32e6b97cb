"""A small simulated run, also processed by the batch's apps."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.crews import INDEX, RUN
from xfel_apps import mpi
from xfel_apps.containers.manifest import Manifest, open_product
from xfel_apps.containers.product import Product
from xfel_apps.containers.reader import ProductReader
from xfel_apps.containers.spots import SPOTS
from xfel_apps.index.run import index_run
from xfel_apps.index.settings import IndexSettings
from xfel_apps.ingest.run import ingest
from xfel_apps.ingest.settings import IngestSettings
from xfel_apps.integrate.run import integrate_run
from xfel_apps.integrate.settings import IntegrateSettings
from xfel_apps.live.chunk import Facts
from xfel_apps.simulate.run import simulate
from xfel_apps.simulate.settings import SimulateSettings
from xfel_apps.spotfind.run import spotfind_run
from xfel_apps.spotfind.settings import SpotfindSettings
from xfel_apps.worker import WorkerSettings

SMALL = {
    "shots": 8,
    "hit_fraction": 0.75,
    "weak_fraction": 0.0,
    "crystal": {"d_min_ang": 2.5},
    "detector": {"module_px": [640, 640], "distance_mm": 60.0},
}


@dataclass(frozen=True)
class BatchRun:
    """A run with its raw files, and what the batch made of it."""

    raw: list[Path]
    folder: Path

    def manifest(self, product: Product) -> Manifest:
        return Manifest.read(self.folder / f"{product.name}.json", product)

    def reader(self, product: Product) -> ProductReader:
        return open_product(self.folder / f"{product.name}.json", product)[1]

    @property
    def facts(self) -> Facts:
        return Facts.of_manifest(dict(self.manifest(SPOTS).extra))


@pytest.fixture(scope="session")
def batch(tmp_path_factory) -> BatchRun:
    """Return a run of 24 shots in three files, processed by the batch's apps."""
    folder = tmp_path_factory.mktemp("batch")
    raw = []
    for seed in range(3):
        settings = SimulateSettings.checked({**SMALL, "seed": seed})
        master = simulate(settings, folder / f"raw{seed}", mpi.serial())
        raw.append(master.rename(master.with_name(f"raw{seed}.h5")))
    run = folder / RUN
    events, spots, crystals = (run / f"{n}.json" for n in ("events", "spots", "crystals"))
    worker = WorkerSettings()
    ingest(RUN, [str(path) for path in raw], IngestSettings(), events)
    spotfind_run(mpi.serial(), events, spots, SpotfindSettings(), worker)
    lattice = IndexSettings.checked(INDEX)
    index_run(mpi.serial(), (events, spots), crystals, lattice, worker)
    inputs = events, spots, crystals
    integrate_run(mpi.serial(), inputs, run / "reflections.json", IntegrateSettings(), worker)
    return BatchRun(raw, run)
