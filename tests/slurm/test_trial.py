"""Whole trials of simulated runs through the sites' profiles, on the Slurm cluster."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.slurm.jobs import PLUGIN, REPO
from tests.slurm.trials import Trial, assert_same, simulate_runs, write_experiment

WITHOUT_SLURM = ("bash", "env", "sh", "uname", "which")


@pytest.fixture(scope="module")
def runs(whole_cluster) -> dict[str, Path]:
    return simulate_runs(whole_cluster.home / "raw", runs=2, shots=24)


@pytest.fixture(scope="module")
def expected(whole_cluster, runs) -> Trial:
    """Return the trial run in this process."""
    trial = Trial.make(whole_cluster, "expected", runs)
    trial.run_locally()
    return trial


def finish(trial: Trial, profile: str, *options: str, limit_s: float) -> None:
    with trial.snakemake(profile, *options) as workflow:
        code = workflow.wait(timeout=limit_s)
    assert code == 0, trial.log.read_text()
    assert "<html" in (trial.results / "report.html").read_text()


def test_a_run_through_pilot_blocks(slurm, runs):
    one = {"r0001": runs["r0001"]}
    local, trial = Trial.make(slurm, "one-local", one), Trial.make(slurm, "one", one)
    local.run_locally()
    finish(trial, "slurm", limit_s=400)
    assert_same(trial, local)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("profile", "options"),
    [
        ("slurm", []),
        ("slurm", ["--executor", "slurm"]),
        # The names that a site does not share with the test cluster, and nothing else.
        ("nersc", ["--parsl-config", "slurm", "--parsl-account", "xfel"]),
        ("olcf", ["--parsl-config", "slurm", "--parsl-account", "xfel"]),
    ],
)
def test_two_runs_to_merged_data_and_report(slurm, runs, expected, request, profile, options):
    trial = Trial.make(slurm, request.node.callspec.id, runs)
    finish(trial, profile, *options, limit_s=900)
    assert_same(trial, expected)


@pytest.mark.parametrize("profile", ["slurm", "nersc", "olcf"])
def test_a_laptop_without_slurm_can_say_what_would_run(tmp_path, profile):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in WITHOUT_SLURM:
        (programs / name).symlink_to(str(shutil.which(name)))
    raw = tmp_path / "run.h5"
    raw.touch()
    experiment = write_experiment(tmp_path / "experiment.yaml", {"r0001": raw})
    said = subprocess.run(
        [sys.executable, "-m", "snakemake", "--profile", profile, "-n",
         "--configfile", str(experiment), "--directory", str(tmp_path), "--printshellcmds"],
        cwd=REPO,
        env={"PATH": str(programs), "PYTHONPATH": f"{PLUGIN}{os.pathsep}{REPO}"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert "srun --mpi=pmi2 -n " in said.stdout + said.stderr
