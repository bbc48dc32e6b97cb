"""Find a row by its name, or say which names there are."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from xfel_apps.catalog.models import Dataset, Experiment, Run, Trial
from xfel_apps.errors import CatalogError

N_SHOWN = 20


def find_experiment(session: Session, name: str) -> Experiment:
    """Return an experiment."""
    found = session.scalars(select(Experiment).where(Experiment.name == name)).one_or_none()
    if found is None:
        known = session.scalars(select(Experiment.name).order_by(Experiment.name)).all()
        raise unknown("experiment", name, known)
    return found


def find_run(session: Session, experiment: str, name: str) -> Run:
    """Return a run of an experiment."""
    owner = find_experiment(session, experiment)
    own = Run.experiment_id == owner.id
    found = session.scalars(select(Run).where(own, Run.name == name)).one_or_none()
    if found is None:
        raise unknown("run", name, session.scalars(select(Run.name).where(own)).all())
    return found


def find_trial(session: Session, experiment: str, name: str) -> Trial:
    """Return a trial of an experiment by its name, or its number."""
    owner = find_experiment(session, experiment)
    own = Trial.experiment_id == owner.id
    found = session.scalars(select(Trial).where(own, Trial.name == name)).one_or_none()
    if found is None and name.isdecimal() and len(name) < 9:
        found = session.scalars(select(Trial).where(own, Trial.number == int(name))).one_or_none()
    if found is None:
        raise unknown("trial", name, session.scalars(select(Trial.name).where(own)).all())
    return found


def find_dataset(session: Session, experiment: str, trial: str, name: str) -> Dataset:
    """Return a dataset of a trial."""
    own = Dataset.trial_id == find_trial(session, experiment, trial).id
    found = session.scalars(select(Dataset).where(own, Dataset.name == name)).one_or_none()
    if found is None:
        known = session.scalars(select(Dataset.name).where(own)).all()
        raise unknown(f"dataset of trial {trial}", name, known)
    return found


def unknown(what: str, name: str, known: Sequence[str]) -> CatalogError:
    """Return the error that something is not in the catalog, with what is."""
    names = sorted(known)
    shown = ", ".join(names[:N_SHOWN]) + (", ..." if len(names) > N_SHOWN else "")
    return CatalogError(f"{what} {name!r}: not in the catalog; known: {shown or 'none'}")
