"""Everything of a trial that the report speaks of, read once."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.events import EVENTS
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.containers.product import Product
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.results import PER_SHOT, RunResults, run_folders
from xfel_apps.errors import ContainerError


@dataclass(frozen=True)
class MergedData:
    """One version of a merged dataset: its name, its manifest and the folder it lies in."""

    name: str
    manifest: MergedManifest
    folder: Path


@dataclass(frozen=True)
class Trial:
    """The runs of a trial and its merged datasets (the latest version of each)."""

    folder: Path
    runs: tuple[RunResults, ...]
    merged: tuple[MergedData, ...]

    @classmethod
    def open(cls, folder: Path) -> "Trial":
        """Return the trial at `folder`; runs whose events are not listed yet are left out."""
        runs = [RunResults(path) for path in run_folders(folder)]
        listed = tuple(run for run in runs if run.has(EVENTS))
        if not listed:
            raise ContainerError(f"{folder}: no run has its events yet; run `xfelflow ingest`")
        return cls(folder, listed, tuple(_merged_below(folder)))

    def close(self) -> None:
        """Close all containers."""
        for run in self.runs:
            run.close()

    @cached_property
    def outcomes(self) -> pd.DataFrame:
        """One row an event of any run: run, event, outcome, reason, stage."""
        return _stack((run.name, run.outcomes.reset_index(names="event")) for run in self.runs)

    @cached_property
    def times(self) -> pd.DataFrame:
        """One row an event and stage: run, event, stage, outcome, start_s, end_s, cpu_s, rank."""
        parts = []
        for run in self.runs:
            for product in PER_SHOT.values():
                if product is not EVENTS and run.has(product):
                    shots = run.shots(product)[["outcome", "start_s", "end_s", "cpu_s", "rank"]]
                    parts.append((run.name, shots.reset_index().assign(stage=product.stage)))
        return _stack(parts)

    def shots(self, product: Product) -> pd.DataFrame:
        """Return the shots of a product over all runs that have it, with their final outcome."""
        parts = []
        for run in self.runs:
            if run.has(product):
                final = run.outcomes["outcome"].rename("final")
                parts.append((run.name, run.shots(product).join(final).reset_index()))
        return _stack(parts)

    @cached_property
    def crystals(self) -> pd.DataFrame:
        """One row a lattice over all runs, as integrated where that is done, else as indexed."""
        parts = []
        for run in self.runs:
            if run.has(REFLECTIONS):
                parts.append((run.name, run.reader(REFLECTIONS).frame("crystals")))
            elif run.has(CRYSTALS):
                parts.append((run.name, run.reader(CRYSTALS).frame("crystals")))
        return _stack(parts)


def _stack(parts: Any) -> pd.DataFrame:
    """Return frames one below the other, with the run's name as the first column."""
    named = [frame.assign(run=run) for run, frame in parts if len(frame)]
    return pd.concat(named, ignore_index=True) if named else pd.DataFrame()


def _merged_below(folder: Path) -> list[MergedData]:
    """Return the latest version of each dataset of the trial."""
    found = []
    for dataset in sorted((folder / "datasets").glob("*")):
        versions = dataset.glob("v[0-9][0-9][0-9]*/merged.json")
        last = max(versions, key=lambda path: int(path.parent.name[1:]), default=None)
        if last is not None:
            name = f"{dataset.name} {last.parent.name}"
            found.append(MergedData(name, MergedManifest.read(last), last.parent))
    return found
