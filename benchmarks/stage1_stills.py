"""Stage 1 of diffBragg on the three CSPAD stills of thermolysin, and a picture of its pixels.

The stills are processed and merged as ever; a few percent of the reflections are merged, the others
start from the mean intensity of their shell. `--picture` draws the strongest spots of each still:
data, model with the lattice as it was integrated, model refined.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.data import data_folder
from benchmarks.stage1 import inputs_of
from xfel_apps import mpi
from xfel_apps.compute.shoebox import shoebox_photons
from xfel_apps.containers.manifest import open_product
from xfel_apps.containers.refined import REFINED
from xfel_apps.diffbragg.intensities import ExpectedIntensities
from xfel_apps.diffbragg.lattice import Refined
from xfel_apps.diffbragg.processor import ShotRefiner
from xfel_apps.diffbragg.run import DiffbraggInput, refine_run
from xfel_apps.diffbragg.settings import DiffbraggSettings
from xfel_apps.sources import FrameCache
from xfel_apps.worker import WorkerSettings

SETTINGS = DiffbraggSettings(bandwidth=0.001, model_error=0.2)
N_SHOWN = 8


def process(folder: Path) -> None:
    """Take the stills through every stage to merged intensities."""
    raw = sorted(map(str, data_folder("thermolysin_cspad").glob("*.cbf")))
    cell = ["--cell", "93.2 93.2 130.7 90 90 120", "--space-group", "P6122"]
    command = [sys.executable, "-c", "from xfel_apps.cli import main; main()", "process", *raw]
    subprocess.run(
        [*command, *cell, "--out", str(folder), "--merge", "--d-min", "2.0", "-n", "1"],
        check=True,
        stdout=sys.stderr,
    )


def figures(path: Path) -> list[dict[str, float]]:
    """Return how each lattice was before and after."""
    _, reader = open_product(path, REFINED)
    crystals, shots = reader.frame("crystals"), reader.shots()
    reader.close()
    rows = []
    for item in crystals.to_dict("records"):
        row: dict[str, float] = {"still": item["event"], "lattice": item["lattice"]}
        row["log_likelihood_gain"] = round(item["misfit_before"] - item["misfit_after"], 1)
        for name in ("offset_px", "sigma_z"):
            for when in ("before", "after"):
                row[f"{name}_{when}"] = round(float(item[f"{name}_{when}"]), 3)
        row["bandwidth_percent"] = round(100 * item["bandwidth"], 3)
        row["cpu_s"] = round(float(shots.loc[item["event"], "cpu_s"]), 2)
        rows.append(row)
    return rows


def panels(refined: Refined) -> list[tuple[NDArray[Any], ...]]:
    """Return data, model before and model after of the strongest spots."""
    shot = refined.shot
    parts = [
        shot.boxes.split(values)
        for values in (
            shot.observed,
            shoebox_photons(shot.boxes, refined.before.spots(shot), shot.beam),
            shoebox_photons(shot.boxes, refined.after.state.spots(shot), shot.beam),
        )
    ]
    strength = [float(np.nanmax(box)) - float(np.nanmedian(box)) for box in parts[0]]
    shown = np.argsort(strength)[::-1][: 3 * N_SHOWN : 3]
    return [tuple(part[i] for part in parts) for i in shown]


def draw(folder: Path, path: Path) -> None:
    """Draw the strongest spots of the first lattice of each still."""
    data = DiffbraggInput.read(inputs_of(folder))
    expected = ExpectedIntensities.read(data.mtz, SETTINGS.merged_ln_sigma)
    refiner = ShotRefiner(data.run(), FrameCache(), expected, SETTINGS)
    events = [int(event) for event in data.reflections.events]
    figure = Figure(figsize=(N_SHOWN * 1.05, len(events) * 3.3), layout="constrained")
    grid = figure.subplots(3 * len(events), N_SHOWN)
    for number, event in enumerate(events):
        task = refiner.tasks(event)[0]
        spots = panels(task.lattice.refine(task.start))
        for column, images in enumerate(spots):
            low, high = np.nanmedian(images[0]), np.nanmax(images[0])
            for row, (image, name) in enumerate(
                zip(images, ("data", "before", "after"), strict=True)
            ):
                axes = grid[3 * number + row, column]
                axes.imshow(image, vmin=low, vmax=high, cmap="magma", origin="upper")
                axes.set(xticks=[], yticks=[])
                if column == 0:
                    axes.set_ylabel(f"still {event}\n{name}", fontsize=8)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="keep the products here, or use them again")
    parser.add_argument("--picture", type=Path, help="draw the pixels to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = args.folder or Path(name)
        if not (folder / "run" / "reflections.json").is_file():
            process(folder)
        refined = folder / "refined" / "refined.json"
        shutil.rmtree(refined.parent, ignore_errors=True)
        refine_run(mpi.serial(), inputs_of(folder), refined, SETTINGS, WorkerSettings())
        if args.picture:
            draw(folder, args.picture)
        print(json.dumps({"stills": figures(refined)}))


if __name__ == "__main__":
    main()
