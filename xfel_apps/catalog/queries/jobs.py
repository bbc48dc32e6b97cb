"""Jobs, who changed what, and whether anything has changed at all."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from xfel_apps.catalog.find import find_experiment
from xfel_apps.catalog.models import Audit, Job, Part, Run, Task, Trial, Version
from xfel_apps.catalog.queries.rows import AuditInfo, JobInfo
from xfel_apps.errors import CatalogError


def jobs(
    session: Session, experiment: str, states: Sequence[str] = (), limit: int = 200
) -> list[JobInfo]:
    """Return the newest jobs of an experiment, newest first; with `states` only those."""
    owner = find_experiment(session, experiment)
    query = select(Job, Task, Trial.name).join(Task, Task.id == Job.task_id)
    query = query.join(Trial, Trial.id == Task.trial_id).where(Trial.experiment_id == owner.id)
    if states:
        query = query.where(Job.state.in_(states))
    rows = session.execute(query.order_by(Job.id.desc()).limit(limit))
    return [_job(job, task, trial) for job, task, trial in rows]


def job(session: Session, job_id: int) -> JobInfo:
    """Return one job."""
    query = select(Job, Task, Trial.name).join(Task, Task.id == Job.task_id)
    query = query.join(Trial, Trial.id == Task.trial_id).where(Job.id == job_id)
    row = session.execute(query).one_or_none()
    if row is None:
        raise CatalogError(f"job {job_id}: not in the catalog")
    return _job(*row)


def _job(row: Job, task: Task, trial: str) -> JobInfo:
    same = ("id", "attempt", "state", "place", "host", "log_path", "message")
    times = ("submitted_s", "start_s", "end_s", "exit_code")
    return JobInfo(
        trial=trial,
        stage=task.stage,
        subject=task.subject,
        resources=json.loads(row.resources),
        **{name: getattr(row, name) for name in (*same, *times)},
    )


def audit(session: Session, experiment: str, limit: int = 200) -> list[AuditInfo]:
    """Return the newest changes, newest first."""
    owner = find_experiment(session, experiment)
    query = select(Audit).where(Audit.experiment_id == owner.id)
    rows = session.scalars(query.order_by(Audit.id.desc()).limit(limit))
    return [
        AuditInfo(
            id=row.id,
            at_s=row.at_s,
            actor=row.actor,
            action=row.action,
            kind=row.kind,
            subject=row.subject,
            before=_value(row.before),
            after=_value(row.after),
        )
        for row in rows
    ]


def _value(text: str) -> Any:
    return json.loads(text) if text else None


def pulse(session: Session, experiment: str) -> tuple[object, ...]:
    """Return what is another one whenever anything of an experiment has changed; cheap to ask."""
    owner = find_experiment(session, experiment)
    of_trials = select(Trial.id).where(Trial.experiment_id == owner.id)
    of_tasks = select(Task.id).where(Task.trial_id.in_(of_trials))
    queries = (
        select(func.max(Audit.id)).where(Audit.experiment_id == owner.id),
        select(func.count(), func.sum(Part.n_rows)).where(Part.trial_id.in_(of_trials)),
        select(func.count(), func.max(Run.revision)).where(Run.experiment_id == owner.id),
        select(func.count(), func.max(Version.id), func.max(Version.made_s)),
        select(func.count(), func.max(Job.start_s), func.max(Job.end_s)).where(
            Job.task_id.in_(of_tasks)
        ),
    )
    return tuple(value for query in queries for value in session.execute(query).one())
