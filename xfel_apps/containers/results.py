"""Results of one run: whichever of its products are made, and how every event ended."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import pandas as pd

from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.events import EVENTS, Events
from xfel_apps.containers.manifest import Manifest
from xfel_apps.containers.product import Product
from xfel_apps.containers.reader import ProductReader
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.spots import SPOTS
from xfel_apps.errors import ContainerError

PER_SHOT = {item.name: item for item in (EVENTS, SPOTS, CRYSTALS, REFLECTIONS)}
"""Products with one row of `shots` an event, in order of the data flow."""

LIVE = "live"
"""Folder of a run, a trial or all results that is not the batch's."""

NO_RUN = (
    "{folder}: no results of any run here; give a run, trial or results folder, "
    "or run `xfelflow process` first"
)
DECIDED = "decided over the whole run (hot pixels)"


class RunResults:
    """Products of one run, opened when first asked for.

    Parameters
    ----------
    folder : the run's folder, with `{product}.json` manifests

    A product counts as made where its manifest is there and was made from the manifests that lie
    beside it now: what older input gave is not mixed with what newer input gave.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._readers: dict[str, ProductReader] = {}

    @cached_property
    def manifests(self) -> Mapping[str, Manifest]:
        """Manifest of each product that is made, in order of the data flow."""
        found: dict[str, Manifest] = {}
        for name, product in PER_SHOT.items():
            path = self.folder / f"{name}.json"
            if path.is_file():
                manifest = Manifest.read(path, product)
                if all(_digest(found, key) == value for key, value in manifest.inputs.items()):
                    found[name] = manifest
        return found

    @property
    def name(self) -> str:
        """Name of the run."""
        for manifest in self.manifests.values():
            return manifest.run
        return self.folder.name

    @property
    def last(self) -> Manifest:
        """Manifest of the last product made."""
        self.need(EVENTS)
        return list(self.manifests.values())[-1]

    def has(self, product: Product) -> bool:
        """Return whether the product is made."""
        return product.name in self.manifests

    def need(self, product: Product) -> Manifest:
        """Return the manifest of a product, or say what makes it."""
        if self.has(product):
            return self.manifests[product.name]
        path = self.folder / f"{product.name}.json"
        state = "was made from other input" if path.is_file() else "is not made yet"
        raise ContainerError(
            f"{path}: {product.name} {state}; run `xfelflow {product.stage}` (or the workflow)"
        )

    def reader(self, product: Product) -> ProductReader:
        """Return the reader of a product; it stays open until `close`."""
        manifest = self.need(product)
        if product.name not in self._readers:
            paths = [self.folder / name for name in manifest.containers]
            self._readers[product.name] = ProductReader(paths, product)
        return self._readers[product.name]

    def shots(self, product: Product) -> pd.DataFrame:
        """Return the shots table of a product, indexed by event."""
        return self.reader(product).shots()

    @cached_property
    def events(self) -> Events:
        """The run's events."""
        manifest = self.need(EVENTS)
        return Events(manifest, self.shots(EVENTS))

    @cached_property
    def outcomes(self) -> pd.DataFrame:
        """How every event ended: columns outcome, reason, stage; indexed by event.

        The last stage that saw an event decides; a manifest's `extra["decided"]` (event ->
        outcome) is what only the whole run could decide.
        """
        whole = self.events.frame[["outcome", "reason"]].copy()
        whole["stage"] = EVENTS.stage
        for name, manifest in self.manifests.items():
            if name == EVENTS.name:
                continue
            shots = self.shots(PER_SHOT[name])
            for column in ("outcome", "reason"):
                whole.loc[shots.index, column] = shots[column]
            whole.loc[shots.index, "stage"] = manifest.stage
            for event, outcome in manifest.extra.get("decided", {}).items():
                if whole.at[int(event), "outcome"] != outcome:
                    whole.loc[int(event), ["outcome", "reason"]] = [outcome, DECIDED]
        return whole

    def close(self) -> None:
        """Close all containers."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()


def _digest(manifests: Mapping[str, Manifest], name: str) -> str | None:
    return manifests[name].digest if name in manifests else None


def is_run(folder: Path) -> bool:
    """Return whether `folder` holds products of a run, made or in the making."""
    return any((folder / f"{name}.json").is_file() or (folder / name).is_dir() for name in PER_SHOT)


def is_begun(folder: Path) -> bool:
    """Return whether a folder is that of a run, be it only live yet."""
    return is_run(folder) or (folder / LIVE / "chunks").is_dir()


@contextmanager
def runs_below(folder: Path) -> Iterator[list[RunResults]]:
    """Open the runs at or below a folder, those that are only live yet as well."""
    found = [RunResults(path) for path in sorted(folders_below(folder, is_begun))]
    if not found:
        raise ContainerError(NO_RUN.format(folder=folder))
    try:
        yield found
    finally:
        for run in found:
            run.close()


def run_folders(folder: Path) -> list[Path]:
    """Return the run folders at or below `folder`: a run, a trial, results, or a parent of them."""
    runs = sorted(folders_below(folder, is_run))
    if not runs:
        raise ContainerError(NO_RUN.format(folder=folder))
    return runs


def folders_below(
    folder: Path, is_wanted: Callable[[Path], bool], depth: int = 3
) -> Iterator[Path]:
    """Yield the folders at or below `folder` that are wanted; nothing is looked for in those."""
    if not folder.is_dir():
        raise ContainerError(f"{folder}: no such folder; give a folder of results")
    if is_wanted(folder):
        yield folder
    elif depth:
        for child in sorted(folder.iterdir()):
            if child.is_dir() and child.name != LIVE and not child.name.startswith("."):
                yield from folders_below(child, is_wanted, depth - 1)
