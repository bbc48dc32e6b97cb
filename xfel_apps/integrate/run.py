"""Integrate one run: read the inputs, integrate every indexed shot."""

from pathlib import Path

from xfel_apps import mpi
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.events import EVENTS, Events
from xfel_apps.containers.manifest import Manifest, open_product, outcomes_after
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.spots import SPOTS
from xfel_apps.integrate.processor import Integrator, RunInput
from xfel_apps.integrate.settings import IntegrateSettings
from xfel_apps.sources import FrameCache
from xfel_apps.worker import StageRun, WorkerSettings, run_stage


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
    events = Events.read(inputs[0])
    spots_manifest, spots = open_product(inputs[1], SPOTS)
    crystals_manifest, crystals = open_product(inputs[2], CRYSTALS)
    carried = outcomes_after(events.outcomes, spots_manifest, spots)
    carried = outcomes_after(carried, crystals_manifest, crystals)
    job = StageRun(
        REFLECTIONS,
        reflections,
        events.manifest.run,
        settings,
        {
            EVENTS.name: events.manifest,
            SPOTS.name: spots_manifest,
            CRYSTALS.name: crystals_manifest,
        },
        carried,
        sorted(event for event, end in carried.items() if end == Outcome.INDEXED),
        worker,
    )
    found = spots_manifest.extra
    data = RunInput(
        events, spots, crystals, found.get("hot_pixels", []), found.get("gain_adu") or 1.0
    )

    def make() -> Integrator:
        return Integrator(data, FrameCache(events.geometry_file, events.mask_file), settings)

    try:
        return run_stage(comm, job, make)
    finally:
        spots.close()
        crystals.close()
