"""Spotfind on one run: search every pending shot, then decide on hot pixels and sum the powder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xfel_apps import mpi
from xfel_apps.containers import powder as powders
from xfel_apps.containers.events import EVENTS, Events
from xfel_apps.containers.manifest import Manifest
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.reader import ProductReader
from xfel_apps.containers.spots import SPOTS
from xfel_apps.errors import ContainerError
from xfel_apps.sources import FrameCache
from xfel_apps.spotfind.hot import decide_hot
from xfel_apps.spotfind.powder import RankPowder
from xfel_apps.spotfind.processor import SpotFinder
from xfel_apps.spotfind.settings import SpotfindSettings
from xfel_apps.worker import StageRun, WorkerSettings, run_stage

POWDER_FILE = "powder.h5"


def spotfind_run(
    comm: mpi.Comm,
    events_path: Path,
    spots_path: Path,
    settings: SpotfindSettings,
    worker: WorkerSettings,
) -> Manifest:
    """Find the spots of a run and return the manifest.

    Parameters
    ----------
    comm : ranks that take part
    events_path : manifest of the run's events
    spots_path : manifest to write
    settings, worker : the sections
    """
    events = Events.read(events_path)
    job = spotfind_job(events, spots_path, settings, worker)
    mpi.agree(comm, lambda: _clear(job))

    def make() -> SpotFinder:
        known = powders.events_in(job.folder, job.digest)
        powder = RankPowder(job.folder, comm.rank, job.digest, known)
        frames = FrameCache(events.geometry_file, events.mask_file)
        return SpotFinder(events, frames, settings, powder)

    def finish(reader: ProductReader) -> tuple[Mapping[str, Any], Mapping[int, Outcome]]:
        extra, decided = decide_hot(reader, settings)
        return {**extra, "powder": _sum_powder(job)}, decided

    return run_stage(comm, job, make, finish)


def spotfind_job(
    events: Events, spots_path: Path, settings: SpotfindSettings, worker: WorkerSettings
) -> StageRun:
    """Return the work of finding the spots of a run's pending shots; they go to `spots_path`."""
    return StageRun(
        SPOTS,
        spots_path,
        events.manifest.run,
        settings,
        {EVENTS.name: events.manifest},
        events.outcomes,
        [int(event) for event in events.pending],
        worker,
    )


def _clear(job: StageRun) -> None:
    """Remove powder files that do not belong to the product."""
    try:
        (job.folder / POWDER_FILE).unlink(missing_ok=True)
        powders.remove_others(job.folder, job.digest)
    except OSError as err:
        raise ContainerError(f"{job.folder}: cannot write here ({err})") from err


def _sum_powder(job: StageRun) -> dict[str, Any] | None:
    """Write the powder of the run; return what the manifest says of it."""
    powder = powders.gather(job.folder, job.digest)
    if powder is None:
        return None
    powders.write_powder(job.folder / POWDER_FILE, powder)
    return {
        "file": f"{job.folder.name}/{POWDER_FILE}",
        "n_all": powder.n_all,
        "n_hits": powder.n_hits,
    }
