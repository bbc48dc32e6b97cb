"""Seal a complete run: its live results become the batch's files.

`python -m mpi4py -m xfel_apps.live.seal --trial results/000 --run r0001`

The stages' own functions write every manifest; what the crews have done is put before them as if
it had been done by an earlier start of the stage that was killed. So sealing may itself be killed
anywhere and started again.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xfel_apps import app, mpi
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.events import EVENTS, Events
from xfel_apps.containers.manifest import Manifest, write_text
from xfel_apps.containers.product import Product
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.spots import SPOTS
from xfel_apps.errors import ContainerError, SettingsError
from xfel_apps.experiment import Experiment
from xfel_apps.index.run import IndexInput, index_job, index_run
from xfel_apps.ingest.run import events_digest, ingest
from xfel_apps.integrate.run import IntegrateInput, integrate_run
from xfel_apps.latency import first
from xfel_apps.live.adopt import Crews, adopt
from xfel_apps.live.chunk import Facts, live_digest
from xfel_apps.live.layout import LiveRun, experiment_file
from xfel_apps.live.match import events_of_live, n_live
from xfel_apps.live.unseal import has_grown, unseal
from xfel_apps.spotfind.run import spotfind_job, spotfind_run
from xfel_apps.worker import StageRun


@dataclass(frozen=True)
class Sealed:
    """What sealing came to.

    Attributes
    ----------
    manifest : of the run's reflections
    taken : product -> shots taken over from the crews
    """

    manifest: Manifest
    taken: dict[str, int]

    def summary(self) -> str:
        """Return one line for the log."""
        taken = ", ".join(f"{n} {name}" for name, n in self.taken.items())
        return f"{self.manifest.summary()}; shots taken over from live: {taken}"


def is_sealed(live: LiveRun) -> bool:
    """Return whether a run is sealed with all shots that have come so far."""
    return live.n_sealed() == n_live(live)


def seal(comm: mpi.Comm, live: LiveRun, experiment: Experiment) -> Sealed:
    """Make the batch's files of a complete run and remove what they replace.

    Parameters
    ----------
    comm : ranks that take part
    live : the run; all its chunks are done
    experiment : settings of its trial
    """
    experiment = experiment.of_run(live.run)
    mpi.agree(comm, lambda: _begin(live, experiment))
    events = Events.read(_manifest(live, EVENTS))
    sealing = _Sealing(comm, live, experiment, events)
    taken = {
        SPOTS.name: sealing.spots(),
        CRYSTALS.name: sealing.crystals(),
        REFLECTIONS.name: sealing.reflections(),
    }
    mpi.agree(comm, lambda: _finish(live))
    return Sealed(Manifest.read(_manifest(live, REFLECTIONS)), taken)


def _manifest(live: LiveRun, product: Product) -> Path:
    return live.products / f"{product.name}.json"


def _begin(live: LiveRun, experiment: Experiment) -> None:
    """Write the run's events; what is sealed of it already, before more has come, counts."""
    if live.run not in experiment.runs:
        raise SettingsError(
            f"run {live.run}: {experiment_file(live.trial)} does not say where its raw files lie"
        )
    paths = experiment.runs[live.run]
    if live.n_sealed() is not None and (has_grown(live) or _has_changed(live, experiment)):
        unseal(live, experiment)
    ingest(live.run, paths, experiment.ingest, _manifest(live, EVENTS))


def _has_changed(live: LiveRun, experiment: Experiment) -> bool:
    """Return whether a raw file has changed since the events were listed."""
    path = _manifest(live, EVENTS)
    now = events_digest(experiment.files(live.run), experiment.ingest)
    return path.is_file() and Manifest.read(path).digest != now


class _Sealing:
    """The stages, one after the other; each first takes over what the crews have done."""

    def __init__(
        self, comm: mpi.Comm, live: LiveRun, experiment: Experiment, events: Events
    ) -> None:
        self._comm = comm
        self._live = live
        self._experiment = experiment
        self._events = events
        self._event_of = mpi.agree(comm, lambda: events_of_live(live, events))
        products = (EVENTS, SPOTS, CRYSTALS, REFLECTIONS)
        self._paths = [_manifest(live, product) for product in products]
        self._facts = Facts()

    def spots(self) -> int:
        """Write the spots, and learn from them the facts; return how many shots were there."""
        settings = self._experiment.spotfind, self._experiment.worker
        taken = self._adopt(spotfind_job(self._events, self._paths[1], *settings))
        manifest = spotfind_run(self._comm, self._paths[0], self._paths[1], *settings)
        self._facts = Facts.of_manifest(dict(manifest.extra))
        return taken

    def crystals(self) -> int:
        """Write the crystals; return how many shots were there."""
        settings = self._experiment.index, self._experiment.worker
        inputs = self._paths[0], self._paths[1]
        data = IndexInput.read(*inputs)
        job = index_job(data, self._paths[2], *settings)
        data.reader.close()
        taken = self._adopt(job) if job else 0
        index_run(self._comm, inputs, self._paths[2], *settings)
        return taken

    def reflections(self) -> int:
        """Write the reflections; return how many shots were there."""
        settings = self._experiment.integrate, self._experiment.worker
        inputs = self._paths[0], self._paths[1], self._paths[2]
        data = IntegrateInput.read(*inputs)
        taken = self._adopt(data.job(self._paths[3], *settings))
        data.close()
        integrate_run(self._comm, inputs, self._paths[3], *settings)
        return taken

    def _adopt(self, job: StageRun) -> int:
        made_with = live_digest(job.product, self._experiment, self._facts)
        return adopt(self._comm, Crews(self._live, made_with, self._event_of), job)


def _finish(live: LiveRun) -> None:
    """Remove what the crews wrote, then say that the run is sealed.

    Its chunks, and when each shot had its first results, stay.
    """
    n_shots = n_live(live)
    first.keep(live.first, first.first_results(live, n_shots))
    try:
        live.reflections.unlink(missing_ok=True)
        for folder in live.crews():
            shutil.rmtree(folder)
    except OSError as err:
        raise ContainerError(f"{live.folder}: cannot tidy up here ({err})") from err
    write_text(live.sealed, json.dumps({"n_live": n_shots}) + "\n")


def read_experiment(trial: Path) -> Experiment:
    """Return the settings that a trial is processed with live."""
    path = experiment_file(trial)
    try:
        return Experiment.checked(json.loads(path.read_text()))
    except (OSError, ValueError) as err:
        raise SettingsError(f"{path}: no settings of a live trial ({err})") from err


def _body(args: argparse.Namespace, comm: mpi.Comm) -> None:
    experiment = mpi.agree(comm, lambda: read_experiment(args.trial))
    sealed = seal(comm, LiveRun(args.trial, args.run), experiment)
    if comm.rank == 0:
        print(sealed.summary())


def main(argv: Sequence[str] | None = None, comm: mpi.Comm | None = None) -> int:
    """Run the app and return its exit code."""
    arguments = argparse.ArgumentParser(
        prog="python -m mpi4py -m xfel_apps.live.seal",
        description="Make the batch's files of a complete live run.",
        epilog=app.EXIT_CODES,
    )
    arguments.add_argument("--trial", type=Path, required=True, help="folder of the trial")
    arguments.add_argument("--run", required=True, help="name of the run")
    return app.run(_body, arguments, argv, comm)


if __name__ == "__main__":
    sys.exit(main())
