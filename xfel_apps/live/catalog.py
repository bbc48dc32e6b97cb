"""What the catalog says while runs are processed live: datasets by tags, new trials, numbers.

It is asked every few seconds. While it does not answer, what it said last holds.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from xfel_apps.catalog.edits import Editor, add_runs, new_dataset
from xfel_apps.catalog.edits.whole import put_trial
from xfel_apps.catalog.engine import open_catalog
from xfel_apps.catalog.queries import datasets, experiments, runs, trials
from xfel_apps.catalog.selection import Selection
from xfel_apps.catalog.workflow import catalog_experiment, groups_of_catalog, version_folder
from xfel_apps.errors import CatalogError, SettingsError
from xfel_apps.experiment import Experiment

T = TypeVar("T")

ASK_EVERY_S = 2.0
AWAY_S = 20.0
"""A catalog that did not answer is left alone for so long [s]."""
EVERY_RUN = ["*"]
"""Pattern of `live.datasets` that means all runs."""
ACTOR = "live"


@dataclass(frozen=True)
class Choice:
    """Which runs are merged, as the catalog said last.

    Attributes
    ----------
    selections : dataset -> its rules
    tags : run -> its tags; a run that the catalog does not know yet has none
    groups : run groups, as an experiment file has them
    """

    selections: Mapping[str, Selection]
    tags: Mapping[str, Sequence[str]]
    groups: Mapping[str, Any]

    def datasets(self, runs: Sequence[str]) -> dict[str, list[str]]:
        """Return which of `runs` are merged into each dataset; no dataset is empty."""
        found = {
            name: [run for run in runs if selection.takes(self.tags.get(run, ()))]
            for name, selection in self.selections.items()
        }
        return {name: members for name, members in found.items() if members}


class LiveCatalog:
    """The catalog of a live experiment.

    Parameters
    ----------
    file : experiment of the live trial, which names the catalog

    Raises
    ------
    SettingsError, CatalogError : the URL is wrong, or it does not answer
    """

    def __init__(self, file: Experiment) -> None:
        self._catalog = open_catalog(file.catalog)
        self.url = str(self._catalog.url)
        self._name = file.experiment
        self._editor = Editor(self._catalog, file.experiment, ACTOR)
        self._known_runs: set[str] = set()
        self._given: dict[tuple[str, str, str], Path] = {}
        self._away_s = self._asked_s = 0.0

    def settings(self, file: Experiment) -> Experiment:
        """Return the experiment of a file with the settings of its trial in the catalog.

        A trial that is not there is put there, with the file's settings, and with the datasets of
        `live.datasets`, which take every run; others are made by their tags.

        Raises
        ------
        SettingsError : a setting or dataset of the file contradicts the catalog
        """
        for name, patterns in file.live.datasets.items():
            if patterns != EVERY_RUN:
                raise SettingsError(
                    f"live.datasets.{name}: with a catalog the runs of a dataset are chosen by "
                    f"tags: `xfelflow dataset new {name} --trial {file.trial} --any TAG`"
                )
        with self._catalog.reading() as session:
            is_known = any(row.name == self._name for row in experiments(session))
            names = [row.name for row in trials(session, self._name)] if is_known else []
        if file.trial not in names:
            put_trial(self._editor, file)
            for name in file.live.datasets:
                new_dataset(self._editor, file.trial, name, Selection())
        with self._catalog.reading() as session:
            return catalog_experiment(session, file)

    def is_time(self) -> bool:
        """Return whether it is to be asked again."""
        now_s = time.monotonic()
        if now_s < max(self._asked_s + ASK_EVERY_S, self._away_s):
            return False
        self._asked_s = now_s
        return True

    def put_runs(self, seen: Mapping[str, list[str]]) -> None:
        """Make runs known with their raw files; a run that is there stays as it is."""
        new = seen.keys() - self._known_runs
        if new:
            self._asked(lambda: self._put_runs({name: seen[name] for name in new}))
            self._known_runs |= new

    def _put_runs(self, new: Mapping[str, list[str]]) -> None:
        with self._catalog.reading() as session:
            there = {run.name for run in runs(session, self._name) if run.paths}
        add_runs(self._editor, {name: new[name] for name in new.keys() - there})

    def choice(self, trial: str) -> "Choice":
        """Return which runs the datasets of a trial take now."""

        def ask() -> Choice:
            with self._catalog.reading() as session:
                tags = {run.name: run.tags for run in runs(session, self._name)}
                found = datasets(session, self._name, trial)
                groups = groups_of_catalog(session, self._name)
            rules = {d.name: Selection(d.any, d.all, d.none) for d in found}
            return Choice(rules, tags, groups)

        return self._asked(ask)

    def trials_after(self, trial: str) -> list[str]:
        """Return the trials that somebody has made after this one and given a dataset."""

        def ask() -> list[str]:
            with self._catalog.reading() as session:
                known = trials(session, self._name)
                merged = {row.trial for row in datasets(session, self._name)}
            number = next(row.number for row in known if row.name == trial)
            later = [row for row in known if row.number > number and row.actor]
            return [row.name for row in later if row.name in merged]

        return self._asked(ask)

    def folder(
        self, experiment: Experiment, dataset: str, key: str, members: Sequence[str]
    ) -> Path:
        """Return the folder of a dataset's version with this key.

        The number is the catalog's. While that does not answer, it is one above all numbers that
        are known; the catalog then learns of it from the files.
        """
        place = experiment.trial, dataset, key
        if place not in self._given:
            try:
                self._given[place] = self._asked(
                    lambda: version_folder(self._catalog, experiment, dataset, key, members)
                )
            except CatalogError:
                return self._next_folder(experiment, dataset, key)
        return self._given[place]

    def _next_folder(self, experiment: Experiment, dataset: str, key: str) -> Path:
        """Return the folder with this key, else one above all that are made or were given out."""
        made = experiment.versions_made(dataset)
        of = (experiment.trial, dataset)
        given = [int(path.name[1:]) for place, path in self._given.items() if place[:2] == of]
        same = [number for number, made_with in made.items() if made_with == key]
        number = min(same) if same else max([0, *made, *given]) + 1
        return experiment.numbered_folder(dataset, number)

    def _asked(self, ask: Callable[[], T]) -> T:
        """Return an answer; a catalog that did not give one is not asked again for a while."""
        if time.monotonic() < self._away_s:
            raise CatalogError(f"catalog {self.url}: does not answer")
        try:
            return ask()
        except CatalogError:
            self._away_s = time.monotonic() + AWAY_S
            raise
