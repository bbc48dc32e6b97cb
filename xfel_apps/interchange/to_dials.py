"""Write runs as DIALS does: experiment lists and reflection tables, stage by stage."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.product import Product
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.spots import SPOTS
from xfel_apps.geometry.mosaic import Mosaic
from xfel_apps.interchange.dials_columns import (
    INDEXED_TYPES,
    INTEGRATED_TYPES,
    SPOT_TYPES,
    indexed_columns,
    integrated_columns,
    spot_columns,
)
from xfel_apps.interchange.expt import Row, write_expt
from xfel_apps.interchange.models import CrystalModel, beam_model, crystal_model, detector_model
from xfel_apps.interchange.refl import ReflWriter
from xfel_apps.interchange.runs import Run, lattice_of
from xfel_apps.progress import Progress

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Columns = dict[str, NDArray[Any]]

NAMESPACE = uuid.UUID("5e0f2f6e-6c1b-5c0e-9a39-6c6c8f6a7d11")
"""Identifiers of experiments are made from shot identities in this name space."""


@dataclass
class Experiments:
    """Experiments in the order in which they are written, and where rows find them.

    Attributes
    ----------
    rows, images : see `expt.write_expt`
    first : number of the first experiment of each run
    """

    rows: list[Row] = field(default_factory=list)
    images: list[tuple[Path, int]] = field(default_factory=list)
    first: list[int] = field(default_factory=list)


def identifier(shot_id: str, lattice: int | None = None) -> str:
    """Return the identifier of an experiment: of a shot, or of a lattice on it."""
    return str(uuid.uuid5(NAMESPACE, shot_id if lattice is None else f"{shot_id}#{lattice}"))


def write_dials(runs: Sequence[Run], out: Path) -> list[Path]:
    """Write what is made of the runs into the folder `out`; return the files."""
    written = []
    for product, name, write in (
        (SPOTS, "strong", _strong),
        (CRYSTALS, "indexed", _indexed),
        (REFLECTIONS, "integrated", _integrated),
    ):
        if product is SPOTS or any(run.results.has(product) for run in runs):
            mine = [run for run in runs if product is SPOTS or run.results.has(product)]
            written += write(mine, out, name)
    return written


def _strong(runs: Sequence[Run], out: Path, name: str) -> list[Path]:
    """Write all shots as `imported.expt`, and their spots."""
    experiments, base = Experiments(), 0
    for run in runs:
        experiments.first.append(len(experiments.rows))
        for event in run.shots:
            number, detector = len(experiments.rows), int(run.event_column("detector")[event])
            shot = identifier(run.events.shot_id(event))
            experiments.rows.append(Row(shot, number, number, base + detector, -1))
            experiments.images.append(run.events.location(event))
        base += len(run.detectors)
    beams = (beam_model(run.beam(event)) for run in runs for event in run.shots)
    expt = out / "imported.expt"
    write_expt(
        expt, experiments.rows, experiments.images, {"beam": beams, "detector": _detectors(runs)}
    )
    found = [run for run in runs if run.results.has(SPOTS)]
    if not found:
        return [expt]

    def rows(run: Run, events: IntArray, first: int) -> Columns:
        block = run.spots(events)
        which = first + np.searchsorted(run.shots, block.event)
        return {**spot_columns(block), "id": which}

    first = [experiments.first[runs.index(run)] for run in found]
    work = Work(found, SPOTS, first, rows)
    return [expt, work.write(out / f"{name}.refl", SPOT_TYPES, experiments)]


def _indexed(runs: Sequence[Run], out: Path, name: str) -> list[Path]:
    experiments = _of_crystals(runs, CRYSTALS, out / f"{name}.expt")

    def rows(run: Run, events: IntArray, first: int) -> Columns:
        indexed = run.block(CRYSTALS, "indexed", events)
        spots = run.good_spots(events)
        start = np.searchsorted(spots.event, indexed.event)
        mine = spots.take(start + indexed.columns["spot"])
        lattice = lattice_of(indexed, run.crystals[CRYSTALS.name])
        return indexed_columns(run, mine, indexed, lattice, first)

    work = Work(runs, CRYSTALS, experiments.first, rows)
    return [
        out / f"{name}.expt",
        work.write(out / f"{name}.refl", INDEXED_TYPES, experiments),
    ]


def _integrated(runs: Sequence[Run], out: Path, name: str) -> list[Path]:
    experiments = _of_crystals(runs, REFLECTIONS, out / f"{name}.expt")

    def rows(run: Run, events: IntArray, first: int) -> Columns:
        block = run.block(REFLECTIONS, "reflections", events)
        lattice = lattice_of(block, run.crystals[REFLECTIONS.name])
        return integrated_columns(run, block, lattice, first)

    work = Work(runs, REFLECTIONS, experiments.first, rows)
    return [
        out / f"{name}.expt",
        work.write(out / f"{name}.refl", INTEGRATED_TYPES, experiments),
    ]


@dataclass(frozen=True)
class Work:
    """A table to write: rows of a product of runs, a block of shots at a time.

    Attributes
    ----------
    runs, product : what is read
    first : number of the first experiment of each run
    rows : columns of a run's events, given the number of the run's first experiment
    """

    runs: Sequence[Run]
    product: Product
    first: Sequence[int]
    rows: Callable[[Run, IntArray, int], Columns]

    def write(self, path: Path, types: Mapping[str, str], experiments: Experiments) -> Path:
        """Write the table and return its path."""
        imagesets = np.array([row.imageset for row in experiments.rows], dtype=np.int64)
        total = sum(len(run.seen(self.product)) for run in self.runs)
        with ReflWriter(path, types) as writer, Progress(f"write {path.name}", total) as progress:
            for run, first in zip(self.runs, self.first, strict=True):
                for events in run.blocks(self.product):
                    columns = self.rows(run, events, first)
                    columns["imageset_id"] = imagesets[columns["id"]]
                    if "partial_id" in types:
                        n_rows = len(columns["id"])
                        columns["partial_id"] = np.arange(writer.n_rows, writer.n_rows + n_rows)
                    writer.append(columns)
                    progress.report("shots", len(events))
            writer.finish([row.identifier for row in experiments.rows])
        return path


def _of_crystals(runs: Sequence[Run], product: Product, path: Path) -> Experiments:
    """Write the experiment list of a product's crystals; return the experiments."""
    experiments, base = Experiments(), 0
    shots: dict[tuple[int, int], int] = {}
    for number, run in enumerate(runs):
        experiments.first.append(len(experiments.rows))
        block = run.crystals[product.name]
        for event, lattice in zip(
            block.event.tolist(), block.columns["lattice"].tolist(), strict=True
        ):
            shot = shots.setdefault((number, event), len(shots))
            if shot == len(experiments.images):
                experiments.images.append(run.events.location(event))
            detector = base + int(run.event_column("detector")[event])
            name = identifier(run.events.shot_id(event), lattice)
            crystal = len(experiments.rows)
            experiments.rows.append(Row(name, shot, shot, detector, crystal))
        base += len(run.detectors)
    models = {
        "beam": _beams(runs, product),
        "detector": _detectors(runs),
        "crystal": _crystals(runs, product),
    }
    write_expt(path, experiments.rows, experiments.images, models)
    return experiments


def _detectors(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    return (detector_model(detector, run.hot_pixels) for run in runs for detector in run.detectors)


def _beams(runs: Sequence[Run], product: Product) -> Iterator[dict[str, Any]]:
    """Yield the beam of each shot with a crystal, at the wavelength that was used."""
    for run in runs:
        block = run.crystals[product.name]
        events, rows = np.unique(block.event, return_index=True)
        for event, row in zip(events.tolist(), rows.tolist(), strict=True):
            wavelength_ang = float(block.columns["wavelength_ang"][row])
            yield beam_model(run.beam(event).with_wavelength(wavelength_ang))


def _crystals(runs: Sequence[Run], product: Product) -> Iterator[dict[str, Any]]:
    for run in runs:
        columns = run.crystals[product.name].columns
        for a_matrix, group, mosaicity_deg, block_ang in zip(
            columns["a_matrix"],
            columns["space_group"],
            columns["mosaicity_deg"].tolist(),
            columns["block_size_ang"].tolist(),
            strict=True,
        ):
            mosaic = Mosaic(mosaicity_deg, block_ang)
            yield crystal_model(CrystalModel(a_matrix, group.decode(), mosaic))
