"""The demo: a simulated run, the workflow on it, and what came of it against the truth."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from xfel_apps.demo.comparison import comparison
from xfel_apps.errors import SettingsError
from xfel_apps.experiment import Experiment
from xfel_apps.launch import StageFailedError, launch, workflow_folder
from xfel_apps.simulate import SimulateSettings

RUN, DATASET, TRIAL = "r0001", "lysozyme", "000"
D_MIN_ANG = 2.3
MPI_STAGES = ("spotfind", "index", "integrate", "merge", "diffbragg", "refine_structure_factors")
MARK = "# Written by `xfelflow demo`, which replaces this folder when it runs again.\n"


def run_demo(out: Path, shots: int, ranks: int, say: Callable[[str], None]) -> None:
    """Simulate, process and compare; say what came out.

    Parameters
    ----------
    out : folder for everything that is written; one that an earlier demo left is replaced
    shots : how many to simulate
    ranks : processes that work at a time
    say : called with each line of the result
    """
    out = out.resolve()
    _start_afresh(out)
    start_s = time.monotonic()
    launch("simulate", ["--out", str(out / "raw"), f"--shots={shots}"], ranks, hands_out=False)
    simulated_s = time.monotonic()
    experiment = _experiment(out)
    _run_workflow(out, ranks)
    done_s = time.monotonic()
    for line in comparison(out / "raw" / "truth.h5", experiment.folder, RUN, D_MIN_ANG):
        say(line)
    say(
        f"simulated {shots} shots in {simulated_s - start_s:.0f} s, "
        f"processed them in {done_s - simulated_s:.0f} s on {ranks} ranks"
    )
    say(f"report: {experiment.folder / 'report.html'}")
    say(f"experiment: {out / 'experiment.yaml'}")


def _start_afresh(out: Path) -> None:
    """Make the folder, or empty it where an earlier demo wrote it; leave any other alone."""
    mark = out / "experiment.yaml"
    try:
        if mark.is_file() and mark.read_text().startswith(MARK):
            shutil.rmtree(out)
        if out.exists() and any(out.iterdir()):
            raise SettingsError(f"{out}: not empty and not from a demo; choose another --out")
        out.mkdir(parents=True, exist_ok=True)
        mark.write_text(MARK)
    except OSError as err:
        raise SettingsError(f"{out}: cannot write there ({err}); choose another --out") from err


def _experiment(out: Path) -> Experiment:
    """Write the experiment file, as short as a user's own, and return what it means."""
    simulation = SimulateSettings()
    crystal = simulation.crystal
    data = {
        "results": str(out / "results"),
        "trial": TRIAL,
        "runs": {RUN: [str(out / "raw" / "run_master.h5")]},
        "datasets": {DATASET: [RUN]},
        "pixels": "factors",
        "index": {
            "cell": " ".join(f"{value:g}" for value in crystal.cell),
            "space_group": crystal.space_group,
        },
        "merge": {"d_min_ang": D_MIN_ANG},
        # The simulation takes pixels at their centres, where real ones record all of their area.
        "diffbragg": {"oversample": simulation.oversample},
    }
    (out / "experiment.yaml").write_text(MARK + yaml.safe_dump(data, sort_keys=False))
    return Experiment.checked(data)


def _run_workflow(out: Path, ranks: int) -> None:
    """Run Snakemake as a user would."""
    workflow = workflow_folder()
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(workflow / "Snakefile")]
    command += ["--profile", str(workflow / "profiles" / "local"), "--directory", str(out)]
    command += ["--configfile", str(out / "experiment.yaml"), "--cores", str(ranks)]
    command += ["--quiet", "host", "reason"]
    command += ["--set-threads", *(f"{stage}={ranks}" for stage in MPI_STAGES)]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    code = subprocess.run(command, env=environment, check=False).returncode
    if code:
        raise StageFailedError(f"the workflow failed (exit code {code})")
