"""Stage 2 of diffBragg: structure factors from every pixel beside those of the standard merge.

On the nanoBragg stills (`cc_true_*`: correlation of intensities with the truth), and on a run that
is simulated here with two Gd a molecule (`cc_anom_*`: that of the anomalous differences I(+) -
I(-)), overall and by shell of resolution, over the reflections that both have. Everything starts
from our merge of the same shots; the truth is only compared with. `cc_half_*` are over the
reflections that both measured in both halves. `sigma_z_*`: rms of (I - true) / sigma in five bins
of true intensity.

`shots`: how much is known from some of the shots, see `benchmarks.stage2_shots`; `--picture` draws
it. `weak_scaling_*`: see `benchmarks.stage2_scaling`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.data import data_folder
from benchmarks.stage1 import inputs_of, process
from benchmarks.stage2_scaling import scaling
from benchmarks.stage2_shots import SHOTS, Shots, draw
from benchmarks.stage2_truth import (
    WAYS,
    agreement,
    anomalous_agreement,
    anomalous_precision,
    both_ways,
    by_shell,
    halves_agreement,
    precision,
    rounded,
    sigma_check,
    write_truth,
)
from xfel_apps import mpi
from xfel_apps.containers.factors import FactorsManifest
from xfel_apps.diffbragg.run import refine_run
from xfel_apps.factors.run import Inputs, refine_factors
from xfel_apps.factors.settings import FactorsSettings
from xfel_apps.worker import WorkerSettings

ANOMALOUS = ["crystal.heavy_element=Gd", "crystal.anomalous=true", "hit_fraction=0.9"]
CELL = ["--cell", "79.2 79.2 38 90 90 90", "--space-group", "P43212"]
N_SHELLS, N_ANOMALOUS_SHELLS = 10, 5


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


def refined(shots: Shots) -> tuple[FactorsManifest, float]:
    """Return the manifest of refined structure factors, and the CPU time of stage 2 [s]."""
    folder = shots.folder
    inputs, lattices = inputs_of(folder), folder / "all-boxes" / "refined.json"
    if not lattices.is_file():
        refine_run(mpi.serial(), inputs, lattices, SHOTS, WorkerSettings())
    write_truth(shots.truth, folder / "truth.mtz")
    settings = FactorsSettings(
        reference=folder / "truth.mtz", friedel_apart=shots.friedel_apart, n_shells=N_SHELLS
    )
    began = time.process_time()
    manifest = refine_factors(
        mpi.serial(),
        Inputs([inputs.events], [lattices], inputs.merged),
        folder / "factors" / "factors.json",
        settings,
    )
    return manifest, time.process_time() - began


def anomalous(shots: Shots) -> dict[str, Any]:
    """Return how well anomalous differences come out, with either."""
    manifest, _ = refined(shots)
    paths = (inputs_of(shots.folder).merged.with_name("merged.mtz"), shots.folder / "factors")
    table = both_ways(paths[0], paths[1] / "refined.mtz", shots.truth)
    overall = anomalous_agreement(table)
    return {
        "anom_lattices": manifest.n_lattices - len(manifest.rejected),
        "n_anom": overall["n"],
        "cc_anom_merge": overall["merge"],
        "cc_anom_stage2": overall["stage2"],
        "anom_shells": by_shell(table, N_ANOMALOUS_SHELLS, anomalous_agreement),
    }


def science(shots: Shots) -> dict[str, Any]:
    """Return how well intensities come out on the nanoBragg stills, with either."""
    manifest, cpu_s = refined(shots)
    merged = inputs_of(shots.folder).merged.with_name("merged.mtz")
    table = both_ways(merged, shots.folder / "factors" / "refined.mtz", shots.truth)
    overall, *shells = manifest.compared
    return {
        "lattices": manifest.n_lattices - len(manifest.rejected),
        "iterations": len(manifest.iterations),
        "stage2_cpu_s": round(cpu_s, 1),
        "model_error": [round(value, 4) for value in manifest.model_error],
        "n_both": overall["n"],
        "n_stage2": overall["n_refined"],
        "cc_true_merge": overall["cc_merged"],
        "cc_true_stage2": overall["cc_refined"],
        "shells": by_shell(table, N_SHELLS, lambda one: agreement(one) | halves_agreement(one)),
        "all_of_stage2": [[row["n_refined"], round(row["cc_all_refined"], 4)] for row in shells],
        **{f"sigma_z_{way}": sigma_check(table, way) for way in WAYS},
    }


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="keep the products here, or use them again")
    parser.add_argument("--shots", type=int, default=150, help="simulated, with heavy atoms")
    parser.add_argument("--picture", type=Path, help="draw correlations by number of shots here")
    return parser.parse_args()


def main() -> None:
    """Print one line of JSON."""
    args = arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = (args.folder or Path(name)).resolve()
        stills = Shots(folder / "stills", data_folder("nanobragg_lysozyme") / "truth.h5", precision)
        heavy_truth = folder / "heavy" / "raw" / "truth.h5"
        heavy = Shots(folder / "heavy", heavy_truth, anomalous_precision, friedel_apart=True)
        if not (stills.folder / "run" / "reflections.json").is_file():
            process(stills.folder)
        figures = science(stills) | scaling(stills.folder)
        if not (heavy.folder / "run" / "reflections.json").is_file():
            simulated(heavy.folder, args.shots)
        figures |= anomalous(heavy)
        figures["shots"] = {"true": stills.curve(), "anom": heavy.curve()}
        if args.picture:
            draw(list(figures["shots"].values()), args.picture)
    print(json.dumps(rounded(figures)))


if __name__ == "__main__":
    main()
