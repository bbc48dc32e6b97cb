"""Stage 1 of diffBragg on the nanoBragg stills: lattices before and after, and what it costs.

The run is processed and merged as ever; intensities start from that merge, never from the truth.
Pixels are sampled at their centres (oversample 1) and have no noise but that of counting
(model_error 0), as that program made them. The truth's orientation is
that of one of the ten domains of each crystal; they scatter about it, so the mean orientation,
which is all that the pixels show, is off it by a median of about 0.012 degrees
(`orientation_deg_of_domains`): no fit can come below that but by luck. `benchmarks.stage1_domains`
measures how near to the mean the fits are.

Figures of the published program (hopper, L-BFGS-B, one CPU, 20 of the hits, true |F| given) are
quoted. The minimiser is compared with SciPy's L-BFGS-B on the same likelihood, from the same start.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from benchmarks.data import data_folder
from benchmarks.one_core import least_cpu_s, one_thread
from benchmarks.stage1_domains import domain_figures, given_true_intensities
from xfel_apps import mpi
from xfel_apps.compare.truth import Truth, score_lattices
from xfel_apps.compute.shoebox import shoebox_derivatives, shoebox_likelihood, shoebox_photons
from xfel_apps.containers.manifest import open_product
from xfel_apps.containers.refined import REFINED
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.diffbragg.fit import ShotPixels, ShotState, Target, fit, moved
from xfel_apps.diffbragg.intensities import ExpectedIntensities
from xfel_apps.diffbragg.lattice import scaled
from xfel_apps.diffbragg.processor import ShotRefiner, Task
from xfel_apps.diffbragg.run import DiffbraggInput, Inputs, refine_run
from xfel_apps.diffbragg.settings import DiffbraggSettings
from xfel_apps.pixel_model.crystal import Parameters
from xfel_apps.sources import FrameCache
from xfel_apps.worker import WorkerSettings

PUBLISHED = {
    "published_cpu_s_per_shot": 7.1,
    "published_orientation_deg_before": 0.044,
    "published_orientation_deg_after": 0.012,
    "published_cell_a_percent_after": 0.0023,
    "published_cell_c_percent_after": 0.0032,
}
SETTINGS = DiffbraggSettings(oversample=1, model_error=0.0)
N_COMPARED = 6
MIB = 2**20


def process(folder: Path) -> None:
    """Take the stills through every stage to merged intensities."""
    raw = data_folder("nanobragg_lysozyme") / "lyso130.h5"
    cell = ["--cell", "79.2 79.2 38 90 90 90", "--space-group", "P43212"]
    command = [sys.executable, "-c", "from xfel_apps.cli import main; main()", "process", str(raw)]
    subprocess.run(
        [*command, *cell, "--out", str(folder), "--merge", "--d-min", "2.0", "-n", "1"],
        check=True,
        stdout=sys.stderr,
    )


def inputs_of(folder: Path) -> Inputs:
    run, merged = folder / "run", sorted(folder.glob("datasets/all/v*/merged.json"))[-1]
    names = ("events", "spots", "crystals", "reflections")
    return Inputs(*(run / f"{name}.json" for name in names), merged)


def lattices(path: Path, product: Any) -> tuple[Any, Any]:
    """Return the crystals and the shots of a product, as frames."""
    _, reader = open_product(path, product)
    crystals, shots = reader.frame("crystals"), reader.shots()
    reader.close()
    return crystals.assign(shot=crystals["event"]), shots


def quality(folder: Path) -> dict[str, float]:
    """Return errors of orientation and cell before and after, and CPU time a shot."""
    inputs, refined = inputs_of(folder), folder / "refined" / "refined.json"
    shutil.rmtree(refined.parent, ignore_errors=True)
    refine_run(mpi.serial(), inputs, refined, SETTINGS, WorkerSettings())
    truth = Truth.read(data_folder("nanobragg_lysozyme") / "truth.h5")
    before = score_lattices(lattices(inputs.reflections, REFLECTIONS)[0], truth)
    crystals, shots = lattices(refined, REFINED)
    after = score_lattices(crystals, truth)
    figures = {"hits": after.hits, "hits_refined": after.hits_indexed}
    figures["cpu_s_per_shot"] = round(float(shots["cpu_s"].median()), 3)
    figures["cpu_s_per_shot_max"] = round(float(shots["cpu_s"].max()), 3)
    for when, score in (("before", before), ("after", after)):
        figures[f"orientation_deg_{when}"] = round(score.orientation_deg_median, 4)
        figures[f"cell_a_percent_{when}"] = round(score.cell_a_percent_median, 4)
        figures[f"cell_c_percent_{when}"] = round(score.cell_c_percent_median, 4)
    for name in ("offset_px", "sigma_z"):
        for when in ("before", "after"):
            figures[f"{name}_{when}"] = round(float(crystals[f"{name}_{when}"].median()), 4)
    sigma = np.linalg.norm(crystals[[f"turn_sigma_deg_{i}" for i in range(3)]], axis=1)
    figures["orientation_deg_standard_error"] = round(float(np.median(sigma)), 4)
    figures["orientation_deg_of_domains"] = round(of_domains(crystals["spread_deg"].median()), 4)
    return figures


def of_domains(spread_deg: float) -> float:
    """Return the median angle between the first of ten domains and their mean [degree].

    Parameters
    ----------
    spread_deg : rms rotation of the ten about their mean, about each axis; nine are turned at
        random against the first
    """
    rng = np.random.default_rng(1)
    turns = rng.normal(size=(20_000, 10, 3))
    turns[:, 0] = 0.0
    unit = np.sqrt(np.mean(turns.var(axis=1)))
    return float(np.median(np.linalg.norm(turns.mean(axis=1), axis=1)) * spread_deg / unit)


def first_tasks(folder: Path) -> list[Task]:
    """Return the first lattices of the run."""
    data = DiffbraggInput.read(inputs_of(folder))
    expected = ExpectedIntensities.read(data.mtz, SETTINGS.merged_ln_sigma)
    refiner = ShotRefiner(data.run(), FrameCache(), expected, SETTINGS)
    return [refiner.tasks(int(event))[0] for event in data.reflections.events[:N_COMPARED]]


def costs(shot: ShotPixels, state: ShotState) -> dict[str, float]:
    """Return what all derivatives of a shot's pixels cost beside the pixels alone.

    What the fit asks for is the likelihood with its gradient and curvature by every parameter
    (`derivative_cost_ratio`); arrays of 17 derivatives a pixel take longer to write than to make.
    """
    spots, model = state.spots(shot), (shot.boxes, state.spots(shot), shot.beam)
    forward = least_cpu_s(lambda: [shoebox_photons(*model) for _ in range(10)], 7) / 10
    derivatives = least_cpu_s(lambda: [shoebox_derivatives(*model) for _ in range(10)], 7) / 10
    with_noise = (*model, shot.observed, shot.noise)
    likelihood = least_cpu_s(lambda: [shoebox_likelihood(*with_noise) for _ in range(10)], 7) / 10
    return {
        "boxes": len(spots),
        "pixels": len(shot.observed),
        "forward_ms": round(1e3 * forward, 3),
        "derivative_cost_ratio": round(likelihood / forward, 2),
        "derivative_arrays_cost_ratio": round(derivatives / forward, 2),
    }


def lbfgsb(target: Target, start: ShotState) -> tuple[float, float, int]:
    """Return cost, CPU time [s] and evaluations of SciPy's L-BFGS-B, its numbers scaled."""
    normal = target.normal(start, target.likelihood(start))
    p = len(normal.slope)
    bend = normal.curvature[:, :p, :p].sum(axis=0).diagonal() + normal.bend.diagonal()
    own = np.einsum("nii->ni", normal.curvature)[:, p:]
    scale = 1.0 / np.sqrt(np.concatenate([bend, own.ravel()]) + 1e-12)

    def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
        at = x * scale
        state = moved(target, start, at[:p], at[p:].reshape(-1, 4))
        found = target.likelihood(state)
        here = target.normal(state, found)
        slope = here.gradient[:, :p].sum(axis=0) + here.slope
        gradient = np.concatenate([slope, here.gradient[:, p:].ravel()])
        return target.cost(state, found), gradient * scale

    began = time.process_time()
    found = minimize(
        evaluate, np.zeros(len(scale)), jac=True, method="L-BFGS-B", options={"maxiter": 1000}
    )
    return float(found.fun), time.process_time() - began, int(found.nfev)


def compared(tasks: list[Task]) -> dict[str, float]:
    """Return how our minimiser and L-BFGS-B do on the same shots from the same start."""
    ours, theirs = [], []
    for task in tasks:
        _, shot = task.lattice.pixels(task.start)
        target = Target(shot, Parameters(anisotropic_blocks=True), task.lattice.restraints)
        start = scaled(shot, task.start)
        began = time.process_time()
        done = fit(target, start, SETTINGS.max_steps, SETTINGS.tolerance)
        ours.append((done.cost, time.process_time() - began, done.n_steps))
        theirs.append(lbfgsb(target, start))
    mine, other = np.array(ours), np.array(theirs)
    return {
        "fit_cpu_s": round(float(np.median(mine[:, 1])), 3),
        "fit_evaluations": float(np.median(mine[:, 2])),
        "lbfgsb_cpu_s": round(float(np.median(other[:, 1])), 3),
        "lbfgsb_evaluations": float(np.median(other[:, 2])),
        "lbfgsb_cost_above_fit": round(float(np.median(other[:, 0] - mine[:, 0])), 2),
    }


def memory(task: Task) -> dict[str, float]:
    """Return what 32 shots of 300 boxes take, and this process when it has refined one beside them.

    The frame is made one of 4 Mpx: pixels that the panel does not have are put beside it.
    """
    frame = task.lattice.frame
    more = [(0, 2048 - size) for size in frame.pixels.shape]
    large = replace(frame, pixels=np.pad(frame.pixels, more), good=np.pad(frame.good, more))
    lattice = replace(task.lattice, frame=large)
    shots = [lattice.pixels(task.start)[1] for _ in range(32)]
    lattice.refine(task.start)
    pixels = sum(
        array.nbytes
        for shot in shots
        for array in (
            *(shot.observed, shot.noise, shot.hkl, shot.intensity, shot.ln_sigma),
            *(shot.boxes.origins_mm, shot.boxes.axes_mm, shot.boxes.sizes),
        )
    )
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "boxes_32_shots": sum(map(len, shots)),
        "pixels_32_shots_mib": round(pixels / MIB, 1),
        "process_32_shots_4mpx_mib": round(peak_kib / 1024, 1),
    }


def main() -> None:
    """Print one line of JSON."""
    one_thread("benchmarks.stage1")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="keep the products here, or use them again")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = args.folder or Path(name)
        if not (folder / "run" / "reflections.json").is_file():
            process(folder)
        figures = quality(folder)
        tasks = first_tasks(folder)
        _, shot = tasks[0].lattice.pixels(tasks[0].start)
        figures |= costs(shot, scaled(shot, tasks[0].start))
        figures |= compared(tasks) | memory(tasks[0])
        data = DiffbraggInput.read(inputs_of(folder))
        figures |= domain_figures(data, SETTINGS) | given_true_intensities(data, SETTINGS)
    print(json.dumps(figures | PUBLISHED))


if __name__ == "__main__":
    main()
