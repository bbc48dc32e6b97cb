"""Snakemake jobs through Parsl's blocks on the Slurm cluster."""

import subprocess
import time
from pathlib import Path

import pytest

SNAKEFILE = """
rule all:
    input: "mpi.txt", expand("small/{i}.txt", i=range(4))
rule ranks:
    output: "mpi.txt"
    resources: mpi="srun", nodes=2, tasks=4, runtime=5
    shell:
        "{resources.mpi} -n {resources.tasks}"
        " sh -c 'echo $SLURMD_NODENAME $SLURM_PROCID $SLURM_NTASKS' > {output}"
rule small:
    output: "small/{i}.txt"
    resources: runtime=1
    shell: "echo $SLURM_JOB_QOS $SLURM_JOB_ID > {output}"
"""
GIVES_WAY = """
rule ranks:
    output: "out.txt"
    resources: mpi="srun", nodes=2, tasks=2, runtime=1
    shell: "{resources.mpi} -n 2 bash rank.sh; sort again > {output}"
"""
# Both kinds end at once when they are started again.
COMES_BACK = """
rule all:
    input: "mpi.txt", "small.txt"
rule mpi:
    output: "mpi.txt"
    resources: mpi="srun", nodes=2, tasks=2
    shell:
        "[ -e started.1 ] || {{ touch started.1; {resources.mpi} sleep 300; exit 1; }};"
        " touch {output}"
rule small:
    output: "small.txt"
    shell: "[ -e started.2 ] || {{ touch started.2; sleep 300; exit 1; }}; touch {output}"
"""
SMALL_GIVES_WAY = """
rule small:
    output: "out.txt"
    shell: "SLURM_PROCID=0 bash rank.sh; cp again {output}"
"""
# A rank that flushes and exits with 75 when it is told to, and ends when it is started again.
GIVING_RANK = """
[ -e stopped.$SLURM_PROCID ] && { echo $SLURM_PROCID >> again; exit 0; }
trap 'touch stopped.$SLURM_PROCID; exit 75' INT
touch started.$SLURM_PROCID
for i in $(seq 600); do sleep 0.1; done
"""


def test_mpi_jobs_spread_over_their_nodes_and_small_ones_share(start):
    folder, process = start(SNAKEFILE, "--parsl-pool", "realtime", "--parsl-walltime", "00:08:00")
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    ranks = [line.split() for line in (folder / "mpi.txt").read_text().splitlines()]
    assert sorted(rank for _, rank, _ in ranks) == ["0", "1", "2", "3"]
    assert {size for _, _, size in ranks} == {"4"}
    assert len({node for node, _, _ in ranks}) == 2
    jobs = {(folder / "small" / f"{i}.txt").read_text() for i in range(4)}
    assert len(jobs) == 1
    assert jobs.pop().startswith("realtime ")


def wait_for_files(folder: Path, pattern: str, count: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 300
    while len(list(folder.glob(pattern))) < count:
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.1)


@pytest.mark.parametrize(
    "urgent",
    [
        pytest.param("--qos=urgent", id="preemption"),
        pytest.param("--reservation=beamtime", id="reservation"),
    ],
)
def test_preemptible_blocks_give_way_and_their_jobs_go_on(slurm, start, urgent):
    """An urgent job takes the nodes; the job's ranks exit with 75 and are started again.

    Where the nodes are reserved, the block has entered the reservation and leaves it.
    """
    if urgent == "--reservation=beamtime":
        slurm.reserve("beamtime", slurm.nodes)
    folder, process = start(GIVES_WAY, "--parsl-pool", "preempt", "--parsl-walltime", "00:05:00")
    (folder / "rank.sh").write_text(GIVING_RANK)
    wait_for_files(folder, "started.*", 2, process)
    slurm.run("srun", "-N4", "--exclusive", urgent, "true", limit_s=120)
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert (folder / "out.txt").read_text() == "0\n1\n", said


def test_small_jobs_are_told_too(slurm, start):
    folder, process = start(SMALL_GIVES_WAY, "--parsl-pool", "preempt")
    (folder / "rank.sh").write_text(GIVING_RANK)
    wait_for_files(folder, "started.*", 1, process)
    slurm.run("srun", "-N4", "--exclusive", "--qos=urgent", "true", limit_s=120)
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert (folder / "out.txt").read_text() == "0\n", said
    assert "was stopped (exit code 75)" in said


@pytest.mark.slow
@pytest.mark.parametrize("how", [[], ["--signal=KILL", "--full"]], ids=["cancelled", "killed"])
def test_jobs_of_lost_blocks_come_back(slurm, start, how):
    folder, process = start(COMES_BACK, "--parsl-pool", "regular", "--parsl-walltime", "00:10:00")
    wait_for_files(folder, "started.*", 2, process)
    slurm.run("scancel", *how, *slurm.say("squeue", "-h", "-o", "%A").split())
    said, _ = process.communicate(timeout=500)
    assert process.returncode == 0, said
    assert (folder / "mpi.txt").is_file()
    assert (folder / "small.txt").is_file()
    assert "Error" not in said


@pytest.mark.slow
def test_running_jobs_are_told_before_the_walltime_and_go_on(start):
    folder, process = start(GIVES_WAY, "--parsl-pool", "regular", "--parsl-walltime", "00:02:00")
    (folder / "rank.sh").write_text(GIVING_RANK.replace("600", "3000"))
    said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said
    assert (folder / "out.txt").read_text() == "0\n1\n", said
    assert len(list(folder.glob("stopped.*"))) == 2
