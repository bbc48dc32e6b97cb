"""Jobs that are started from the dashboard: the workflow, asked for one file of a trial."""

import socket
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from xfel_apps.catalog import CatalogError, queries
from xfel_apps.catalog.edits import Editor
from xfel_apps.catalog.edits.jobs import (
    RUNNING,
    NewJob,
    begin_job,
    cancel_job,
    end_job,
    place_job,
)
from xfel_apps.catalog.queries import JobInfo
from xfel_apps.catalog.workflow import catalog_experiment, version_folder
from xfel_apps.containers.manifest import write_text
from xfel_apps.containers.results import PER_SHOT
from xfel_apps.dashboard import places
from xfel_apps.dashboard.results import below, tail
from xfel_apps.dashboard.room import Room
from xfel_apps.dashboard.settings import DashboardSettings
from xfel_apps.errors import ConflictError, SettingsError, XfelError
from xfel_apps.experiment import Experiment
from xfel_apps.launch import workflow_folder

MAX_RUNNING = 4
PRODUCT_OF = {product.stage: name for name, product in PER_SHOT.items()}
STAGES = (*PRODUCT_OF, "merge")
"""Stages that can be started from here."""


@dataclass(frozen=True)
class Work:
    """What is to be done: a stage of a run, or the merging of a dataset (stage `merge`)."""

    trial: str
    stage: str
    name: str


def start(room: Room, actor: str, work: Work) -> int:
    """Start the workflow for one product of a trial; return the number of the job.

    Raises
    ------
    XfelError : unknown trial, run or dataset; too many jobs run; it runs already (ConflictError)
    """
    file = _file(room, work.trial)
    subject, target = _target(room, file, work)
    editor = Editor(room.catalog, room.experiment(), actor)
    running = [item for item in _running(room) if item.place.startswith("local:")]
    if len(running) >= MAX_RUNNING:
        raise ConflictError(f"{len(running)} jobs run here already; wait for one, or cancel it")
    host = socket.gethostname()
    resources = {"cores": room.settings.cores, "profile": room.settings.profile}
    job_id = begin_job(editor, NewJob(work.trial, work.stage, subject, host, resources))
    folder = room.results.absolute() / ".dashboard" / "jobs"
    log = folder / f"{job_id}.log"
    try:
        config = folder / f"{job_id}.json"
        write_text(config, file.model_dump_json(indent=1, exclude_unset=True) + "\n")
        child = places.start_process(_command(room, config, target), room.results.parent, log)
    except XfelError as err:
        end_job(editor, job_id, None, str(err))
        raise
    place_job(editor, job_id, places.place_of(child.pid), str(log))
    threading.Thread(target=_wait, args=(room, editor, job_id, child, log), daemon=True).start()
    room.changes.look_and_tell()
    return job_id


def _wait(room: Room, editor: Editor, job_id: int, child: Any, log: Path) -> None:
    """Write how a job ended once it has."""
    code = child.wait()
    lines = [line for line in tail(log).splitlines() if line.strip()]
    _ended(room, editor, job_id, code, "" if code == 0 or not lines else lines[-1].strip())


def _ended(room: Room, editor: Editor, job_id: int, code: int | None, message: str) -> None:
    try:
        end_job(editor, job_id, code, message)
    except CatalogError:  # the database is away: `settle` finds the job when the server starts
        return
    room.changes.look_and_tell()


def settle(room: Room) -> None:
    """Write how jobs ended that an earlier server of this machine had started."""
    editor = Editor(room.catalog, room.experiment(), "dashboard")
    for item in _running(room):
        is_ours = item.place.startswith("local:") and item.host == socket.gethostname()
        if is_ours and (process := places.process_at(item.place, item.host)) is not None:
            arguments = room, editor, item.id, process
            threading.Thread(target=_wait_for, args=arguments, daemon=True).start()
        elif is_ours:
            _ended(room, editor, item.id, None, "ended while no dashboard ran")


def _wait_for(room: Room, editor: Editor, job_id: int, process: psutil.Process) -> None:
    process.wait()
    _ended(room, editor, job_id, None, "ended; another dashboard had started it")


def cancel(room: Room, actor: str, job_id: int) -> None:
    """Stop a job."""
    job = room.ask_catalog(queries.job, job_id)
    editor = Editor(room.catalog, room.experiment(), actor)
    if not places.can_cancel(job.place, job.host):
        raise places.JobError(f"job {job_id}: cannot be stopped from this machine")
    cancel_job(editor, job_id)
    places.cancel(job.place, job.host)
    timer = threading.Timer(places.STOP_S, places.kill, (job.place, job.host))
    timer.daemon = True
    timer.start()
    room.changes.look_and_tell()


def resubmit(room: Room, actor: str, job_id: int) -> int:
    """Start the work of a job that has ended again; return the number of the new job."""
    job = room.ask_catalog(queries.job, job_id)
    if job.state == RUNNING:
        raise ConflictError(f"job {job_id}: runs still; cancel it first")
    name = job.subject.split("/")[1] if job.stage == "merge" else job.subject
    return start(room, actor, Work(job.trial, job.stage, name))


def can_resubmit(job: JobInfo) -> bool:
    """Return whether a job's work can be started again from here."""
    return job.state != RUNNING and job.stage in STAGES


def log_of(room: Room, job: JobInfo) -> str:
    """Return the end of a job's log, which must lie below the results."""
    if not job.log_path:
        return ""
    return tail(below(room.results, str(Path(job.log_path).absolute())))


def _running(room: Room) -> list[JobInfo]:
    with room.catalog.reading() as session:
        return queries.jobs(session, room.experiment(), [RUNNING])


def _file(room: Room, trial: str) -> Experiment:
    """Return the experiment file of a job: runs, settings and datasets are the catalog's."""
    return Experiment.checked(
        {
            "catalog": room.url,
            "experiment": room.experiment(),
            "results": str(room.results.absolute()),
            "trial": trial,
        }
    )


def _target(room: Room, file: Experiment, work: Work) -> tuple[str, Path]:
    """Return what a task is about, and the file that the workflow is asked for."""
    with room.catalog.reading() as session:
        experiment = catalog_experiment(session, file)
    if work.stage == "merge":
        if work.name not in experiment.datasets:
            raise CatalogError(f"dataset {work.name}: no run with raw files is in it")
        key = experiment.dataset_key(work.name)
        runs = experiment.datasets[work.name]
        folder = version_folder(room.catalog, experiment, work.name, key, runs)
        return f"datasets/{work.name}/{folder.name}", folder / "merged.json"
    if work.stage not in PRODUCT_OF or work.name not in experiment.runs:
        raise CatalogError(
            f"{work.stage} of {work.name}: no such work; stages: {', '.join(STAGES)}; "
            "runs need raw files"
        )
    return work.name, experiment.folder / work.name / f"{PRODUCT_OF[work.stage]}.json"


def profile_of(settings: DashboardSettings) -> Path:
    """Return the folder of the profile that jobs run with."""
    name = settings.profile
    profile = Path(name).absolute() if "/" in name else workflow_folder() / "profiles" / name
    if not profile.is_dir():
        raise SettingsError(f"profile {name}: no folder {profile}; give another with --profile")
    return profile


def _command(room: Room, config: Path, target: Path) -> list[str]:
    """Return the command line of the workflow."""
    snakefile = workflow_folder() / "Snakefile"
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile)]
    command += ["--profile", str(profile_of(room.settings)), "--configfile", str(config)]
    command += ["--cores", str(room.settings.cores), "--rerun-triggers", "mtime", "input"]
    return [*command, "--rerun-incomplete", "--", str(target)]
