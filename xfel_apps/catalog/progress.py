"""Runs, tasks and jobs of the catalog, as the files say how far they are."""

import json
from dataclasses import dataclass
from time import time

from sqlalchemy import select
from sqlalchemy.orm import Session

from xfel_apps.catalog.ensure import found_or_added
from xfel_apps.catalog.models import Job, Run, Task

GROWING, COMPLETE, SEALED = "growing", "complete", "sealed"
"""States of a run."""
RUNNING, FAILED, DONE = "running", "failed", "done"
"""States of a task, and of its newest job."""
PLACE = "workflow"
"""Where a job ran that only its files tell of."""
SILENT_S = 90.0
"""A stage without manifest that has written nothing for so long has stopped [s]."""


@dataclass(frozen=True)
class Work:
    """How far a task is, as its files say.

    Attributes
    ----------
    stage, subject : which task
    state : `RUNNING`, `FAILED` or `DONE`
    n_ranks, host : that worked on it
    start_s, end_s : of the work so far
    log : path of its log
    """

    stage: str
    subject: str
    state: str
    n_ranks: int
    host: str
    start_s: float
    end_s: float
    log: str


def note_run(session: Session, run_id: int, n_events: int | None, state: str) -> None:
    """Write how far a run is; its revision is that of what people edit."""
    run = session.get_one(Run, run_id)
    run.state = state
    if n_events is not None:
        run.n_events = n_events


def note_work(session: Session, trial_id: int, work: Work) -> None:
    """Write how far a task is, and its job.

    A job that somebody started from a page (it has another place) tells of itself.
    """
    own = (Task.trial_id == trial_id, Task.stage == work.stage, Task.subject == work.subject)
    task = found_or_added(
        session,
        select(Task).where(*own),
        lambda: Task(trial_id=trial_id, stage=work.stage, subject=work.subject, created_s=time()),
    )
    jobs = session.scalars(select(Job).where(Job.task_id == task.id).order_by(Job.attempt)).all()
    if any(job.place != PLACE and _is_meanwhile(job, work) for job in jobs):
        return
    job = jobs[-1] if jobs else None
    if job is None or job.place != PLACE or _is_over(job, work):
        attempt = job.attempt + 1 if job else 1
        job = Job(task_id=task.id, attempt=attempt, submitted_s=work.start_s, place=PLACE)
        session.add(job)
    task.state = job.state = work.state
    job.message = "it has stopped: nothing more was written" if work.state == FAILED else ""
    job.host, job.log_path = work.host, work.log
    job.resources = json.dumps({"ranks": work.n_ranks})
    job.start_s = work.start_s if job.start_s is None else min(job.start_s, work.start_s)
    job.end_s = work.end_s if work.state != RUNNING else None


def _is_meanwhile(job: Job, work: Work) -> bool:
    """Return whether a job ran while the work was done."""
    return job.submitted_s <= work.end_s and (job.end_s is None or job.end_s >= work.start_s)


def _is_over(job: Job, work: Work) -> bool:
    """Return whether a job had ended before the work began."""
    return job.end_s is not None and job.end_s < work.start_s
