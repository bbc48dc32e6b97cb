"""Refine the structure factors of a dataset: read, iterate, keep checkpoints, write."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xfel_apps import mpi
from xfel_apps.containers.factors import FactorsManifest
from xfel_apps.factors import checkpoint
from xfel_apps.factors.dataset import Dataset
from xfel_apps.factors.final import final_sums
from xfel_apps.factors.output import write_all
from xfel_apps.factors.refine import Model, Refiner, refine
from xfel_apps.factors.settings import FactorsSettings
from xfel_apps.intensities.agreement import correlation

COLUMNS = ("iteration", "misfit", "change_sigma", "cc_start", "cc_reference", "n_lattices")


@dataclass(frozen=True)
class Inputs:
    """Manifests that are read: events and refined shots of each run, and the merged data."""

    events: Sequence[Path]
    refined: Sequence[Path]
    merged: Path


@dataclass
class _Log:
    """Says on rank 0 how the refinement goes, and keeps it."""

    comm: mpi.Comm
    dataset: Dataset
    path: Path
    refiner: Refiner
    rows: list[list[float]] = field(default_factory=list)

    def __call__(self, model: Model) -> None:
        """Note an iteration; keep a checkpoint now and then."""
        dataset = self.dataset
        now = dataset.unique_intensities(model)
        start = correlation(now, dataset.start)
        true = None if dataset.reference is None else correlation(now, dataset.reference)
        row = [model.iteration, model.misfit, model.change, start, true, model.n_lattices]
        self.rows.append([np.nan if value is None else float(value) for value in row])
        if self.comm.rank == 0:
            text = f"factors: iteration {model.iteration}: -ln L {model.misfit:.1f}"
            text += f", change {model.change:.3f} sigma, {model.n_lattices} lattices"
            text += "" if start is None else f", CC to start {start:.4f}"
            print(text + ("" if true is None else f", to reference {true:.4f}"), flush=True)
        if model.iteration % dataset.settings.checkpoint_every == 0:
            found = self.refiner.members, np.array(self.rows)
            checkpoint.keep(self.comm, self.path, dataset.digest, model, found)

    def iterations(self) -> list[dict[str, Any]]:
        """Return the rows by name; None for what is not known."""
        return [
            {
                name: float(value) if np.isfinite(value) else None
                for name, value in zip(COLUMNS, row, strict=True)
            }
            for row in self.rows
        ]


def refine_factors(
    comm: mpi.Comm, inputs: Inputs, path: Path, settings: FactorsSettings
) -> FactorsManifest:
    """Refine the structure factors and return the manifest, written to `path`."""
    dataset = Dataset.read(inputs.events, inputs.refined, inputs.merged, settings)
    try:
        with mpi.stop_on_signal(mpi.end_of_job()) as stop:
            return _refine(comm, dataset, path, stop)
    finally:
        dataset.close()


def _started(comm: mpi.Comm, refiner: Refiner, log: _Log, numbers: Sequence[int]) -> Model:
    """Return the model to go on from: that of a checkpoint if there is one."""
    dataset = log.dataset
    found = checkpoint.resume(comm, log.path, dataset.digest, numbers)
    if found is None:
        model = dataset.first_model
        refiner.begin(model)
        return model
    kept, states = found
    log.rows = kept.iterations.tolist()
    if comm.rank == 0:
        print(f"factors: going on after iteration {kept.model.iteration}", flush=True)
    refiner.resume(kept.model, states)
    return kept.model


def _refine(comm: mpi.Comm, dataset: Dataset, path: Path, stop: mpi.StopRequest) -> FactorsManifest:
    lattices = dataset.lattices_of(comm.rank, comm.size)
    refiner = Refiner(comm, lattices, dataset.s2, dataset.settings)
    log = _Log(comm, dataset, path, refiner)
    model = _started(comm, refiner, log, [lattice.number for lattice in lattices])
    model = refine(refiner, model, dataset.settings, log, lambda: stop.wanted)
    final = final_sums(comm, refiner.members, model)
    own = {m.lattice.name: m.reason for m in refiner.members if m.reason is not None}
    parts = comm.gather(own)
    rejected = dict(sorted((name, text) for part in parts or [] for name, text in part.items()))

    def write() -> FactorsManifest:
        made = write_all(path, dataset, (model, final), log.iterations(), rejected)
        checkpoint.remove(path)
        return made

    result: FactorsManifest = mpi.agree(comm, write)
    return result
