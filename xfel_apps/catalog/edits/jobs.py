"""Jobs that people start and stop: each attempt at a task is a row."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from xfel_apps.catalog.edits.editor import Change, Editor
from xfel_apps.catalog.ensure import found_or_added
from xfel_apps.catalog.find import find_trial
from xfel_apps.catalog.models import MESSAGE, Job, Task, Trial
from xfel_apps.errors import CatalogError, ConflictError

RUNNING, DONE, FAILED, CANCELLED = "running", "done", "failed", "cancelled"


@dataclass(frozen=True)
class NewJob:
    """A job that is about to start; see `xfel_apps.catalog.models.Job`."""

    trial: str
    stage: str
    subject: str
    host: str
    resources: Mapping[str, Any] = field(default_factory=dict)


def begin_job(editor: Editor, wanted: NewJob) -> int:
    """Add a job, running from now on, and return its number.

    Raises
    ------
    ConflictError : the task is being worked on
    """

    def work(session: Session) -> int:
        trial = find_trial(session, editor.experiment, wanted.trial)
        task = _task(session, trial, wanted)
        of_task = select(Job).where(Job.task_id == task.id)
        if session.scalars(of_task.where(Job.state == RUNNING).limit(1)).first() is not None:
            raise ConflictError(f"{wanted.stage} of {wanted.subject} runs already; cancel it first")
        last = session.scalar(select(func.max(Job.attempt)).where(Job.task_id == task.id)) or 0
        now = time.time()
        job = Job(
            task_id=task.id,
            attempt=last + 1,
            state=RUNNING,
            host=wanted.host,
            resources=json.dumps(dict(wanted.resources)),
            submitted_s=now,
            start_s=now,
        )
        session.add(job)
        task.state = RUNNING
        session.flush()
        name = f"{trial.name} {wanted.stage} {wanted.subject}"
        after = {"attempt": job.attempt}
        editor.note(session, trial.experiment_id, Change("start", "job", name, after=after))
        return job.id

    return editor.change(work)


def _task(session: Session, trial: Trial, wanted: NewJob) -> Task:
    same = Task.stage == wanted.stage, Task.subject == wanted.subject
    task = found_or_added(
        session,
        select(Task).where(Task.trial_id == trial.id, *same),
        lambda: Task(
            trial_id=trial.id,
            stage=wanted.stage,
            subject=wanted.subject,
            created_s=time.time(),
        ),
    )
    locked = select(Task).where(Task.id == task.id).with_for_update()
    return session.scalars(locked).one()


def place_job(editor: Editor, job_id: int, place: str, log_path: str) -> None:
    """Write where a job runs and where its log is."""

    def work(session: Session) -> None:
        job = _job(session, job_id)
        job.place, job.log_path = place, log_path

    editor.change(work)


def end_job(editor: Editor, job_id: int, exit_code: int | None, message: str) -> None:
    """Write how a job ended; one that somebody has cancelled stays cancelled.

    Parameters
    ----------
    exit_code : None where it is not known
    """

    def work(session: Session) -> None:
        job = _job(session, job_id)
        if job.state != CANCELLED:
            job.state = DONE if exit_code == 0 else FAILED
        job.exit_code, job.end_s, job.message = exit_code, time.time(), message[:MESSAGE]
        session.get_one(Task, job.task_id).state = job.state

    editor.change(work)


def cancel_job(editor: Editor, job_id: int) -> None:
    """Write that somebody cancels a job.

    Raises
    ------
    ConflictError : it has ended already
    """

    def work(session: Session) -> None:
        job = _job(session, job_id)
        if job.state != RUNNING:
            raise ConflictError(f"job {job_id}: it has ended already ({job.state})")
        job.state = CANCELLED
        task = session.get_one(Task, job.task_id)
        trial = session.get_one(Trial, task.trial_id)
        name = f"{trial.name} {task.stage} {task.subject}"
        before, after = {"state": RUNNING}, {"state": CANCELLED, "attempt": job.attempt}
        change = Change("cancel", "job", name, before, after)
        editor.note(session, trial.experiment_id, change)

    editor.change(work)


def _job(session: Session, job_id: int) -> Job:
    query = select(Job).where(Job.id == job_id).with_for_update()
    row = session.scalars(query).one_or_none()
    if row is None:
        raise CatalogError(f"job {job_id}: not in the catalog")
    return row
