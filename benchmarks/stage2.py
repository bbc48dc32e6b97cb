"""Stage 2 of diffBragg: structure factors from every pixel beside those of the standard merge.

`cc_true_*`: on the nanoBragg stills, correlation of intensities with the truth over the
reflections that both have, overall and by shell of resolution. `cc_anom_*`: correlation of the
anomalous differences I(+) - I(-) with the true ones, on a run that is simulated here with two Gd
a molecule. Everything starts from our merge of the same shots; the truth is only compared with.

`weak_scaling_overhead`: iterations of 1, 2, 4 and 8 ranks on two copies of the stills a rank, all
shared out anew: processor time of the busiest rank, the sum over all ranks in it, over the mean of
what the ranks spent on their lattices, less one. So it has in it how even the shares are and what
communication costs, and not how much slower the cores are where more ranks than cores share them
(`iteration_cpu_s` shows that). A rank that waits sleeps.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gemmi
import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks.data import data_folder
from benchmarks.stage1 import inputs_of, process
from xfel_apps import mpi
from xfel_apps.containers.factors import FactorsManifest
from xfel_apps.diffbragg.run import refine_run
from xfel_apps.diffbragg.settings import DiffbraggSettings
from xfel_apps.factors import refine as factors_refine
from xfel_apps.factors.dataset import Dataset
from xfel_apps.factors.refine import Refiner
from xfel_apps.factors.run import Inputs, refine_factors
from xfel_apps.factors.settings import FactorsSettings
from xfel_apps.factors.share import total
from xfel_apps.intensities.agreement import correlation
from xfel_apps.intensities.mtz import Header, write_mtz
from xfel_apps.worker import WorkerSettings

Array = NDArray[np.float64]

MPIEXEC = Path(sys.executable).with_name("mpiexec")
RANKS = (1, 2, 4, 8)
N_TIMED, COPIES = 4, 2
SHOTS = DiffbraggSettings(max_boxes=3000, d_min_ang=2.0, oversample=1, model_error=0.0)
ANOMALOUS = ["crystal.heavy_element=Gd", "crystal.anomalous=true", "hit_fraction=0.9"]
CELL = ["--cell", "79.2 79.2 38 90 90 90", "--space-group", "P43212"]


def xfelflow(*arguments: str) -> None:
    """Run a command of the package; what it says goes to stderr."""
    code = "from xfel_apps.cli import main; main()"
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=sys.stderr)


def simulated(folder: Path, shots: int) -> None:
    """Simulate stills with anomalous scatterers, and process them to merged intensities."""
    sets = [x for item in ANOMALOUS for x in ("--set", item)]
    xfelflow("simulate", "--out", str(folder / "raw"), "--shots", str(shots), "-n", "1", *sets)
    given = [*CELL, "--merge", "--d-min", "2.0", "-n", "1", "--set", "merge.friedel_apart=true"]
    xfelflow("process", str(folder / "raw" / "run_master.h5"), "--out", str(folder), *given)


def write_truth(truth: Path, path: Path) -> None:
    """Write the true intensities as an MTZ file."""
    with h5py.File(truth) as file:
        group = gemmi.SpaceGroup(str(file.attrs["space_group"]))
        header = Header(gemmi.UnitCell(*file.attrs["base_cell"]), group, 1.3)
        write_mtz(path, file["F_hkl"][()], [("IMEAN", "J", file["I_true"][()])], header, [])


def refined(folder: Path, truth: Path, *, friedel_apart: bool) -> tuple[FactorsManifest, float]:
    """Return the manifest of refined structure factors, and the CPU time of stage 2 [s]."""
    inputs, shots = inputs_of(folder), folder / "all-boxes" / "refined.json"
    if not shots.is_file():
        refine_run(mpi.serial(), inputs, shots, SHOTS, WorkerSettings())
    write_truth(truth, folder / "truth.mtz")
    settings = FactorsSettings(reference=folder / "truth.mtz", friedel_apart=friedel_apart)
    began = time.process_time()
    manifest = refine_factors(
        mpi.serial(),
        Inputs([inputs.events], [shots], inputs.merged),
        folder / "factors" / "factors.json",
        settings,
    )
    return manifest, time.process_time() - began


def differences(path: Path, labels: tuple[str, str]) -> dict[tuple[int, ...], float]:
    """Return the anomalous differences in an MTZ file by Miller index."""
    mtz = gemmi.read_mtz_file(str(path))
    plus, minus = (np.asarray(mtz.column_with_label(label).array, float) for label in labels)
    hkl = map(tuple, np.asarray(mtz.make_miller_array()).tolist())
    return {h: d for h, d in zip(hkl, plus - minus, strict=True) if np.isfinite(d)}


def anomalous(folder: Path) -> dict[str, Any]:
    """Return how well anomalous differences come out, with either."""
    truth = folder / "raw" / "truth.h5"
    manifest, _ = refined(folder, truth, friedel_apart=True)
    with h5py.File(truth) as file:
        true_d = file["F_plus"][()] ** 2 - file["F_minus"][()] ** 2
        true = dict(zip(map(tuple, file["F_hkl"][()].tolist()), true_d.tolist(), strict=True))
    labels = ("I(+)", "I(-)")
    found = [
        differences(inputs_of(folder).merged.with_name("merged.mtz"), labels),
        differences(folder / "factors" / "refined.mtz", labels),
    ]
    common = sorted(set(found[0]) & set(found[1]) & {h for h, d in true.items() if abs(d) > 0.0})
    expected = np.array([true[h] for h in common])
    values = [np.array([one[h] for h in common]) for one in found]
    return {
        "anom_lattices": manifest.n_lattices - len(manifest.rejected),
        "n_anom": len(common),
        "cc_anom_merge": correlation(values[0], expected),
        "cc_anom_stage2": correlation(values[1], expected),
    }


def science(folder: Path) -> dict[str, Any]:
    """Return how well intensities come out on the nanoBragg stills, with either."""
    truth = data_folder("nanobragg_lysozyme") / "truth.h5"
    manifest, cpu_s = refined(folder, truth, friedel_apart=False)
    overall, *shells = manifest.compared
    halves = manifest.statistics["overall"]["cc_half"]
    return {
        "lattices": manifest.n_lattices - len(manifest.rejected),
        "iterations": len(manifest.iterations),
        "stage2_cpu_s": round(cpu_s, 1),
        "model_error": [round(value, 4) for value in manifest.model_error],
        "n_both": overall["n"],
        "n_stage2": overall["n_refined"],
        "cc_half_merge": manifest.merged_statistics["overall"]["cc_half"],
        "cc_half_stage2": halves,
        "cc_true_merge": overall["cc_merged"],
        "cc_true_stage2": overall["cc_refined"],
        "shells": [
            {
                "d_min_ang": round(row["d_min_ang"], 2),
                "n": row["n"],
                "merge": row["cc_merged"],
                "stage2": row["cc_refined"],
                "n_stage2": row["n_refined"],
                "stage2_all": row["cc_all_refined"],
            }
            for row in shells
        ],
    }


def iterate(folder: Path) -> None:
    """Print the CPU time of an iteration on the busiest rank, the same work for each [s]."""
    comm, inputs = mpi.world(), inputs_of(folder)
    shots = folder / "all-boxes" / "refined.json"
    dataset = Dataset.read([inputs.events], [shots], inputs.merged, FactorsSettings())
    dataset = replace(dataset, runs=dataset.runs * (COPIES * comm.size))
    lattices = dataset.lattices_of(comm.rank, comm.size)
    refiner = Refiner(comm, lattices, dataset.s2, dataset.settings)
    model = dataset.first_model
    refiner.begin(model)
    summing = _Summing()
    vars(factors_refine)["total"] = summing
    began = time.process_time()
    for _ in range(N_TIMED):
        model = refiner.iterate(model)
    whole = (time.process_time() - began) / N_TIMED
    own = whole - summing.cpu_s / N_TIMED
    every = comm.gather((whole, own))
    if every is not None:
        print(json.dumps(np.array(every).T.tolist()))


class _Summing:
    """The sum over all ranks, its CPU time counted [s]."""

    def __init__(self) -> None:
        self.cpu_s = 0.0

    def __call__(self, comm: mpi.Comm, mine: NDArray[np.int64]) -> Array:
        began = time.process_time()
        result = total(comm, mine)
        self.cpu_s += time.process_time() - began
        return result


def scaling(folder: Path) -> dict[str, Any]:
    """Return the CPU time of an iteration by number of ranks, and the overhead."""
    busiest, overhead = {}, {}
    for size in RANKS:
        work = [sys.executable, "-m", "mpi4py", "-m", "benchmarks.stage2", "--work", str(folder)]
        made = subprocess.run(
            [str(MPIEXEC), "-n", str(size), *work], check=True, capture_output=True, text=True
        )
        whole, own = np.array(json.loads(made.stdout.splitlines()[-1]))
        busiest[str(size)] = round(float(whole.max()), 3)
        overhead[str(size)] = round(float(whole.max() / own.mean()) - 1.0, 3)
    return {
        "iteration_cpu_s": busiest,
        "overhead_by_ranks": overhead,
        "weak_scaling_overhead": max(overhead.values()),
    }


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="keep the products here, or use them again")
    parser.add_argument("--shots", type=int, default=150, help="simulated, with heavy atoms")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        iterate(args.work)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = (args.folder or Path(name)).resolve()
        stills, heavy = folder / "stills", folder / "heavy"
        if not (stills / "run" / "reflections.json").is_file():
            process(stills)
        figures = science(stills) | scaling(stills)
        if not (heavy / "run" / "reflections.json").is_file():
            simulated(heavy, args.shots)
        figures |= anomalous(heavy)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
