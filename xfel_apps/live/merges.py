"""Versions of datasets: a new one when runs come, go or are sealed, or give enough lattices."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xfel_apps.config import digest
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.errors import XfelError
from xfel_apps.experiment import Experiment
from xfel_apps.live.run import TrialRun
from xfel_apps.live.settings import LiveSettings

LIVE_KEY = "live-"
"""Keys of versions with runs that are not sealed yet begin so."""


@dataclass(frozen=True)
class Version:
    """A version of a dataset that is made.

    Attributes
    ----------
    path : its manifest
    manifest : what it says
    made_s : when it was made [s since 1970]
    """

    path: Path
    manifest: MergedManifest
    made_s: float

    @property
    def name(self) -> str:
        """Such as `v003`."""
        return self.path.parent.name

    @property
    def is_final(self) -> bool:
        """Whether it has only sealed runs, so that the batch would have made it."""
        return not self.manifest.key.startswith(LIVE_KEY)


@dataclass(frozen=True)
class Wanted:
    """A version that is to be made.

    Attributes
    ----------
    path : of its manifest
    key : what tells it from other versions
    sealed, growing : runs that are merged
    n_lattices : of all of them
    """

    path: Path
    key: str
    sealed: tuple[str, ...]
    growing: tuple[str, ...]
    n_lattices: int

    def arguments(self, trial: Path) -> list[str]:
        """Return the arguments of `xfel_apps.live.version`."""
        sealed = ["--sealed", *self.sealed] if self.sealed else []
        growing = ["--growing", *self.growing] if self.growing else []
        files = ["--trial", str(trial), "--merged", str(self.path), "--key", self.key]
        return [*files, "--lattices", str(self.n_lattices), *sealed, *growing]


def newest_version(folder: Path) -> Version | None:
    """Return the newest version of the dataset in a folder; None if there is none."""
    paths = sorted(folder.glob("v[0-9][0-9][0-9]*/merged.json"), key=_number)
    for path in reversed(paths):
        try:
            return Version(path, MergedManifest.read(path), path.stat().st_mtime)
        except (XfelError, OSError):
            continue
    return None


def _number(path: Path) -> int:
    return int(path.parent.name[1:])


def wanted_version(
    dataset: str,
    runs: Sequence[TrialRun],
    experiment: Callable[[], Experiment],
    last: Version | None,
) -> Wanted | None:
    """Return the version of a dataset that is due; None if the last one will do for now.

    Parameters
    ----------
    dataset : its name
    runs : those that are merged into it; runs without lattices do not count
    experiment : gives the experiment of the runs that are sealed, with its datasets
    last : newest version
    """
    sealed = {run.run: run.sealed.digest for run in runs if run.sealed and run.n_lattices}
    growing = {run.run: run.n_lattices for run in runs if not run.sealed and run.n_lattices}
    n_lattices = sum(run.n_lattices for run in runs)
    if not n_lattices:
        return None
    trial = runs[0].trial
    if all(run.sealed for run in runs):
        key = experiment().dataset_key(dataset)
        made_of = tuple(experiment().datasets[dataset]), ()
        folder = trial.version_folder(experiment(), dataset, key, made_of[0])
        return _unless_made(folder, key, (*made_of, n_lattices))
    if not is_due(sealed, growing, n_lattices, last, trial.experiment.live):
        return None
    key = LIVE_KEY + digest(*sorted([*sealed.values(), *map(repr, growing.items())]))
    folder = trial.version_folder(experiment(), dataset, key, [run.run for run in runs])
    return _unless_made(folder, key, (tuple(sealed), tuple(growing), n_lattices))


def _unless_made(
    folder: Path, key: str, made_of: tuple[tuple[str, ...], tuple[str, ...], int]
) -> Wanted | None:
    """Return the version that belongs into a folder, unless it is there.

    Parameters
    ----------
    made_of : sealed and growing runs, and the lattices of all
    """
    path = folder / "merged.json"
    return None if path.is_file() else Wanted(path, key, *made_of)


def is_due(
    sealed: Mapping[str, str],
    growing: Mapping[str, int],
    n_lattices: int,
    last: Version | None,
    settings: LiveSettings,
) -> bool:
    """Return whether a version with growing runs is due.

    Parameters
    ----------
    sealed : run -> digest of its reflections
    growing : run -> lattices so far
    n_lattices : of all runs
    last : newest version
    settings : what makes it due
    """
    if last is None:
        return True
    if time.time() - last.made_s < settings.merge_wait_s:
        return False
    inputs = last.manifest.inputs
    is_other = set(inputs) != {*sealed, *growing}
    is_newly_sealed = any(inputs.get(run) != value for run, value in sealed.items())
    n_new = n_lattices - last.manifest.n_crystals
    return is_other or is_newly_sealed or n_new >= settings.merge_lattices
