"""Trials that give way to an urgent job, or run out of time, and go on where they stopped."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.jobs import PLUGIN, REPO, user
from tests.slurm.trials import Trial, assert_same, simulate_runs
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.reader import ProductReader
from xfel_apps.worker import WorkerSettings

pytestmark = pytest.mark.slow
STOPPED_STAGE, PRODUCT = "index", CRYSTALS
APP = [b"-m", b"mpi4py", b"-m", f"xfel_apps.{STOPPED_STAGE}".encode()]
PER_SHOT = ("spotfind", "index", "integrate")
# As in profiles/slurm, but for jobs of two minutes at most.
SHORT = [
    *(f"{stage}:mpi=srun --mpi=pmi2" for stage in (*PER_SHOT, "merge")),
    *(f"{stage}:nodes=2" for stage in PER_SHOT),
    *(f"{stage}:tasks=2" for stage in (*PER_SHOT, "merge")),
]


@pytest.fixture(scope="module")
def runs(whole_cluster) -> dict[str, Path]:
    """Return one run, called as `xfelflow process` calls it."""
    made = simulate_runs(whole_cluster.home / "stop-raw", runs=1, shots=300)
    return {"run": made["r0001"]}


@pytest.fixture(scope="module")
def undisturbed(whole_cluster, runs) -> Trial:
    trial = Trial.make(whole_cluster, "undisturbed", runs)
    trial.run_locally()
    return trial


@pytest.fixture
def trial(slurm, runs, request) -> Trial:
    name = request.node.name.replace("[", "-").rstrip("]")
    # No limit of time for a shot: one of them is held for minutes.
    return Trial.make(slurm, name, runs, worker={"flush_s": 0.05, "shot_limit_s": 0})


def ranks(cluster: Cluster) -> Iterator[Path]:
    """Yield the folders in /proc of the ranks of the stage that is to be stopped."""
    mark = f"SLURM_CONF={cluster.environment['SLURM_CONF']}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # processes come and go while one looks
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if words[1:5] == APP and mark in (folder / "environ").read_bytes().split(b"\0"):
                yield folder


def wait_until(condition: Callable[[], object], limit_s: float, what: str) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"not in {limit_s} s: {what}"
        time.sleep(0.02)


def is_told(rank: Path) -> bool:
    """Return whether a signal to stop waits for a rank (or it is gone)."""
    with contextlib.suppress(OSError):
        lines = (rank / "status").read_text().splitlines()
        pending = [int(line.split()[1], 16) for line in lines if line.startswith("ShdPnd")]
        return bool(pending[0] & (1 << signal.SIGINT - 1 | 1 << signal.SIGTERM - 1))
    return True


def has_begun(trial: Trial) -> bool:
    """Return whether the stage has flushed a few events."""
    parts = list((trial.results / "run" / PRODUCT.name).glob("rank-*.h5"))
    with contextlib.suppress(Exception):  # a part is just being made
        reader = ProductReader(parts, PRODUCT)
        n_events = len(reader.events)
        reader.close()
        return n_events >= 3
    return False


class Paused:
    """The ranks of a stage, held in the middle of their work."""

    def __init__(self, trial: Trial) -> None:
        wait_until(lambda: has_begun(trial), 300, f"{STOPPED_STAGE} has begun")
        self.ranks = list(ranks(trial.cluster))
        assert self.ranks
        self._send(signal.SIGSTOP)

    def _send(self, number: signal.Signals) -> None:
        for rank in self.ranks:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(rank.name), number)

    def go_on_when(self, condition: Callable[[], object], limit_s: float, what: str) -> None:
        try:
            wait_until(condition, limit_s, what)
        finally:
            self._send(signal.SIGCONT)

    def are_told(self) -> bool:
        return all(map(is_told, self.ranks))


def give_way(cluster: Cluster, paused: Paused) -> None:
    """Let an urgent job take all nodes; the ranks go on once they have been told."""
    urgent = ["--qos=urgent", f"--nodes={len(cluster.nodes)}", "--exclusive", "--time=1"]
    job = cluster.run("sbatch", "--parsable", *urgent, "--wrap", "true").stdout.strip()
    paused.go_on_when(paused.are_told, 60, "ranks are told to give way")
    state = ["squeue", "--noheader", "--states=all", f"--job={job}", "--format=%T"]
    wait_until(lambda: cluster.say(*state) == "COMPLETED", 90, "the urgent job has run")


def check(trial: Trial, undisturbed: Trial) -> None:
    parts = sorted(path.name for path in (trial.results / "run" / PRODUCT.name).glob("rank-*.h5"))
    assert any(name.count(".") == 2 for name in parts), f"nothing went on: {parts}"
    assert_same(trial, undisturbed)


def options_of(executor: str, limit: str, minutes: int) -> list[str]:
    """Return Snakemake's options for an executor; `limit` is what stops the trial."""
    pool = "preempt" if limit == "urgent" else "regular"
    runtimes = [f"{rule}:runtime={minutes}" for rule in (*PER_SHOT, "merge", "ingest", "report")]
    if executor == "slurm":
        return ["--executor=slurm", f"--slurm-qos={pool}", "--set-resources", *SHORT, *runtimes]
    walltime = f"--parsl-walltime=00:0{minutes + 2}:00"
    return [f"--parsl-pool={pool}", walltime, "--set-resources", *SHORT, *runtimes]


@pytest.mark.parametrize("executor", ["parsl", "slurm"])
def test_a_workflow_gives_way_and_goes_on(slurm, trial, undisturbed, executor):
    with trial.snakemake("slurm", *options_of(executor, "urgent", 5)) as workflow:
        give_way(slurm, Paused(trial))
        assert workflow.wait(timeout=600) == 0, trial.log.read_text()
    check(trial, undisturbed)


@pytest.mark.parametrize(("executor", "minutes"), [("parsl", 1), ("slurm", 2)])
def test_a_workflow_runs_out_of_time_and_goes_on(trial, undisturbed, executor, minutes):
    with trial.snakemake("slurm", *options_of(executor, "walltime", minutes)) as workflow:
        paused = Paused(trial)
        paused.go_on_when(paused.are_told, 240, "ranks are told that their time is over")
        assert workflow.wait(timeout=600) == 0, trial.log.read_text()
    check(trial, undisturbed)


@pytest.fixture
def submit(slurm, trial, tmp_path):
    """Submit profiles/slurm/process.sh; return the job's number."""
    programs = trial.folder / "bin"
    programs.mkdir()
    call = "from xfel_apps.cli import main; main()"
    (programs / "xfelflow").write_text(f"#!/bin/sh\nexec {sys.executable} -c '{call}' \"$@\"\n")
    (programs / "xfelflow").chmod(0o755)

    def sbatch(raw: Path, *options: str) -> str:
        places = [
            "--nodes=2",
            "--ntasks=3",
            "--ntasks-per-node=2",
            "--mem=0",
            "--chdir",
            str(trial.folder),
        ]
        arguments = [str(raw), "--out=results/000", "--merge", f"--config={trial.experiment}"]
        return slurm.run(
            "sbatch", "--parsable", *places, *options, f"{REPO}/profiles/slurm/process.sh",
            *arguments, user=user(),
            environment={
                "PATH": f"{programs}:{slurm.environment['PATH']}",
                "PYTHONPATH": f"{PLUGIN}{os.pathsep}{REPO}",
            },
        ).stdout.strip()  # fmt: skip

    return sbatch


def restarts(cluster: Cluster, job: str, folder: Path) -> int:
    """Return how often a batch job was queued again, once it is done."""
    state = ["squeue", "--noheader", "--states=all", f"--job={job}", "--format=%T"]
    ends = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "PREEMPTED")
    wait_until(lambda: cluster.say(*state) in ends, 400, f"job {job} is done")
    output = "".join(path.read_text() for path in folder.glob("slurm-*.out"))
    assert cluster.say(*state) == "COMPLETED", output
    said = cluster.say("scontrol", "show", "job", job).split()
    return int(next(word for word in said if word.startswith("Restarts=")).partition("=")[2])


def test_a_batch_job_gives_way_and_goes_on(slurm, runs, trial, undisturbed, submit):
    job = submit(runs["run"], "--qos=preempt", "--time=10")
    give_way(slurm, Paused(trial))
    assert restarts(slurm, job, trial.folder) >= 1
    check(trial, undisturbed)


def test_a_batch_job_runs_out_of_time_and_goes_on(slurm, runs, trial, undisturbed, submit):
    """The ranks stop by themselves: Slurm says nothing that they hear."""
    job = submit(runs["run"], "--time=2", "--signal=B:CONT@1")
    paused = Paused(trial)
    end = slurm.say("squeue", "--noheader", f"--job={job}", "--format=%e")
    stop = datetime.fromisoformat(end).timestamp() - WorkerSettings().stop_before_s
    paused.go_on_when(lambda: time.time() > stop, 120, "the job's time is almost over")
    assert restarts(slurm, job, trial.folder) >= 1
    check(trial, undisturbed)


def test_a_cancelled_batch_job_does_not_come_back(slurm, runs, trial, submit):
    job = submit(runs["run"], "--time=10")
    paused = Paused(trial)
    slurm.run("scancel", job, user=user())
    paused.go_on_when(paused.are_told, 30, "ranks are told to stop")
    state = ["squeue", "--noheader", "--states=all", f"--job={job}", "--format=%T"]
    wait_until(lambda: slurm.say(*state) == "CANCELLED", 60, "the job is cancelled")
    assert not (trial.results / "run" / f"{PRODUCT.name}.json").exists()
