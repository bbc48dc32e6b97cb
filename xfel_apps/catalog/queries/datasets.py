"""Trials, datasets, their versions and merge statistics."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from xfel_apps.catalog.find import find_dataset, find_experiment, find_trial
from xfel_apps.catalog.models import (
    Dataset,
    DatasetTag,
    MergeBin,
    Run,
    Tag,
    Trial,
    Version,
    VersionRun,
)
from xfel_apps.catalog.queries.rows import (
    BinInfo,
    Cell,
    DatasetInfo,
    Difference,
    TrialInfo,
    VersionInfo,
)
from xfel_apps.catalog.queries.runs import tags_of
from xfel_apps.catalog.selection import Selection

MADE = "made"
OVERALL = -1
"""Number of the bin that holds all reflections."""


def trials(session: Session, experiment: str) -> list[TrialInfo]:
    """Return the trials of an experiment by number."""
    owner = find_experiment(session, experiment)
    query = select(Trial).where(Trial.experiment_id == owner.id).order_by(Trial.number)
    rows = session.scalars(query).all()
    names = {row.id: row.name for row in rows}
    return [_trial(row, names) for row in rows]


def trial(session: Session, experiment: str, name: str) -> TrialInfo:
    """Return one trial, by its name or number."""
    row = find_trial(session, experiment, name)
    parent = session.get(Trial, row.parent_id) if row.parent_id else None
    return _trial(row, {parent.id: parent.name} if parent else {})


def _trial(row: Trial, names: Mapping[int, str]) -> TrialInfo:
    return TrialInfo(
        id=row.id,
        number=row.number,
        name=row.name,
        digest=row.digest,
        parent=names[row.parent_id] if row.parent_id else "",
        comment=row.comment,
        actor=row.actor,
        created_s=row.created_s,
        parameters=json.loads(row.parameters),
    )


def differences(one: TrialInfo, other: TrialInfo) -> list[Difference]:
    """Return the settings that two trials have differently, in order of their keys."""
    before, after = _flat(one.parameters), _flat(other.parameters)
    return [
        Difference(key, before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return `section.key` -> value.

    >>> _flat({"index": {"cell": "1 2 3", "limits": {"d": 2.0}}})
    {'index.cell': '1 2 3', 'index.limits.d': 2.0}
    """
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


def datasets(session: Session, experiment: str, trial: str | None = None) -> list[DatasetInfo]:
    """Return the datasets of a trial, or of all trials, in order of trial and name."""
    owner = find_experiment(session, experiment)
    query = select(Dataset, Trial.name).join(Trial).where(Trial.experiment_id == owner.id)
    if trial is not None:
        query = query.where(Trial.id == find_trial(session, experiment, trial).id)
    tags = tags_of(session, owner.id)
    rows = session.execute(query.order_by(Trial.number, Dataset.name)).all()
    return [_dataset(session, row, name, tags) for row, name in rows]


def dataset(session: Session, experiment: str, trial: str, name: str) -> DatasetInfo:
    """Return one dataset."""
    row = find_dataset(session, experiment, trial, name)
    owner = find_experiment(session, experiment)
    of_trial = find_trial(session, experiment, trial).name
    return _dataset(session, row, of_trial, tags_of(session, owner.id))


def _dataset(
    session: Session, row: Dataset, trial: str, tags: Mapping[str, set[str]]
) -> DatasetInfo:
    selection = selection_of(session, row.id)
    runs = tuple(selection.members(tags))
    known = _versions(session, row.id)
    made = [version for version in known if version.state == MADE]
    return DatasetInfo(
        id=row.id,
        trial=trial,
        name=row.name,
        revision=row.revision,
        created_s=row.created_s,
        any=selection.any,
        all=selection.all,
        none=selection.none,
        runs=runs,
        version=max((version.number for version in known), default=0),
        made=max((version.number for version in made), default=0),
        is_due=bool(runs) and runs not in [version.runs for version in made],
    )


def selection_of(session: Session, dataset_id: int) -> Selection:
    """Return the rules of a dataset."""
    query = select(DatasetTag.rule, Tag.name).join(Tag, Tag.id == DatasetTag.tag_id)
    rows = session.execute(query.where(DatasetTag.dataset_id == dataset_id))
    return Selection.of([(rule, tag) for rule, tag in rows])


def versions(session: Session, experiment: str, trial: str, dataset: str) -> list[VersionInfo]:
    """Return the versions of a dataset by number."""
    return _versions(session, find_dataset(session, experiment, trial, dataset).id)


def _versions(session: Session, dataset_id: int) -> list[VersionInfo]:
    query = select(Version).where(Version.dataset_id == dataset_id).order_by(Version.number)
    rows = session.scalars(query).all()
    ids = [row.id for row in rows]
    runs: dict[int, list[str]] = {version_id: [] for version_id in ids}
    named = select(VersionRun.version_id, Run.name).join(Run, Run.id == VersionRun.run_id)
    for version_id, run in session.execute(named.where(VersionRun.version_id.in_(ids))):
        runs[version_id].append(run)
    of_all = select(MergeBin).where(MergeBin.version_id.in_(ids), MergeBin.shell == OVERALL)
    overall = {row.version_id: _bin(row) for row in session.scalars(of_all)}
    return [_version(row, runs[row.id], overall.get(row.id)) for row in rows]


def _version(row: Version, runs: list[str], overall: BinInfo | None) -> VersionInfo:
    return VersionInfo(
        id=row.id,
        number=row.number,
        name=version_name(row.number),
        state=row.state,
        key=row.key,
        runs=tuple(sorted(runs)),
        created_s=row.created_s,
        made_s=row.made_s,
        n_crystals=row.n_crystals,
        n_observations=row.n_observations,
        d_min_ang=row.d_min_ang,
        space_group=row.space_group,
        cell=_cell(row.cell),
        overall=overall,
    )


def version_name(number: int) -> str:
    """Return the name of a version's folder.

    >>> version_name(3)
    'v003'
    """
    return f"v{number:03d}"


def _cell(text: str) -> Cell | None:
    if not text:
        return None
    a, b, c, alpha, beta, gamma = map(float, text.split())
    return a, b, c, alpha, beta, gamma


def merge_bins(session: Session, version_id: int) -> list[BinInfo]:
    """Return the merge statistics of a version by resolution bin, without that of all."""
    query = select(MergeBin).where(MergeBin.version_id == version_id, MergeBin.shell != OVERALL)
    return [_bin(row) for row in session.scalars(query.order_by(MergeBin.shell))]


def _bin(row: MergeBin) -> BinInfo:
    return BinInfo(**{name: getattr(row, name) for name in BinInfo.__dataclass_fields__})
