"""What the workflow works on: runs, settings and datasets, of a file or of the catalog."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from xfel_apps.catalog import queries
from xfel_apps.catalog.edits.versions import take_version
from xfel_apps.catalog.engine import Catalog, open_catalog
from xfel_apps.catalog.find import find_dataset
from xfel_apps.catalog.parameters import SECTIONS
from xfel_apps.containers.manifest import write_text
from xfel_apps.errors import CatalogAwayError, SettingsError
from xfel_apps.experiment import Experiment

KEPT = "catalog.json"
"""What the catalog said last, in the trial's folder."""


@dataclass(frozen=True)
class Merge:
    """A version of a dataset that is merged.

    Attributes
    ----------
    folder : of its files
    key : digest of raw files and settings
    runs : that are merged
    """

    folder: Path
    key: str
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Work:
    """What the workflow works on.

    Attributes
    ----------
    experiment : runs with their raw files, settings, datasets with their runs
    merges : dataset -> the version that is to be made, or is made already
    given : (dataset, name of a version) -> versions that were begun with runs of that time; a job
        of theirs still finds these, whatever has been tagged meanwhile
    """

    experiment: Experiment
    merges: Mapping[str, Merge]
    given: Mapping[tuple[str, str], Merge]

    def merge(self, dataset: str, version: str) -> Merge:
        """Return a version of a dataset."""
        current = self.merges.get(dataset)
        if current is not None and current.folder.name == version:
            return current
        try:
            return self.given[dataset, version]
        except KeyError:
            known = current.folder.name if current is not None else "none"
            raise SettingsError(
                f"dataset {dataset}: no version {version} was begun; the present one is {known}"
            ) from None

    @property
    def datasets(self) -> list[str]:
        """Names of all datasets that can be merged."""
        return sorted({*self.merges, *(name for name, _ in self.given)})


def work_of(config: Mapping[str, Any]) -> Work:
    """Return what a workflow with this config works on.

    Runs and datasets are those of the experiment file where it names runs; else those of the
    catalog that it names, with the settings of its trial.

    Raises
    ------
    SettingsError : there is no run, or the file contradicts the catalog's trial
    CatalogError : the catalog does not answer, or lacks the experiment or trial
    """
    experiment = Experiment.checked(config)
    if experiment.runs:
        return _of_file(experiment)
    if experiment.catalog:
        return _of_catalog(experiment)
    raise SettingsError(
        "the experiment names no runs; give an experiment file: "
        "snakemake --profile local --configfile experiment.yaml"
    )


def _of_file(experiment: Experiment) -> Work:
    merges = {}
    for name, runs in experiment.datasets.items():
        key = experiment.dataset_key(name)
        merges[name] = Merge(experiment.version_folder(name, key), key, tuple(runs))
    return Work(experiment, merges, {})


def _of_catalog(file: Experiment) -> Work:
    """Return what the catalog says; while it does not answer, what it said last.

    A job on another node asks again, and must not fail because a server restarts.
    """
    kept = file.folder / KEPT
    try:
        work = _asked(file)
    except CatalogAwayError as err:
        if not kept.is_file():
            raise
        print(f"warning: {err}; going on with what it said last: {kept}", file=sys.stderr)
        return _read(kept)
    text = _text(work)
    if not kept.is_file() or kept.read_text() != text:
        write_text(kept, text)
    return work


def _text(work: Work) -> str:
    versions = [(*name, asdict(merge)) for name, merge in work.given.items()]
    merges = {name: asdict(merge) for name, merge in work.merges.items()}
    content = {"experiment": work.experiment.model_dump(mode="json")}
    return json.dumps({**content, "merges": merges, "given": versions}, indent=1, default=str)


def _read(path: Path) -> Work:
    """Return the work that was kept."""

    def merge(data: Mapping[str, Any]) -> Merge:
        return Merge(Path(data["folder"]), data["key"], tuple(data["runs"]))

    content = json.loads(path.read_text())
    given = {(dataset, version): merge(data) for dataset, version, data in content["given"]}
    merges = {name: merge(data) for name, data in content["merges"].items()}
    return Work(Experiment.checked(content["experiment"]), merges, given)


def _asked(file: Experiment) -> Work:
    catalog = open_catalog(file.catalog, must_exist=True)
    with catalog.reading() as session:
        experiment = catalog_experiment(session, file)
        given = _given(session, experiment)
    if not experiment.runs:
        raise SettingsError(
            f"experiment {file.experiment}: the catalog has no runs; `xfelflow run add` adds them"
        )
    merges = {}
    for name, runs in experiment.datasets.items():
        key = experiment.dataset_key(name)
        folder = version_folder(catalog, experiment, name, key, runs)
        merges[name] = Merge(folder, key, tuple(runs))
    return Work(experiment, merges, given)


def catalog_experiment(session: Session, file: Experiment) -> Experiment:
    """Return the experiment of a file with runs, groups, settings and datasets of the catalog.

    Parameters
    ----------
    file : says which experiment and trial, where results go, how live processing works

    Raises
    ------
    SettingsError : the file gives a setting that the trial has otherwise
    CatalogError : the experiment or trial is not in the catalog
    """
    trial = queries.trial(session, file.experiment, file.trial)
    _refuse_other_settings(file, trial)
    runs = {run.name: list(run.paths) for run in queries.runs(session, file.experiment)}
    runs = {name: paths for name, paths in sorted(runs.items()) if paths}
    members = {
        dataset.name: [run for run in dataset.runs if run in runs]
        for dataset in queries.datasets(session, file.experiment, trial.name)
    }
    kept = file.model_dump(mode="json", exclude={"preset", *SECTIONS})
    datasets = {name: names for name, names in members.items() if names}
    groups = groups_of_catalog(session, file.experiment)
    changed = {"trial": trial.name, "runs": runs, "datasets": datasets, "groups": groups}
    return Experiment.checked({**kept, **trial.parameters, **changed})


def groups_of_catalog(session: Session, experiment: str) -> dict[str, dict[str, Any]]:
    """Return the run groups as an experiment file has them."""
    return {
        row.name: {"first": row.first_run, "last": row.last_run, "ingest": dict(row.settings)}
        for row in queries.groups(session, experiment)
    }


def _refuse_other_settings(file: Experiment, trial: queries.TrialInfo) -> None:
    """Refuse settings of the file that are neither defaults nor the trial's."""
    default = Experiment()
    other = []
    for name in SECTIONS:
        given = file.section(name).model_dump(mode="json")
        usual = default.section(name).model_dump(mode="json")
        frozen = trial.parameters.get(name, {})
        other += [
            f"{name}.{key}"
            for key, value in given.items()
            if value != usual[key] and value != frozen.get(key)
        ]
    if other:
        raise SettingsError(
            f"trial {trial.name} has other settings in the catalog than the experiment file: "
            f"{', '.join(other)}; leave them out, or make a trial: `xfelflow trial new "
            f"--from {trial.name} --config FILE`"
        )


def _given(session: Session, experiment: Experiment) -> dict[tuple[str, str], Merge]:
    """Return the versions that were begun."""
    name, trial = experiment.experiment, experiment.trial
    return {
        (dataset.name, version.name): Merge(
            experiment.numbered_folder(dataset.name, version.number), version.key, version.runs
        )
        for dataset in queries.datasets(session, name, trial)
        for version in queries.versions(session, name, trial, dataset.name)
        if version.key
    }


def version_folder(
    catalog: Catalog, experiment: Experiment, dataset: str, key: str, runs: Sequence[str]
) -> Path:
    """Return the folder of the dataset's version with this key; the catalog gives its number.

    Parameters
    ----------
    experiment : says which one it is in the catalog, and where its files are
    runs : that are merged
    """
    made = experiment.versions_made(dataset)
    numbers = [number for number, made_with in made.items() if made_with == key]
    if numbers:
        return experiment.numbered_folder(dataset, min(numbers))

    def take(session: Session) -> int:
        row = find_dataset(session, experiment.experiment, experiment.trial, dataset)
        return take_version(session, row, key, runs, max(made, default=0))

    return experiment.numbered_folder(dataset, catalog.change(take))
