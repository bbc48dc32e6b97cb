"""What programs put into the catalog: found, or added if it is not there; safe to repeat."""

import json
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Select, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from xfel_apps.catalog.models import Base, Experiment, Run, Tag, Trial
from xfel_apps.catalog.names import checked_name
from xfel_apps.catalog.parameters import Parameters

R = TypeVar("R", bound=Base)


def found_or_added(session: Session, query: Select[tuple[R]], make: Callable[[], R]) -> R:
    """Return the row that a query finds; made if there is none, by whoever is first."""
    row = session.scalars(query).one_or_none()
    if row is not None:
        return row
    try:
        with session.begin_nested():
            row = make()
            session.add(row)
        return row
    except IntegrityError:  # somebody else was faster
        return session.scalars(query).one()


def ensure_experiment(session: Session, name: str, results: str = "results") -> Experiment:
    """Return the experiment of this name."""
    query = select(Experiment).where(Experiment.name == checked_name(name, "experiment"))
    return found_or_added(
        session,
        query,
        lambda: Experiment(name=name, results=results, created_s=time.time()),
    )


def ensure_run(
    session: Session, experiment: Experiment, name: str, paths: Sequence[str] = ()
) -> Run:
    """Return the run of this name; its raw files are noted where they were not known."""
    own = Run.experiment_id == experiment.id
    row = found_or_added(
        session,
        select(Run).where(own, Run.name == checked_name(name, "run")),
        lambda: Run(experiment_id=experiment.id, name=name, created_s=time.time()),
    )
    if paths and not json.loads(row.paths):
        row.paths = json.dumps(list(paths))
    return row


def ensure_tag(session: Session, experiment_id: int, name: str) -> Tag:
    """Return the tag of this name."""
    own = Tag.experiment_id == experiment_id
    return found_or_added(
        session,
        select(Tag).where(own, Tag.name == checked_name(name, "tag")),
        lambda: Tag(experiment_id=experiment_id, name=name, created_s=time.time()),
    )


def ensure_trial(
    session: Session, experiment: Experiment, name: str, parameters: Parameters
) -> Trial:
    """Return the trial of this name; one that is there stays as it is."""
    own = Trial.experiment_id == experiment.id
    return found_or_added(
        session,
        select(Trial).where(own, Trial.name == checked_name(name, "trial")),
        lambda: Trial(
            experiment_id=experiment.id,
            number=next_trial(session, experiment.id, name),
            name=name,
            parameters=parameters.text,
            digest=parameters.digest,
            created_s=time.time(),
        ),
    )


def next_trial(session: Session, experiment_id: int, name: str = "") -> int:
    """Return the number of a new trial: that of its name if it is free, else the next one."""
    own = Trial.experiment_id == experiment_id
    if name.isdecimal() and len(name) < 9:
        taken = session.scalar(select(Trial.id).where(own, Trial.number == int(name)))
        if taken is None:
            return int(name)
    newest = session.scalar(select(func.max(Trial.number)).where(own))
    return 0 if newest is None else newest + 1
