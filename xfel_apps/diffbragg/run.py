"""Refine one run against its pixels: read the inputs, refine every integrated shot."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xfel_apps import mpi
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.events import EVENTS, Events
from xfel_apps.containers.manifest import Manifest, open_product, outcomes_after
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.reader import ProductReader
from xfel_apps.containers.refined import REFINED
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.spots import SPOTS
from xfel_apps.diffbragg.intensities import ExpectedIntensities
from xfel_apps.diffbragg.processor import RunInput, ShotRefiner
from xfel_apps.diffbragg.settings import DiffbraggSettings
from xfel_apps.sources import FrameCache
from xfel_apps.worker import StageRun, WorkerSettings, run_stage

Array = NDArray[np.float64]

MERGED = "merged"

FEW_CELLS = 20
"""The spread of fewer cells says little: that of good crystals is taken instead."""

USUAL_SPREAD, LEAST_SPREAD = 3e-3, 2e-4
"""Relative spread of the cells of crystals, and the least that is believed."""


@dataclass(frozen=True)
class Inputs:
    """Paths of the manifests that diffbragg reads."""

    events: Path
    spots: Path
    crystals: Path
    reflections: Path
    merged: Path


@dataclass(frozen=True)
class DiffbraggInput:
    """What diffbragg reads.

    Attributes
    ----------
    events : of the run
    reflections : reader of its lattices and intensities
    manifests : of events, spots, crystals and reflections, by product
    outcomes : of every event after integrate
    merged, mtz : manifest of the merged data, and the file that has them
    """

    events: Events
    reflections: ProductReader
    manifests: dict[str, Manifest]
    outcomes: dict[int, Outcome]
    merged: MergedManifest
    mtz: Path

    @classmethod
    def read(cls, inputs: Inputs) -> "DiffbraggInput":
        """Return the input from the manifests."""
        events = Events.read(inputs.events)
        outcomes: dict[int, Outcome] = events.outcomes
        manifests = {EVENTS.name: events.manifest}
        for product in (SPOTS, CRYSTALS, REFLECTIONS):
            manifest, reader = open_product(getattr(inputs, product.name), product)
            outcomes = outcomes_after(outcomes, manifest, reader)
            manifests[product.name] = manifest
            if product is not REFLECTIONS:
                reader.close()
        merged = MergedManifest.read(inputs.merged)
        mtz = inputs.merged.parent / merged.files["mtz"]
        return cls(events, reader, manifests, outcomes, merged, mtz)

    def run(self) -> RunInput:
        """Return what the processor takes of the run."""
        found = self.manifests[SPOTS.name].extra
        crystals = self.reflections.frame("crystals")
        cells = crystals[[f"cell_{i}" for i in range(6)]].to_numpy(float)
        return RunInput(
            self.events,
            self.reflections,
            found.get("hot_pixels", []),
            found.get("gain_adu") or 1.0,
            *median_cell(cells),
        )

    def job(self, refined: Path, settings: DiffbraggSettings, worker: WorkerSettings) -> StageRun:
        """Return the work of refining the integrated shots; they go to `refined`."""
        return StageRun(
            REFINED,
            refined,
            self.events.manifest.run,
            settings,
            {**self.manifests, MERGED: self.merged},
            self.outcomes,
            sorted(event for event, end in self.outcomes.items() if end == Outcome.INTEGRATED),
            worker,
        )


def median_cell(cells: Array) -> tuple[Array, Array]:
    """Return the median of cells (n, 6) and their spread (6,), robust.

    >>> [part.round(3).tolist() for part in median_cell(np.full((1, 6), 90.0))]
    [[90.0, 90.0, 90.0, 90.0, 90.0, 90.0], [0.27, 0.27, 0.27, 0.27, 0.27, 0.27]]
    """
    if not len(cells):
        return np.zeros(6), np.zeros(6)
    median = np.median(cells, axis=0)
    spread = 1.4826 * np.median(np.abs(cells - median), axis=0)
    least = USUAL_SPREAD if len(cells) < FEW_CELLS else LEAST_SPREAD
    return median, np.maximum(spread, least * np.abs(median))


def refine_run(
    comm: mpi.Comm,
    inputs: Inputs,
    refined: Path,
    settings: DiffbraggSettings,
    worker: WorkerSettings,
) -> Manifest:
    """Refine the integrated shots of a run and return the manifest of its product.

    Parameters
    ----------
    comm : ranks that take part
    inputs : manifests that are read
    refined : manifest to write
    settings, worker : the sections
    """
    data = DiffbraggInput.read(inputs)
    expected = ExpectedIntensities.read(data.mtz, settings.merged_ln_sigma)
    job = data.job(refined, settings, worker)

    def make() -> ShotRefiner:
        events = data.events
        frames = FrameCache(events.geometry_file, events.mask_file)
        return ShotRefiner(data.run(), frames, expected, settings)

    try:
        return run_stage(comm, job, make, summary)
    finally:
        data.reflections.close()


def summary(reader: ProductReader) -> tuple[dict[str, float], dict[int, Outcome]]:
    """Return what the manifest says of the run as a whole: medians before and after."""
    crystals = reader.frame("crystals")
    names = ["sigma_z", "offset_px", "misfit"]
    found = {
        f"median_{name}_{when}": float(crystals[f"{name}_{when}"].median())
        for name in names
        for when in ("before", "after")
        if len(crystals)
    }
    return {"n_lattices": len(crystals), **found}, {}
