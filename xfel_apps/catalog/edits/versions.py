"""Versions of datasets: a number is given out once, by the catalog.

Edits make a version due when a run joins or leaves. Who merges takes the number of that version,
or a new one where other files or settings want it (`take_version`), and says when it is made
(`record_version`).
"""

import time
from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from xfel_apps.catalog.models import Dataset, DatasetTag, Run, Tag, Trial, Version, VersionRun
from xfel_apps.catalog.queries.datasets import MADE, selection_of
from xfel_apps.catalog.queries.runs import tags_of

DUE = "due"
SUPERSEDED = "superseded"


def datasets_with_tags(session: Session, experiment_id: int, tag: str | None) -> list[int]:
    """Return the ids of datasets whose rules name a tag; with None, of all datasets."""
    query = select(Dataset.id).join(Trial, Trial.id == Dataset.trial_id)
    query = query.where(Trial.experiment_id == experiment_id).order_by(Dataset.id)
    if tag is not None:
        naming = select(DatasetTag.dataset_id).join(Tag, Tag.id == DatasetTag.tag_id)
        naming = naming.where(Tag.experiment_id == experiment_id, Tag.name == tag)
        query = query.where(Dataset.id.in_(naming))
    return list(session.scalars(query))


def renew_due(session: Session, experiment_id: int, datasets: Sequence[int]) -> None:
    """Make a version due of each dataset whose runs are no longer those of its newest versions.

    Whoever edits at the same time waits for the datasets, and then sees these runs.
    """
    session.flush()
    lock = select(Dataset.id).where(Dataset.id.in_(datasets)).order_by(Dataset.id)
    session.execute(lock.with_for_update()).all()
    tags = tags_of(session, experiment_id)
    for dataset_id in datasets:
        runs = selection_of(session, dataset_id).members(tags)
        _make_due(session, experiment_id, dataset_id, runs)


def _make_due(session: Session, experiment_id: int, dataset_id: int, runs: list[str]) -> None:
    """Make a version with these runs due, unless one that is made or due has them."""
    waiting = _waiting(session, dataset_id)
    for version in waiting:
        if runs_of(session, version) != runs:
            version.state = SUPERSEDED
    has_them = any(version.state == DUE for version in waiting)
    made = select(Version).where(Version.dataset_id == dataset_id, Version.state == MADE)
    has_them = has_them or any(runs_of(session, v) == runs for v in session.scalars(made))
    if runs and not has_them:
        number = newest_number(session, dataset_id) + 1
        _add(session, experiment_id, Version(dataset_id=dataset_id, number=number), runs)


def _waiting(session: Session, dataset_id: int) -> list[Version]:
    """Return the versions that are due and that no merge has taken up, newest first."""
    query = select(Version).where(Version.dataset_id == dataset_id)
    query = query.where(Version.state == DUE, Version.key == "")
    return list(session.scalars(query.order_by(Version.number.desc())))


def runs_of(session: Session, version: Version) -> list[str]:
    """Return the names of a version's runs, in order."""
    query = select(Run.name).join(VersionRun, VersionRun.run_id == Run.id)
    return sorted(session.scalars(query.where(VersionRun.version_id == version.id)))


def newest_number(session: Session, dataset_id: int) -> int:
    """Return the highest number of a dataset's versions; 0 if there are none."""
    query = select(func.max(Version.number)).where(Version.dataset_id == dataset_id)
    return session.scalar(query) or 0


def _add(session: Session, experiment_id: int, version: Version, runs: Sequence[str]) -> None:
    version.created_s = time.time()
    session.add(version)
    session.flush()
    query = select(Run.id).where(Run.experiment_id == experiment_id, Run.name.in_(runs))
    session.add_all(VersionRun(version_id=version.id, run_id=i) for i in session.scalars(query))
    session.flush()


def take_version(
    session: Session, dataset: Dataset, key: str, runs: Sequence[str], above: int
) -> int:
    """Return the number of the version that is made with a key; the same whenever asked.

    Parameters
    ----------
    dataset : whose
    key : digest of raw files and settings
    runs : that are merged
    above : highest number that a folder with another key has; numbers up to it are taken
    """
    lock = select(Dataset).where(Dataset.id == dataset.id).with_for_update()
    session.scalars(lock).one()
    known = select(Version).where(Version.dataset_id == dataset.id, Version.key == key)
    version = session.scalars(known.order_by(Version.number)).first()
    if version is not None:
        return version.number
    for version in _waiting(session, dataset.id):
        if version.number > above and runs_of(session, version) == sorted(runs):
            version.key = key
            return version.number
    number = max(above, newest_number(session, dataset.id)) + 1
    experiment_id = session.get_one(Trial, dataset.trial_id).experiment_id
    _add(session, experiment_id, Version(dataset_id=dataset.id, number=number, key=key), runs)
    return number


def record_version(
    session: Session, dataset: Dataset, number: int, key: str, runs: Sequence[str]
) -> Version:
    """Return the version that a folder holds, which is the truth; it counts as made.

    Where the catalog has promised its number to another one that is not made yet (it was made
    while the catalog did not answer), that one gets the next number.

    Parameters
    ----------
    number, key : of the folder
    runs : that were merged
    """
    lock = select(Dataset).where(Dataset.id == dataset.id).with_for_update()
    session.scalars(lock).one()
    own = Version.dataset_id == dataset.id
    version = session.scalars(select(Version).where(own, Version.number == number)).one_or_none()
    if version is not None and _is_promised(session, version, key, runs):
        version.number = newest_number(session, dataset.id) + 1
        session.flush()
        version = None
    if version is None:
        version = Version(dataset_id=dataset.id, number=number)
        experiment_id = session.get_one(Trial, dataset.trial_id).experiment_id
        _add(session, experiment_id, version, runs)
    version.key, version.state = key, MADE
    version.made_s = version.made_s or time.time()
    passed_over = update(Version).where(own, Version.state == DUE, Version.number < number)
    session.execute(passed_over.values(state=SUPERSEDED))
    return version


def _is_promised(session: Session, version: Version, key: str, runs: Sequence[str]) -> bool:
    """Return whether a version that is not made is meant for something else."""
    if version.state == MADE or version.key == key:
        return False
    return bool(version.key) or runs_of(session, version) != sorted(runs)
