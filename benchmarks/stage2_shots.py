"""How many shots each way needs: intensities from some of the shots, merged and refined.

Shots are drawn at random, fewer being among the more. Those that are drawn are merged as ever,
stage 1 refines them from that merge, and stage 2 starts from it: nothing is known of the other
shots. Their lattices are those of the whole run, which was indexed and integrated once.
"""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from benchmarks.stage1 import inputs_of
from benchmarks.stage2_truth import all_reflections, rounded
from xfel_apps import mpi
from xfel_apps.containers.copying import Share, copy_shots
from xfel_apps.containers.manifest import open_product
from xfel_apps.containers.reader import Part
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.diffbragg.run import refine_run
from xfel_apps.diffbragg.settings import DiffbraggSettings
from xfel_apps.factors.run import Inputs, refine_factors
from xfel_apps.factors.settings import FactorsSettings
from xfel_apps.merge.__main__ import main as merge
from xfel_apps.plots.style import BLUE, ORANGE, figure, grid, save_svg, styled
from xfel_apps.worker import WorkerSettings

IntArray = NDArray[np.int64]

SIZES, N_DRAWS = (12, 24, 48), 3
TITLES = ("intensities, nanoBragg stills", "anomalous differences, 2 Gd a molecule")
WHICH = ("measured by both", "all there are")
SHOTS = DiffbraggSettings(max_boxes=3000, d_min_ang=2.0, oversample=1, model_error=0.0)


@dataclass(frozen=True)
class Shots:
    """Shots of a processed run, and how they are merged and refined.

    Attributes
    ----------
    folder : of the run's products
    truth : file of true intensities
    measure : correlations by way of a table of intensities
    friedel_apart : mates are kept apart
    """

    folder: Path
    truth: Path
    measure: Callable[[pd.DataFrame], dict[str, Any]]
    friedel_apart: bool = False

    def curve(self) -> list[dict[str, Any]]:
        """Return means over `N_DRAWS` draws of each number of shots, and of all shots."""
        events = integrated(inputs_of(self.folder).reflections)
        rows = []
        for size in [size for size in SIZES if size < len(events)]:
            found = [
                self.some(np.random.default_rng(i).permutation(events)[:size], i)
                for i in range(N_DRAWS)
            ]
            mean = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
            rows.append({"shots": size} | rounded(mean))
        whole = self.compared(inputs_of(self.folder).merged, self.folder / "factors")
        return [*rows, {"shots": len(events)} | rounded(whole)]

    def some(self, events: IntArray, draw: int) -> dict[str, Any]:
        """Return the correlations that some shots give."""
        out = self.folder / f"shots-{len(events)}-{draw}"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        every = inputs_of(self.folder)
        merged = out / "merged" / "merged.json"
        own = replace(every, reflections=some_shots(every.reflections, events, out), merged=merged)
        settings = {"d_min_ang": 2.0, "friedel_apart": self.friedel_apart}
        given = [f"--reflections={own.reflections}", f"--merged={merged}"]
        with redirect_stdout(sys.stderr):
            if merge([*given, "--settings", json.dumps(settings)], mpi.serial()):
                raise SystemExit(f"the shots in {out} cannot be merged")
            refine_run(mpi.serial(), own, out / "refined.json", SHOTS, WorkerSettings())
            refine_factors(
                mpi.serial(),
                Inputs([own.events], [out / "refined.json"], merged),
                out / "factors" / "factors.json",
                FactorsSettings(friedel_apart=self.friedel_apart),
            )
        found = self.compared(merged, out / "factors")
        shutil.rmtree(out)
        return found

    def compared(self, merged: Path, factors: Path) -> dict[str, Any]:
        """Return the correlations of merged and of refined intensities."""
        paths = (merged.with_name("merged.mtz"), factors / "refined.mtz")
        return self.measure(all_reflections(*paths, self.truth))


def integrated(manifest_path: Path) -> IntArray:
    """Return the events with integrated lattices."""
    _, reader = open_product(manifest_path, REFLECTIONS)
    events = reader.frame("crystals")["event"].unique()
    reader.close()
    return np.asarray(events, dtype=np.int64)


def some_shots(manifest_path: Path, events: IntArray, out: Path) -> Path:
    """Write the integrated reflections of some shots, and return the path of their manifest."""
    manifest, reader = open_product(manifest_path, REFLECTIONS)
    reader.close()
    names = []
    for number, name in enumerate(manifest.containers):
        names.append(f"reflections/rank-{number:04d}.h5")
        part = Part(manifest_path.parent / name, REFLECTIONS)
        rows = np.flatnonzero(np.isin(part.events, events))
        share = Share(part.path, out / names[-1], rows, part.events[rows], number)
        part.file.close()
        copy_shots(share, REFLECTIONS, manifest.digest)
    path = out / "reflections.json"
    replace(manifest, containers=tuple(names)).write(path)
    return path


@styled
def draw(curves: Sequence[list[dict[str, Any]]], path: Path) -> None:
    """Draw correlations with the truth by number of shots: intensities, anomalous differences."""
    picture = figure(7.2, 5.2)
    panels = picture.subplots(2, 2, sharex="col")
    for column, (title, rows) in enumerate(zip(TITLES, curves, strict=True)):
        for axes, end, which in zip(panels[:, column], ("", "_all"), WHICH, strict=True):
            _curve(axes, rows, end)
            axes.set_ylabel(f"CC with the truth, {which}")
        panels[0, column].set_title(title)
        panels[1, column].set_xlabel("shots")
    panels[1, 0].legend(loc="lower right")
    save_svg(picture, path)


def _curve(axes: Axes, rows: list[dict[str, Any]], end: str) -> None:
    shots = [row["shots"] for row in rows]
    for way, name, colour in (("merge", "standard merge", ORANGE), ("stage2", "stage 2", BLUE)):
        values = [row[f"{way}{end}"] for row in rows]
        axes.plot(shots, values, "o-", markersize=4, color=colour, label=name)
    axes.axhline(rows[-1][f"merge{end}"], color=ORANGE, linewidth=0.8, linestyle=":")
    axes.set_xscale("log", base=2)
    axes.set_xticks(shots, [str(number) for number in shots])
    axes.minorticks_off()
    grid(axes)
