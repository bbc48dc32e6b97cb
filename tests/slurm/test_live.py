"""Live processing on the Slurm cluster, as its user: runs come while the daemon works."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.slurm.cluster import Cluster
from tests.slurm.jobs import PLUGIN, REPO, user
from tests.slurm.trials import simulate_runs, write_experiment
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.experiment import Experiment

XFELFLOW = [sys.executable, "-c", "from xfel_apps.cli import main; main()"]
LIVE = {"chunk_shots": 6, "quiet_s": 8.0, "merge_lattices": 5, "merge_wait_s": 2.0, "idle_s": 30.0}


class Shift:
    """A folder of the cluster's user into which raw files come, and a daemon."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.folder = cluster, cluster.home / name
        cluster.run("mkdir", "-p", str(self.folder / "raw"), user=user())
        watch = str(self.folder / "raw" / "{run}" / "run_master.h5")
        self.experiment = write_experiment(
            self.folder / "experiment.yaml", {}, datasets={}, live={"watch": watch, **LIVE}
        )
        self.started: list[subprocess.Popen[str]] = []

    @property
    def trial(self) -> Path:
        return self.folder / "results" / "000"

    def start(self, *command: str, log: str) -> subprocess.Popen[str]:
        """Start a command of xfelflow as the cluster's user."""
        environment = {**self.cluster.environment, "PYTHONPATH": f"{PLUGIN}{os.pathsep}{REPO}"}
        with (self.folder / log).open("a") as file:
            process = subprocess.Popen(
                [*self.cluster.become(user()), *XFELFLOW, *command],
                cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
                stdout=file, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        self.started.append(process)
        return process

    def daemon(self, *options: str) -> subprocess.Popen[str]:
        where = ["--parsl-config", "slurm", "--workers", "2"]
        return self.start(
            "live", str(self.experiment), *where, "--walltime", "00:10:00", *options, log="live.log"
        )

    def come(self, run: str, source: Path) -> None:
        """Let a whole run come at once."""
        arriving = self.folder / "arriving"
        shutil.copytree(source, arriving)
        arriving.rename(self.folder / "raw" / run)

    def states(self) -> dict[str, str]:
        """Return how each run stands."""
        try:
            status = json.loads((self.folder / "results/live/status.json").read_text())
        except FileNotFoundError:
            return {}
        return {row["run"]: row["state"] for row in status["runs"]}

    def is_final(self, *runs: str) -> bool:
        """Return whether these runs are sealed, merged and reported."""
        if self.states() != dict.fromkeys(runs, "sealed"):
            return False
        page = self.trial / "report.html"
        experiment = Experiment.checked(
            yaml.safe_load((self.trial / "experiment.yaml").read_text())
        )
        if set(experiment.runs) != set(runs) or not page.is_file():
            return False
        last = experiment.version_folder("all", experiment.dataset_key("all")) / "merged.json"
        return last.is_file() and page.stat().st_mtime_ns > last.stat().st_mtime_ns

    def wait_for(self, runs: list[str], limit_s: float, daemon: subprocess.Popen[str]) -> None:
        end_s = time.monotonic() + limit_s
        while not self.is_final(*runs):
            assert daemon.poll() is None, self.said()
            assert time.monotonic() < end_s, self.said()
            time.sleep(1.0)

    def said(self) -> str:
        return (self.folder / "live.log").read_text()

    def stop(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture
def shift(slurm, request) -> Iterator[Shift]:
    shift = Shift(slurm, request.node.name)
    yield shift
    shift.stop()
    print(shift.said())  # pytest shows it where the test failed


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    return simulate_runs(tmp_path_factory.mktemp("raw"), runs=3, shots=24)


@pytest.mark.slow
def test_runs_that_come_and_grow_end_in_the_files_of_the_batch(slurm, shift, runs):
    """The reservation has a node for a crew and one for small tasks; preemptible nodes help."""
    slurm.reserve("beamtime", slurm.nodes[:2], user=user())
    blocks = ["--reservation", "beamtime", "--blocks", "reservation=1,preempt=2", "--nodes", "1"]
    daemon = shift.daemon(*blocks)
    shift.come("r0001", runs["r0001"])
    time.sleep(5.0)
    growing = shift.folder / "raw" / "r0003" / "run_master.h5"
    growing.parent.mkdir()
    os.chown(growing.parent, shift.folder.stat().st_uid, -1)
    source = shutil.copytree(runs["r0003"], shift.folder / "source")  # pytest's are its own
    master = str(source / "run_master.h5")
    shift.start("replay", master, "--out", str(growing), "--rate-hz", "1", log="replay.log")
    shift.come("r0002", runs["r0002"])
    shift.wait_for(["r0001", "r0002", "r0003"], 400, daemon)
    daemon.terminate()
    assert daemon.wait(60) == 75, shift.said()
    assert not slurm.say("squeue", "-h")
    assert {f"crew {pool}-" in shift.said() for pool in ("reservation", "preempt")} == {True}
    versions = sorted(shift.trial.glob("datasets/all/v*/merged.json"))
    assert len(versions) > 1
    assert set(MergedManifest.read(versions[-1]).inputs) == {"r0001", "r0002", "r0003"}
    said = slurm.run(
        sys.executable, "-m", "snakemake", "--snakefile", str(REPO / "Snakefile"),
        "--profile", str(REPO / "profiles" / "local"), "-n",
        "--configfile", str(shift.trial / "experiment.yaml"),
        user=user(), folder=shift.folder, environment={"PYTHONPATH": str(REPO)}, limit_s=120,
    )  # fmt: skip
    assert "Nothing to be done" in said.stdout + said.stderr
