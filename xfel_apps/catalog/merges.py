"""Merged data into the catalog: versions of datasets, with their statistics by resolution."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import time
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from xfel_apps.catalog.edits.versions import record_version
from xfel_apps.catalog.ensure import ensure_tag, found_or_added
from xfel_apps.catalog.models import Dataset, DatasetTag, MergeBin, Run, RunTag, Trial
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.errors import ContainerError

OVERALL = -1
"""Number of the shell that stands for all of them."""
BIN_COLUMNS = tuple(
    column.name
    for column in MergeBin.__table__.columns
    if column.name not in ("version_id", "shell")
)


def merged_files(trial: Path) -> list[Path]:
    """Return the manifests of all versions of a trial's datasets."""
    return sorted(trial.glob("datasets/*/v[0-9][0-9][0-9]*/merged.json"))


def note_version(session: Session, trial: Trial, path: Path) -> None:
    """Write what a manifest of merged data says; one that cannot be read is passed over."""
    try:
        manifest = MergedManifest.read(path)
    except ContainerError:
        return
    runs = sorted(manifest.inputs)
    dataset = _dataset(session, trial, path.parents[1].name, runs)
    number = int(path.parent.name[1:])
    version = record_version(session, dataset, number, manifest.key, runs)
    version.n_crystals = manifest.n_crystals
    version.n_observations = manifest.n_observations
    version.d_min_ang = manifest.d_min_ang
    version.space_group = manifest.space_group
    version.cell = " ".join(f"{value:.6g}" for value in manifest.cell)
    version.made_s = path.stat().st_mtime
    session.execute(delete(MergeBin).where(MergeBin.version_id == version.id))
    shells = [manifest.statistics["overall"], *manifest.statistics["shells"]]
    for shell, values in enumerate(shells, OVERALL):
        session.add(MergeBin(version_id=version.id, shell=shell, **_bin(values)))


def _bin(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a shell; what is not a number is not known."""
    found = {name: values.get(name) for name in BIN_COLUMNS}
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in found.items()
    }


def _dataset(session: Session, trial: Trial, name: str, runs: Sequence[str]) -> Dataset:
    """Return a dataset of the trial.

    One that nobody has made in the catalog takes every run if it has every run now; else its runs
    get its name as a tag, and it takes those.
    """
    own = (Dataset.trial_id == trial.id, Dataset.name == name)
    known = session.scalars(select(Dataset).where(*own)).one_or_none()
    if known is not None:
        return known
    made = Dataset(trial_id=trial.id, name=name, created_s=time())
    dataset = found_or_added(session, select(Dataset).where(*own), lambda: made)
    rows = session.scalars(select(Run).where(Run.experiment_id == trial.experiment_id)).all()
    if dataset is made and {row.name for row in rows} != set(runs):
        tag = ensure_tag(session, trial.experiment_id, name)
        session.add(DatasetTag(dataset_id=dataset.id, tag_id=tag.id, rule="any"))
        tagged = set(session.scalars(select(RunTag.run_id).where(RunTag.tag_id == tag.id)))
        members = [row.id for row in rows if row.name in runs]
        session.add_all(RunTag(run_id=i, tag_id=tag.id) for i in members if i not in tagged)
    session.flush()
    return dataset
