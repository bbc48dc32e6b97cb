"""The experiment file: which runs, which datasets, and the settings of every stage.

It is the only place where the stages' sections meet. The Snakefile, `xfelflow process` and
`xfelflow demo` all read their settings through it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from xfel_apps.config import Section, digest
from xfel_apps.containers.results import LIVE
from xfel_apps.diffbragg.settings import DiffbraggSettings
from xfel_apps.errors import SettingsError
from xfel_apps.factors.settings import FactorsSettings
from xfel_apps.index.settings import IndexSettings
from xfel_apps.ingest.settings import IngestSettings
from xfel_apps.integrate.settings import IntegrateSettings
from xfel_apps.live.settings import LiveSettings
from xfel_apps.merge.settings import MergeSettings
from xfel_apps.presets import Preset, with_preset
from xfel_apps.refgeom.settings import RefgeomSettings
from xfel_apps.sources import expand
from xfel_apps.sources.paths import natural
from xfel_apps.spotfind.settings import SpotfindSettings
from xfel_apps.worker import WorkerSettings

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]

STAGES = ("ingest", "spotfind", "index", "integrate", "merge")


class RunGroup(Section):
    """Runs that share geometry and calibration: from the first to the last, by their names."""

    first: Name
    """First run."""
    last: Name
    """Last run; names are in the order of the numbers in them: r2 before r10."""
    ingest: dict[str, Any] = Field(default_factory=dict)
    """What these runs have otherwise than the section `ingest`: geometry, mask, distance_mm, ..."""

    def has(self, run: str) -> bool:
        """Return whether a run is in the group.

        >>> RunGroup(first="r2", last="r10").has("r9")
        True
        """
        first, place, last = (natural(Path(name)) for name in (self.first, run, self.last))
        return first <= place <= last


class Experiment(Section):
    """Runs, datasets and the settings of every stage."""

    results: str = "results"
    """Folder for results, relative to where the workflow is started."""
    trial: Name = "000"
    """Name of this set of settings; each trial has its own folder under `results`."""
    preset: Preset = "final"
    """Best results (the defaults), or quick ones for a shift: `live` changes some defaults (see
    docs/reference/presets.md). Settings that are given count more than the preset's."""
    catalog: str = ""
    """Database that people share: a file, or a URL such as postgresql://user@host/database. Its
    password comes from $XFELFLOW_DB_PASSWORD or a file of mode 600. Where this file names no runs,
    runs, datasets and the trial's settings are the catalog's. Empty: none is kept."""
    experiment: Name = "main"
    """Name of the experiment in the catalog."""
    runs: dict[Name, list[str]] = Field(default_factory=dict)
    """Run name -> raw files: paths, globs, folders or lists of files."""
    datasets: dict[Name, list[Name]] = Field(default_factory=dict)
    """Dataset name -> runs that are merged together."""
    pixels: Literal["none", "shots", "factors"] = "none"
    """What the default target refines against every pixel after merging: nothing, each shot, or
    each shot and then the structure factors."""
    groups: dict[Name, RunGroup] = Field(default_factory=dict)
    """Run group name -> `first` and `last` run that share geometry and calibration, and `ingest`,
    what they have otherwise there. A run is in one group at most."""
    worker: WorkerSettings = WorkerSettings()
    live: LiveSettings = LiveSettings()
    ingest: IngestSettings = IngestSettings()
    spotfind: SpotfindSettings = SpotfindSettings()
    index: IndexSettings = IndexSettings()
    integrate: IntegrateSettings = IntegrateSettings()
    merge: MergeSettings = MergeSettings()
    refgeom: RefgeomSettings = RefgeomSettings()
    diffbragg: DiffbraggSettings = DiffbraggSettings()
    factors: FactorsSettings = FactorsSettings()

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, data: Any) -> Any:
        return with_preset(data) if isinstance(data, Mapping) else data

    @field_validator("catalog")
    @classmethod
    def _has_no_password(cls, url: str) -> str:
        """Refuse a password without saying it: what pydantic says names the value."""
        user = url.partition("://")[2].rpartition("@")[0]
        if ":" in user or "password=" in url.lower():
            raise SettingsError(
                "catalog: a password stands in the URL; take it out and put it into "
                "$XFELFLOW_DB_PASSWORD, or into a file of mode 600 that $XFELFLOW_DB_PASSWORD_FILE "
                "names"
            )
        return url

    @model_validator(mode="after")
    def _datasets_have_runs(self) -> Self:
        for name, runs in self.datasets.items():
            unknown = sorted(set(runs) - set(self.runs))
            if unknown or not runs:
                raise ValueError(
                    f"dataset {name} names no run or unknown ones {unknown}; "
                    f"known runs: {sorted(self.runs)}"
                )
        for name in self.groups:
            self._ingest_of(name)
        for run in self.runs:
            if len(found := self.groups_of(run)) > 1:
                raise ValueError(f"run {run} is in more than one group: {', '.join(found)}")
        for taken in {"datasets", "geometry", LIVE} & set(self.runs):
            raise ValueError(f"a run cannot be called {taken!r}")
        if self.trial == LIVE:
            raise ValueError(f"a trial cannot be called {LIVE!r}")
        return self

    @property
    def folder(self) -> Path:
        """Folder of the trial."""
        return Path(self.results) / self.trial

    def section(self, stage: str) -> Section:
        """Return the settings of a stage."""
        section: Section = getattr(self, stage)
        return section

    def groups_of(self, run: str) -> list[str]:
        """Return the names of the groups that a run is in."""
        return [name for name, group in self.groups.items() if group.has(run)]

    def of_run(self, run: str) -> Self:
        """Return the experiment with the settings that a run has: those of its group."""
        for name in self.groups_of(run):
            return self.model_copy(update={"ingest": self._ingest_of(name)})
        return self

    def _ingest_of(self, group: str) -> IngestSettings:
        """Return the settings that the runs of a group have."""
        changed = self.groups[group].ingest
        return IngestSettings.checked({**self.ingest.model_dump(mode="json"), **changed})

    def files(self, run: str) -> list[Path]:
        """Return the raw files of a run, in order."""
        try:
            return expand(self.runs[run], self.of_run(run).ingest.geometry)
        except KeyError:
            raise SettingsError(
                f"run {run}: not in the experiment; known: {sorted(self.runs)}"
            ) from None

    def dataset_key(self, dataset: str) -> str:
        """Return the digest of all that determines a merged dataset: raw files and settings."""
        files = [
            f"{run}:{path}:{path.stat().st_size}:{path.stat().st_mtime_ns}"
            for run in self.datasets[dataset]
            for path in self.files(run)
        ]
        files += [
            f"{run}:{self.of_run(run).ingest.canonical()}"
            for run in self.datasets[dataset]
            if self.groups_of(run)
        ]
        return digest(*files, *(self.section(stage).canonical() for stage in STAGES))

    def version_folder(self, dataset: str, key: str) -> Path:
        """Return the folder of the dataset's version with this key (see `dataset_key`).

        A version number is never reused: other settings or other files give the next number.
        """
        made = self.versions_made(dataset)
        numbers = [number for number, made_with in made.items() if made_with == key]
        return self.numbered_folder(dataset, min(numbers, default=max(made, default=0) + 1))

    def versions_made(self, dataset: str) -> dict[int, str | None]:
        """Return number -> key of the versions of a dataset that have files."""
        folder = self.folder / "datasets" / dataset
        paths = folder.glob("v[0-9][0-9][0-9]*/merged.json")
        return {int(path.parent.name[1:]): _key_of(path) for path in paths}

    def numbered_folder(self, dataset: str, number: int) -> Path:
        """Return the folder of a version."""
        return self.folder / "datasets" / dataset / f"v{number:03d}"


def _key_of(path: Path) -> str | None:
    """Return the key that a version was made with; None if it was never finished."""
    try:
        return str(json.loads(path.read_text())["key"])
    except (OSError, ValueError, KeyError):
        return None
