"""Integrate one run: read the inputs, integrate every indexed shot."""

from dataclasses import dataclass
from pathlib import Path

from xfel_apps import mpi
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.events import EVENTS, Events
from xfel_apps.containers.manifest import Manifest, open_product, outcomes_after
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.reader import ProductReader
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.spots import SPOTS
from xfel_apps.integrate.processor import Integrator, RunInput
from xfel_apps.integrate.settings import IntegrateSettings
from xfel_apps.integrate.spread import run_mosaic
from xfel_apps.sources import FrameCache
from xfel_apps.worker import StageRun, WorkerSettings, run_stage


@dataclass(frozen=True)
class IntegrateInput:
    """What integrate reads.

    Attributes
    ----------
    events : of the run
    spots, crystals : readers of its spots and lattices
    manifests : of events, spots and crystals, by product
    outcomes : of every event after index
    """

    events: Events
    spots: ProductReader
    crystals: ProductReader
    manifests: dict[str, Manifest]
    outcomes: dict[int, Outcome]

    @classmethod
    def read(cls, events_path: Path, spots_path: Path, crystals_path: Path) -> "IntegrateInput":
        """Return the input from the manifests of events, spots and crystals."""
        events = Events.read(events_path)
        found, spots = open_product(spots_path, SPOTS)
        indexed, crystals = open_product(crystals_path, CRYSTALS)
        outcomes = outcomes_after(events.outcomes, found, spots)
        outcomes = outcomes_after(outcomes, indexed, crystals)
        manifests = {EVENTS.name: events.manifest, SPOTS.name: found, CRYSTALS.name: indexed}
        return cls(events, spots, crystals, manifests, outcomes)

    @property
    def run(self) -> RunInput:
        """What the integrator takes of the run."""
        found = self.manifests[SPOTS.name].extra
        gain_adu = found.get("gain_adu") or 1.0
        return RunInput(
            self.events, self.spots, self.crystals, found.get("hot_pixels", []), gain_adu
        )

    def job(
        self, reflections: Path, settings: IntegrateSettings, worker: WorkerSettings
    ) -> StageRun:
        """Return the work of integrating the indexed shots; they go to `reflections`."""
        return StageRun(
            REFLECTIONS,
            reflections,
            self.events.manifest.run,
            settings,
            self.manifests,
            self.outcomes,
            sorted(event for event, end in self.outcomes.items() if end == Outcome.INDEXED),
            worker,
        )

    def close(self) -> None:
        """Close what was read."""
        self.spots.close()
        self.crystals.close()


def integrate_run(
    comm: mpi.Comm,
    inputs: tuple[Path, Path, Path],
    reflections: Path,
    settings: IntegrateSettings,
    worker: WorkerSettings,
) -> Manifest:
    """Integrate the indexed shots of a run and return the manifest of its reflections.

    Parameters
    ----------
    comm : ranks that take part
    inputs : manifests of events, spots and crystals
    reflections : manifest to write
    settings, worker : the sections
    """
    data = IntegrateInput.read(*inputs)
    job = data.job(reflections, settings, worker)

    def make() -> Integrator:
        events = data.events
        frames = FrameCache(events.geometry_file, events.mask_file)
        return Integrator(data.run, frames, settings)

    try:
        return run_stage(comm, job, make, run_mosaic)
    finally:
        data.close()
