"""The catalog catches up with the containers: safe to repeat, from any state, also from nothing."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from xfel_apps.catalog.engine import Catalog
from xfel_apps.catalog.ensure import ensure_experiment, ensure_run, ensure_trial
from xfel_apps.catalog.merges import merged_files, note_version
from xfel_apps.catalog.models import Trial
from xfel_apps.catalog.names import checked_name
from xfel_apps.catalog.parameters import Parameters
from xfel_apps.catalog.parts import StageKey, manifest_of
from xfel_apps.catalog.progress import (
    COMPLETE,
    GROWING,
    SEALED,
    note_run,
    note_work,
)
from xfel_apps.catalog.stages import StageReader, Waiting
from xfel_apps.containers.events import EVENTS
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.containers.results import LIVE, PER_SHOT, is_run
from xfel_apps.errors import CatalogError, ContainerError, XfelError
from xfel_apps.experiment import Experiment


@dataclass(frozen=True)
class Source:
    """Whose results they are, and where they lie.

    Attributes
    ----------
    experiment : its name in the catalog
    results : folder of all trials
    trials : trials that are looked at, with their settings; empty: all there are
    """

    experiment: str
    results: Path
    trials: Mapping[str, Experiment]

    def folders(self) -> list[Path]:
        """Return the folders of the trials."""
        if self.trials:
            return [self.results / name for name in sorted(self.trials)]
        found = [path for path in sorted(self.results.iterdir()) if _is_named(path)]
        return [path for path in found if (path / LIVE).is_dir() or any(_runs(path))]


def _is_named(folder: Path) -> bool:
    """Return whether a folder can be that of a trial or run."""
    try:
        checked_name(folder.name, "run")
    except CatalogError:
        return False
    return folder.is_dir() and folder.name != LIVE


def _runs(trial: Path) -> Iterator[Path]:
    """Yield the folders of a trial's runs, live ones too."""
    for path in sorted(trial.iterdir()) if trial.is_dir() else ():
        if _is_named(path) and (is_run(path) or (path / LIVE).is_dir()):
            yield path


class Sync:
    """Brings what is new into the catalog, each time it looks.

    Parameters
    ----------
    catalog : where to
    source : where from
    """

    def __init__(self, catalog: Catalog, source: Source) -> None:
        self._catalog, self._source = catalog, source
        self._trials: dict[Path, int] = {}
        self._runs: dict[Path, list[StageReader]] = {}
        self._run_ids: dict[Path, int] = {}
        self._n_events: dict[Path, tuple[int | None, int | None]] = {}
        self._noted: set[Any] = set()

    def runs(self) -> list[Path]:
        """Return the folders of all runs that there are now."""
        return [run for trial in self._source.folders() for run in _runs(trial)]

    def look(
        self,
        on_run: Callable[[Path, int], None] = lambda _run, _n: None,
        *,
        is_over: bool = False,
    ) -> int:
        """Look at everything once; return how many rows were new.

        Parameters
        ----------
        on_run : called with each run's folder when it was looked at, and the rows written then
        is_over : nobody works on these results any more

        Raises
        ------
        CatalogError : the database does not answer, or is full; the next look goes on from there
        """
        waiting, n_rows = Waiting(), 0
        for trial in self._source.folders():
            trial_id = self._trial_id(trial)
            for run in _runs(trial):
                written = sum(
                    reader.look(self._catalog, waiting) for reader in self._readers(trial_id, run)
                )
                on_run(run, written)
                n_rows += written
        n_rows += waiting.write(self._catalog)
        for trial, trial_id in self._trials.items():
            self._note_settings(trial, trial_id)
            self._note_progress(trial, trial_id, is_over=is_over)
            self._note_versions(trial, trial_id)
        return n_rows

    def _note_settings(self, trial: Path, trial_id: int) -> None:
        """Write settings that files tell by and by, of a trial that nobody made in the catalog."""
        seen = (trial, _manifests(trial))
        if trial.name in self._source.trials or seen in self._noted:
            return
        told = _told(trial)

        def note(session: Session) -> None:
            row = session.get_one(Trial, trial_id)
            known = Parameters.checked({**json.loads(row.parameters), **told})
            if not row.actor and known.digest != row.digest:
                row.parameters, row.digest = known.text, known.digest

        self._catalog.change(note)
        self._noted.add(seen)

    def _trial_id(self, folder: Path) -> int:
        """Return the number of a trial; made known with its settings if it is new."""
        if folder not in self._trials:
            given = self._source.trials.get(folder.name)
            parameters = Parameters.of(given) if given else _parameters(folder)

            def ensure(session: Session) -> int:
                name, results = self._source.experiment, str(self._source.results)
                experiment = ensure_experiment(session, name, results)
                return ensure_trial(session, experiment, folder.name, parameters).id

            self._trials[folder] = self._catalog.change(ensure)
        return self._trials[folder]

    def _readers(self, trial_id: int, folder: Path) -> list[StageReader]:
        """Return what reads the stages of a run, which is made known if it is new."""
        if folder not in self._runs:
            given = self._source.trials.get(folder.parent.name)
            paths = given.runs.get(folder.name, ()) if given else _raw_files(folder)

            def ensure(session: Session) -> int:
                experiment = ensure_experiment(session, self._source.experiment)
                return ensure_run(session, experiment, folder.name, paths).id

            run_id = self._catalog.change(ensure)
            self._run_ids[folder] = run_id
            self._runs[folder] = [
                StageReader(folder, product, StageKey(trial_id, run_id, product.stage))
                for product in PER_SHOT.values()
            ]
        return self._runs[folder]

    def _note_progress(self, trial: Path, trial_id: int, *, is_over: bool) -> None:
        """Write how far runs and tasks are, where that has changed."""
        states = {
            (self._run_ids[run], *self._state(run)) for run in self._runs if run.parent == trial
        } - self._noted
        works = {
            (trial_id, work)
            for run, readers in self._runs.items()
            if run.parent == trial
            for reader in readers
            if (work := reader.work(is_over=is_over)) is not None
        } - self._noted

        def note(session: Session) -> None:
            for run_id, n_events, state in sorted(states, key=str):
                note_run(session, run_id, n_events, state)
            for number, work in sorted(works, key=str):
                note_work(session, number, work)

        if states or works:
            self._catalog.change(note)
            self._noted |= states | works

    def _state(self, run: Path) -> tuple[int | None, str]:
        """Return how many events a run has, if that is known, and how it stands."""
        path = run / f"{EVENTS.name}.json"
        stat = path.stat().st_mtime_ns if path.is_file() else None
        if stat != self._n_events.get(run, (None, None))[0]:
            manifest = manifest_of(run, EVENTS)
            self._n_events[run] = (stat, manifest.n_events if manifest else None)
        if stat is None:
            return None, GROWING
        is_sealed = (run / LIVE / "sealed.json").is_file()
        return self._n_events[run][1], SEALED if is_sealed else COMPLETE

    def _note_versions(self, trial: Path, trial_id: int) -> None:
        """Write merged data that are new."""
        for path in merged_files(trial):
            seen = (path, path.stat().st_mtime_ns)
            if seen not in self._noted:
                self._catalog.change(
                    lambda session, at=path: note_version(  # type: ignore[misc]  # a default
                        session, session.get_one(Trial, trial_id), at
                    )
                )
                self._noted.add(seen)


def _parameters(trial: Path) -> Parameters:
    """Return the settings that a trial was processed with, as its files say."""
    try:
        live = json.loads((trial / LIVE / "experiment.json").read_text())
        return Parameters.of(Experiment.checked(live))
    except (OSError, ValueError, XfelError):
        pass
    return Parameters.checked(_told(trial))


def _manifests(trial: Path) -> frozenset[tuple[Path, int]]:
    """Return the manifests of a trial's products that there are now, and when they were written."""
    paths = [run / f"{name}.json" for run in _runs(trial) for name in PER_SHOT]
    return frozenset(
        (path, path.stat().st_mtime_ns) for path in (*paths, *merged_files(trial)) if path.is_file()
    )


def _told(trial: Path) -> dict[str, dict[str, Any]]:
    """Return the settings of the stages that have made something, as their manifests say."""
    found: dict[str, dict[str, Any]] = {}
    for run in _runs(trial):
        for product in PER_SHOT.values():
            if (manifest := manifest_of(run, product)) is not None:
                found[product.stage] = dict(manifest.settings)
    for path in merged_files(trial):
        with suppress(ContainerError):  # only just being made
            found["merge"] = dict(MergedManifest.read(path).settings)
    return {name: settings for name, settings in found.items() if _is_known(name, settings)}


def _is_known(stage: str, settings: dict[str, Any]) -> bool:
    """Return whether these are settings of this version."""
    try:
        Parameters.checked({stage: settings})
    except XfelError:
        return False
    return True


def _raw_files(run: Path) -> list[str]:
    """Return the raw files of a run, as its events name them."""
    manifest = manifest_of(run, EVENTS)
    return list(manifest.extra.get("files", ())) if manifest else []
