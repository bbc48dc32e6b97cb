"""A run that changes after it was sealed: its products become live results again, none is lost."""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xfel_apps.containers import powder as powders
from xfel_apps.containers.copying import Share, copy_shots
from xfel_apps.containers.events import EVENTS, Events
from xfel_apps.containers.manifest import Manifest
from xfel_apps.containers.reader import readable_parts
from xfel_apps.containers.spots import SPOTS
from xfel_apps.errors import ContainerError, XfelError
from xfel_apps.experiment import Experiment
from xfel_apps.index.run import IndexInput, index_job
from xfel_apps.integrate.run import IntegrateInput
from xfel_apps.live.chunk import Facts, live_digest
from xfel_apps.live.layout import LiveRun
from xfel_apps.live.match import NONE, Numbers, events_of_live, n_live
from xfel_apps.spotfind.run import spotfind_job
from xfel_apps.worker import StageRun

CREW = "sealed"
"""Name of the crew whose work the products are then."""


def has_grown(live: LiveRun) -> bool:
    """Return whether more shots have come since the run was sealed."""
    return live.n_sealed() not in (None, n_live(live))


def unseal(live: LiveRun, experiment: Experiment) -> None:
    """Turn the products of a sealed run into parts of a crew.

    What was made with other settings than the trial's, by someone else, is left to be done anew.
    May be killed anywhere and started again, also by two at a time.
    """
    making = live.products / f".unsealing-{socket.gethostname()}-{os.getpid()}"
    try:
        if not (live.folder / CREW).exists():
            _copy(live, experiment, making)
            with contextlib.suppress(OSError):  # another one was faster
                making.rename(live.folder / CREW)
        live.sealed.unlink(missing_ok=True)
    except OSError as err:
        raise ContainerError(f"{live.folder}: cannot write here ({err})") from err
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _copy(live: LiveRun, experiment: Experiment, into: Path) -> None:
    """Write what the run's products have of live shots to a folder, numbered as they came."""
    into.mkdir(parents=True, exist_ok=True)
    # Products that are missing or damaged are made anew.
    with contextlib.suppress(XfelError):
        events = Events.read(live.products / f"{EVENTS.name}.json")
        facts = Facts.of_manifest(dict(_manifest(live, SPOTS.name).extra))
        numbers = _live_numbers(live, events)
        for job in _jobs(live, experiment, events):
            if _manifest(live, job.product.name).digest != job.digest:
                return
            made_with = live_digest(job.product, experiment, facts)
            _copy_product(job, made_with, numbers, into / job.product.name)


def _manifest(live: LiveRun, product: str) -> Manifest:
    return Manifest.read(live.products / f"{product}.json")


def _live_numbers(live: LiveRun, events: Events) -> Numbers:
    """Return the live number of each event (n_events,), `NONE` where it was never live."""
    event_of = events_of_live(live, events)
    numbers = np.full(len(events.frame), NONE, dtype=np.int64)
    known = np.flatnonzero(event_of != NONE)
    numbers[event_of[known]] = known
    return numbers


def _jobs(live: LiveRun, experiment: Experiment, events: Events) -> Iterator[StageRun]:
    """Yield the jobs that make the products with the trial's settings."""
    paths = [live.products / f"{name}.json" for name in ("events", "spots", "crystals")]
    worker = experiment.worker
    if events.manifest.settings != experiment.ingest.model_dump(mode="json"):
        return
    yield spotfind_job(events, paths[1], experiment.spotfind, worker)
    data = IndexInput.read(paths[0], paths[1])
    data.reader.close()
    job = index_job(data, paths[2], experiment.index, worker)
    if job is None:
        return
    yield job
    indexed = IntegrateInput.read(paths[0], paths[1], paths[2])
    indexed.close()
    yield indexed.job(live.products / "reflections.json", experiment.integrate, worker)


def _copy_product(job: StageRun, made_with: str, numbers: Numbers, into: Path) -> None:
    """Copy the shots of one product, and its powder sums, that have a live number."""
    if job.product is SPOTS:
        for path in powders.parts(job.folder, job.digest):
            sums = {
                key: numbers[np.array(events, dtype=np.int64)].tolist()
                for key, events in powders.events_by_key(path).items()
            }
            whole = {key: events for key, events in sums.items() if NONE not in events}
            if whole:
                powders.copy_part(path, into / path.name, whole, made_with)
    for rank, part in enumerate(
        readable_parts(sorted(job.folder.glob("rank-*.h5")), job.product, job.digest)
    ):
        shots = np.flatnonzero(numbers[part.events] != NONE)
        target = into / f"rank-{rank:04d}.h5"
        share = Share(part.path, target, shots, numbers[part.events[shots]], rank)
        copy_shots(share, job.product, made_with)
