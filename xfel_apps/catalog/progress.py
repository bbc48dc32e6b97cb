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
RUNNING, STOPPED, DONE = "running", "stopped", "done"
"""States of a task, and of its newest job."""
SILENT_S = 90.0
"""A stage without manifest that has written nothing for so long has stopped [s]."""


@dataclass(frozen=True)
class Work:
    """How far a task is, as its files say.

    Attributes
    ----------
    stage, subject : which task
    state : `RUNNING`, `STOPPED` or `DONE`
    attempt : how often it was begun
    n_ranks, host : that worked on it
    start_s, end_s : of the work so far
    log : path of its log
    """

    stage: str
    subject: str
    state: str
    attempt: int
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
    """Write how far a task and its newest job are."""
    own = (Task.trial_id == trial_id, Task.stage == work.stage, Task.subject == work.subject)
    task = found_or_added(
        session,
        select(Task).where(*own),
        lambda: Task(trial_id=trial_id, stage=work.stage, subject=work.subject, created_s=time()),
    )
    job = found_or_added(
        session,
        select(Job).where(Job.task_id == task.id, Job.attempt == work.attempt),
        lambda: Job(task_id=task.id, attempt=work.attempt, submitted_s=work.start_s),
    )
    task.state = job.state = work.state
    job.host, job.log_path = work.host, work.log
    job.resources = json.dumps({"ranks": work.n_ranks})
    job.start_s = work.start_s if job.start_s is None else min(job.start_s, work.start_s)
    job.end_s = work.end_s if work.state != RUNNING else None
