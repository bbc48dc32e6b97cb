"""A trial that is processed live: its settings, and the experiment file of what is sealed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from xfel_apps.catalog.parameters import SECTIONS
from xfel_apps.config import read_yaml
from xfel_apps.containers.manifest import write_text
from xfel_apps.errors import CatalogError, SettingsError
from xfel_apps.experiment import STAGES, Experiment
from xfel_apps.live.catalog import Choice, LiveCatalog
from xfel_apps.live.layout import experiment_file
from xfel_apps.live.queue import LIVE_FIRST, REPROCESS_LAST
from xfel_apps.live.watch import matches

MARK = "# Written by `xfelflow live`: the runs that are done. `snakemake --configfile` takes it.\n"


class LiveTrial:
    """One trial, read from its experiment file, or from the catalog that the file names.

    Parameters
    ----------
    path : experiment file (YAML)
    live : the live trial that this one reprocesses the runs of; None for the live trial itself
    name : of a trial in the live trial's catalog, whose file `path` is; None: that of the file

    Attributes
    ----------
    catalog : says which runs are merged, and numbers the versions; None where no file names one
    choice : which runs are merged, as the catalog said last; None without catalog
    """

    def __init__(
        self, path: Path, live: "LiveTrial | None" = None, name: str | None = None
    ) -> None:
        self.path, self._live, self._name = path, live, name
        self.catalog: LiveCatalog | None = live.catalog if live else None
        self._data = self._read()
        self.experiment = Experiment.checked(self._data)
        self.choice: Choice | None = None
        self.ask_catalog()
        self._read_at_ns = path.stat().st_mtime_ns
        self._check_folder()
        self.folder = self.experiment.folder.absolute()
        self._check_settings()

    def _read(self) -> dict[str, Any]:
        """Return what the file says; with a catalog, with the settings of the trial there."""
        data = read_yaml(self.path)
        if self._name is not None:
            kept = {key: value for key, value in data.items() if key not in (*SECTIONS, "preset")}
            data = {**kept, "trial": self._name}
        file = Experiment.checked(data)
        if self.catalog is None and file.catalog and self._live is None:
            self.catalog = LiveCatalog(file)
        if self.catalog is None:
            return data
        settings = self.catalog.settings(file).model_dump(mode="json")
        data.pop("preset", None)
        changed = {name: settings[name] for name in SECTIONS}
        return {**data, **changed, "catalog": self.catalog.url, "trial": settings["trial"]}

    def _check_folder(self) -> None:
        if self._live is None:
            return
        mine, first = self.experiment, self._live.experiment
        if Path(mine.results).absolute() != Path(first.results).absolute():
            raise SettingsError(
                f"{self.path}: results is {mine.results}, but {first.results} in "
                f"{self._live.path}; all trials of a daemon have the same"
            )
        if mine.trial == first.trial:
            raise SettingsError(
                f"{self.path}: trial {mine.trial} is that of {self._live.path} too; "
                "give each set of settings a trial of its own"
            )

    def _check_settings(self) -> None:
        """Refuse a trial that was begun with other settings of a stage."""
        try:
            before = Experiment.checked(json.loads(experiment_file(self.folder).read_text()))
        except (FileNotFoundError, NotADirectoryError):
            return
        except (OSError, ValueError) as err:
            raise SettingsError(f"{experiment_file(self.folder)}: not readable ({err})") from err
        if changed := other_stages(before, self.experiment):
            raise SettingsError(
                f"{self.path}: trial {self.name} in {self.experiment.results} was begun with other "
                f"settings of {', '.join(changed)}; choose another name: `trial: ...`"
            )

    @property
    def name(self) -> str:
        """Name of the trial."""
        return self.experiment.trial

    @property
    def priority(self) -> int:
        """Where its chunks stand in the queue."""
        return LIVE_FIRST if self._live is None else REPROCESS_LAST

    def renew(self) -> str | None:
        """Read the experiment file again if it has changed; return what is to be said of it.

        What is watched, left out and merged may change; the settings of the stages may not.
        """
        try:
            changed_ns = self.path.stat().st_mtime_ns
            if changed_ns == self._read_at_ns:
                return None
            self._read_at_ns = changed_ns
            data = self._read()
            new = Experiment.checked(data)
        except (OSError, SettingsError, CatalogError) as err:
            return f"{self.path} has changed and is left aside: {err}"
        if (new.trial, new.results) != (self.experiment.trial, self.experiment.results):
            return f"{self.path} has changed and is left aside: another trial or results folder"
        if changed := other_stages(self.experiment, new):
            return (
                f"{self.path} has changed and is left aside: other settings of "
                f"{', '.join(changed)} need another trial and a new start"
            )
        self._data, self.experiment = data, new
        return f"{self.path} has changed and was read again"

    def ask_catalog(self) -> None:
        """Learn from the catalog which runs are merged and how runs are grouped."""
        if self.catalog is None:
            return
        self.choice = self.catalog.choice(self.name)
        if self._data.get("groups", {}) != self.choice.groups:
            self._data = {**self._data, "groups": dict(self.choice.groups)}
            self.experiment = Experiment.checked(self._data)

    def is_excluded(self, run: str) -> bool:
        """Return whether a run is left alone."""
        first = self._live.is_excluded(run) if self._live else False
        return first or self._is_unwanted(run) or matches(run, self.experiment.live.exclude)

    def _is_unwanted(self, run: str) -> bool:
        """Return whether the run is in no dataset of a trial that only the catalog names."""
        if self._name is None or self.choice is None:
            return False
        return not self.choice.datasets([run])

    def datasets(self, runs: Sequence[str]) -> dict[str, list[str]]:
        """Return which of `runs` are merged into each dataset; no dataset is empty."""
        if self.choice is not None:
            return self.choice.datasets(runs)
        return datasets_of(self.experiment.live.datasets, runs)

    def version_folder(
        self, experiment: Experiment, dataset: str, key: str, runs: Sequence[str]
    ) -> Path:
        """Return the folder of a dataset's version with this key.

        Parameters
        ----------
        experiment : of this trial
        runs : that are merged
        """
        if self.catalog is None:
            return experiment.version_folder(dataset, key)
        return self.catalog.folder(experiment, dataset, key, runs)

    def experiment_of(
        self, runs: Mapping[str, list[str]], datasets: Mapping[str, list[str]]
    ) -> Experiment:
        """Return the experiment of some runs, as the batch would be given it.

        Parameters
        ----------
        runs : run -> its raw files, as an experiment file names them
        datasets : dataset -> runs
        """
        return Experiment.checked(self._batch(runs, datasets))

    def _batch(
        self, runs: Mapping[str, list[str]], datasets: Mapping[str, list[str]]
    ) -> dict[str, Any]:
        results = str(Path(self.experiment.results).absolute())
        changed = {"results": results, "runs": dict(runs), "datasets": dict(datasets)}
        return {**self._data, **changed}

    def write_settings(self, runs: Mapping[str, list[str]]) -> None:
        """Write what crews and the sealing read: settings, and the raw files of all runs."""
        content = self.experiment_of(runs, {}).model_dump(mode="json")
        _write_if_new(experiment_file(self.folder), json.dumps(content, indent=1) + "\n")

    def write_sealed(
        self, runs: Mapping[str, list[str]], datasets: Mapping[str, list[str]]
    ) -> None:
        """Write the experiment file of the runs that are sealed, for the batch."""
        text = MARK + yaml.safe_dump(self._batch(runs, datasets), sort_keys=False)
        _write_if_new(self.folder / "experiment.yaml", text)


def other_stages(one: Experiment, other: Experiment) -> list[str]:
    """Return the stages whose settings differ."""
    return [s for s in STAGES if one.section(s).canonical() != other.section(s).canonical()]


def _write_if_new(path: Path, text: str) -> None:
    try:
        if path.read_text() == text:
            return
    except (OSError, UnicodeDecodeError):
        pass
    write_text(path, text)


def datasets_of(patterns: Mapping[str, Sequence[str]], runs: Sequence[str]) -> dict[str, list[str]]:
    """Return which of `runs` are merged into each dataset; no dataset is empty.

    >>> datasets_of({"all": ["*"], "late": ["r3*"]}, ["r1", "r2"])
    {'all': ['r1', 'r2']}
    """
    found = {name: [run for run in runs if matches(run, p)] for name, p in patterns.items()}
    return {name: members for name, members in found.items() if members}
