"""What comes after the crews: sealing, merging, refining, the report; one trial's share of it."""

import time
from collections.abc import Sequence
from pathlib import Path

from xfel_apps.experiment import Experiment
from xfel_apps.live import pixels
from xfel_apps.live.merges import Version, Wanted, newest_version, wanted_version
from xfel_apps.live.run import TrialRun
from xfel_apps.live.tasks import Tasks
from xfel_apps.live.trial import LiveTrial

SEALS_AT_A_TIME = 2
REPORT_WAIT_S = 60.0
"""Least time between two reports while a run grows [s]."""
GIVE_UP_AFTER = 3
"""A task that has failed so often is not waited for."""


class Finish:
    """Seals, merges and reports one trial.

    Parameters
    ----------
    trial : which
    tasks : does the work
    """

    def __init__(self, trial: LiveTrial, tasks: Tasks) -> None:
        self.trial, self._tasks = trial, tasks
        self.versions: dict[str, Version] = {}
        self._merging: dict[str, Wanted] = {}
        self._made: dict[str, object] = {}
        self._written: object = None
        self._reported_s = -REPORT_WAIT_S
        self._has_work = True

    def step(self, runs: Sequence[TrialRun]) -> None:
        """Start what is due.

        Parameters
        ----------
        runs : of the trial, without those that are excluded
        """
        self._has_work = False
        for run in runs:
            if run.is_processed and not run.may_be_sealed:
                self._seal(run)
        if runs:
            self._write_experiment(runs)
            self._merge(runs)
            self._refine()
            self._report(runs)

    def sealing(self, run: TrialRun) -> str:
        """Return the purpose of a run's sealing."""
        return f"seal {self.trial.name}/{run.run}"

    def merging(self, dataset: str) -> str:
        """Return the purpose of a dataset's merging."""
        return f"merge {self.trial.name}/{dataset}"

    def refining(self, item: pixels.Refining) -> str:
        """Return the purpose of refining a run for a dataset."""
        return f"refine {self.trial.name}/{item.dataset}/{item.run}"

    @property
    def reporting(self) -> str:
        """The purpose of the report."""
        return f"report {self.trial.name}"

    def _seal(self, run: TrialRun) -> None:
        purpose = self.sealing(run)
        in_use = any(run.run in wanted.growing for wanted in self._under_way())
        if in_use or len(self._tasks.under_way("seal")) >= SEALS_AT_A_TIME:
            return
        arguments = ["--trial", str(self.trial.folder), "--run", run.run]
        app = ("live.seal", arguments)
        self._tasks.start(purpose, str(run.signature), app, run.forget_seal, mpi=True)

    def _under_way(self) -> list[Wanted]:
        """Return the versions that are being made."""
        made = self._merging.items()
        return [wanted for name, wanted in made if self._tasks.is_under_way(self.merging(name))]

    def _write_experiment(self, runs: Sequence[TrialRun]) -> None:
        """Write the experiment file of the sealed runs, for the batch."""
        sealed = [run for run in runs if run.sealed]
        stamp = _stamp(sealed), self.trial.experiment
        if sealed and stamp != self._written:
            paths = {run.run: run.paths for run in sealed}
            self.trial.write_sealed(paths, self._datasets(sealed))
            self._written = stamp

    def _datasets(self, runs: Sequence[TrialRun]) -> dict[str, list[str]]:
        """Return the datasets of runs in which any lattice was found."""
        with_lattices = {run.run for run in runs if run.n_lattices}
        found = self.trial.datasets([run.run for run in runs])
        return {name: names for name, names in found.items() if with_lattices & set(names)}

    def _merge(self, runs: Sequence[TrialRun]) -> None:
        by_name = {run.run: run for run in runs}
        for dataset, names in self._datasets(runs).items():
            members = [by_name[name] for name in names if not self._is_hopeless(by_name[name])]
            if self._tasks.is_under_way(self.merging(dataset)):
                self._has_work = True
            elif self._made.get(dataset) != (stamp := _stamp(members)):
                wanted = self._wanted(dataset, members, runs)
                if wanted is not None:
                    self._start_merge(dataset, wanted, members)
                elif all(run.sealed for run in members):
                    self._made[dataset] = stamp

    def _wanted(
        self, dataset: str, members: Sequence[TrialRun], runs: Sequence[TrialRun]
    ) -> Wanted | None:
        """Return the version that is due, from what is on the disk."""
        sealed = [run for run in runs if run.sealed]

        def experiment() -> Experiment:
            paths = {run.run: run.paths for run in sealed}
            return self.trial.experiment_of(paths, self._datasets(sealed))

        last = newest_version(self.trial.folder / "datasets" / dataset)
        if last is not None:
            self.versions[dataset] = last
        return wanted_version(dataset, members, experiment, last)

    def _is_about_to_be_sealed(self, run: TrialRun) -> bool:
        has_failed = self._has_failed(self.sealing(run))
        return run.is_processed and not run.sealed and not has_failed

    def _start_merge(self, dataset: str, wanted: Wanted, runs: Sequence[TrialRun]) -> None:
        """Start a merge, unless a run of it is about to be sealed: what crews wrote goes then."""
        self._has_work |= not self._has_failed(self.merging(dataset))
        if any(self._is_about_to_be_sealed(run) for run in runs):
            return
        step = self.trial.experiment.live.merge_lattices
        size = sum(run.n_lattices for run in runs) // step
        made_from = f"{wanted.sealed} {wanted.growing} {size if wanted.growing else wanted.key}"
        app = ("live.version", wanted.arguments(self.trial.folder))
        self._merging[dataset] = wanted
        self._tasks.start(self.merging(dataset), made_from, app, _nothing, mpi=True)

    def _refine(self) -> None:
        """Refine the runs of final versions against their pixels where that is wanted."""
        experiment = self.trial.experiment
        for item in pixels.of_versions(experiment, self.versions):
            purpose = self.refining(item)
            if item.refined.is_file() or self._has_failed(purpose):
                continue
            self._has_work = True
            app = ("diffbragg", item.arguments(self.trial.folder, experiment))
            self._tasks.start(purpose, str(item.merged), app, _nothing, mpi=True)

    def _report(self, runs: Sequence[TrialRun]) -> None:
        """Write the report when something that it shows is newer than it is."""
        sealed = [run for run in runs if run.sealed]
        page = self.trial.folder / "report.html"
        shown = [run.live_run.products / "reflections.json" for run in sealed]
        shown += [version.path for version in self.versions.values()]
        refined = pixels.of_versions(self.trial.experiment, self.versions)
        shown += [item.refined for item in refined]
        newest_ns = max((_changed_ns(path) for path in shown), default=0)
        if not sealed or newest_ns <= _changed_ns(page):
            return
        is_all = all(run.sealed or self._is_hopeless(run) for run in runs)
        if is_all and self._has_work:
            return
        if not is_all and time.monotonic() - self._reported_s < REPORT_WAIT_S:
            return
        self._has_work |= not self._has_failed(self.reporting)
        self._reported_s = time.monotonic()
        arguments = [str(self.trial.folder), "--out", str(page)]
        self._tasks.start(self.reporting, str(newest_ns), ("report", arguments), _nothing)

    def _is_hopeless(self, run: TrialRun) -> bool:
        """Return whether a run cannot be sealed and has nothing to be merged."""
        return not run.sealed and not run.n_lattices and self._has_failed(self.sealing(run))

    def _has_failed(self, purpose: str) -> bool:
        return self._tasks.n_failed(purpose) >= GIVE_UP_AFTER

    def trouble(self, run: TrialRun) -> str:
        """Return why a run cannot be sealed; empty when it can."""
        return self._tasks.trouble(self.sealing(run))

    def has_failed(self, runs: Sequence[TrialRun]) -> list[str]:
        """Return what has failed so often that it is not waited for."""
        purposes = [self.sealing(run) for run in runs if not run.sealed]
        purposes += [self.merging(name) for name in self._datasets(runs)]
        refined = pixels.of_versions(self.trial.experiment, self.versions)
        purposes += [self.refining(item) for item in refined]
        return [purpose for purpose in [*purposes, self.reporting] if self._has_failed(purpose)]

    def is_drained(self, runs: Sequence[TrialRun]) -> bool:
        """Return whether nothing more is to be done, or can be."""
        for run in runs:
            if not run.sealed and not self._has_failed(self.sealing(run)):
                return False
        return not self._has_work and not self._tasks.is_under_way(self.reporting)


def _stamp(runs: Sequence[TrialRun]) -> object:
    """Return what changes when a run comes, goes, is sealed or has other files."""
    return [(run.run, run.signature, run.sealed) for run in runs]


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _nothing() -> None:
    """Do nothing more when a task has succeeded: its files say it."""
