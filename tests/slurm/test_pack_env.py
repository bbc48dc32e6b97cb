"""The environment in one archive, sent to the nodes of a job, which then run from there."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster

REPO = Path(__file__).parents[2]
CHECKOUT = {
    "PYTHONPATH": os.pathsep.join([str(REPO), f"{REPO}/snakemake-executor-plugin-parsl/src"])
}
XFELFLOW = "from xfel_apps.cli import main; main()"
JOB = """#!/bin/bash
source env.sh || exit 1
srun --ntasks=4 --ntasks-per-node=2 python -m mpi4py ranks.py
srun --ntasks=2 --ntasks-per-node=1 python -c '{xfelflow}' pack-env --measure
"""
SNAKEFILE = """
rule all:
    input: "ranks.json", "small.txt"
rule ranks:
    output: "ranks.json"
    resources: mpi="srun", nodes=2, tasks=4, runtime=5
    shell: "{resources.mpi} -n {resources.tasks} python -m mpi4py ranks.py > {output}"
rule small:
    output: "small.txt"
    shell: "python -c 'import sys, xfel_apps; print(sys.prefix)' > {output}"
"""
# Every rank adds a frame of rank + 1 to a powder sum (in sixteenths) by a compiled kernel.
RANKS = """
import json, os, sys
import numpy as np
from xfel_apps import _kernels, mpi
from xfel_apps.compute.panels import Panels
from xfel_apps.compute.powder import Sums, powder_add

comm, shape = mpi.world(), (8, 8)
one = np.ones(1)
panels = Panels(np.array([[0, 0]]), np.array([shape]), np.array([[0.0, 1000.0]]), one, one)
sums = Sums.empty(shape)
frame = np.full(shape, comm.rank + 1, np.int32)
powder_add(frame, np.ones(shape, np.uint8), panels, sums)
sums.settle()
me = {
    "node": os.environ["SLURMD_NODENAME"], "copy": os.stat(sys.prefix).st_ino,
    "kernels": _kernels.__file__, "python": os.path.realpath(sys.executable),
    "total": comm.allreduce(int(sums.total.sum())),
}
everyone = comm.gather(me)
if comm.rank == 0:
    print(json.dumps(everyone))
"""


@pytest.fixture(scope="module")
def packed(whole_cluster: Cluster) -> Path:
    """Pack this environment for the cluster's nodes and return the archive."""
    archive = whole_cluster.home / "env.tar.zst"
    command = [sys.executable, "-c", XFELFLOW, "pack-env", "--out", str(archive)]
    subprocess.run(
        [*command, "--node-folder", str(whole_cluster.local)],
        env={**os.environ, **CHECKOUT}, check=True, timeout=300,
    )  # fmt: skip
    return archive


def wait_until_gone(slurm: Cluster, limit_s: float = 60.0) -> None:
    """Return when the nodes' own disks hold no copy any more."""
    end = time.monotonic() + limit_s
    while left := copies(slurm):
        assert time.monotonic() < end, left
        time.sleep(0.2)


def copies(slurm: Cluster) -> list[str]:
    """Return the copies on the nodes' own disks.

    Not those (.gone) that a busy disk has not quite removed when Slurm kills the step, after five
    seconds: the next job does that.
    """
    found = (slurm.root / "tmp").glob("*/xfelflow-*/*")
    return [str(path) for path in found if path.name != "lock" and path.suffix != ".gone"]


@pytest.mark.slow
def test_ranks_on_two_nodes_run_from_their_nodes_own_copies(slurm, packed):
    (slurm.home / "job.sh").write_text(JOB.format(xfelflow=XFELFLOW))
    (slurm.home / "ranks.py").write_text(RANKS)
    out = slurm.home / "out.txt"
    job = ("--nodes=2", "--ntasks-per-node=2", "--qos=realtime", f"--output={out}", "job.sh")
    done = slurm.run("sbatch", "--wait", *job, limit_s=300, check=False)
    said = out.read_text()
    assert done.returncode == 0, said
    check_ranks(slurm, said)
    mine = f"{slurm.local}/xfelflow-"
    assert len(re.findall(rf"files opened: \d+ below {mine}\S+ ", said)) == 2, said
    assert str(REPO) not in said
    wait_until_gone(slurm)


@pytest.mark.slow
def test_blocks_of_parsl_run_from_their_nodes_own_copies(slurm, packed, start):
    options = f"--parsl-pool=realtime --parsl-environment={packed.with_name('env.sh')}"
    folder, process = start(SNAKEFILE, *options.split())
    (folder / "ranks.py").write_text(RANKS)
    said, _ = process.communicate(timeout=400)
    logs = (folder / ".snakemake" / "parsl_logs").rglob("*.log")
    assert process.returncode == 0, said + "".join(log.read_text() for log in logs)
    check_ranks(slurm, (folder / "ranks.json").read_text())
    assert (folder / "small.txt").read_text().startswith(f"{slurm.local}/xfelflow-")
    wait_until_gone(slurm)


def check_ranks(slurm: Cluster, said: str) -> None:
    """Check what four ranks on two nodes found, from their nodes' own copies."""
    ranks = json.loads(next(line for line in said.splitlines() if line.startswith("[")))
    assert [rank["total"] for rank in ranks] == [16 * 64 * (1 + 2 + 3 + 4)] * 4, said
    assert len({rank["node"] for rank in ranks}) == 2
    assert len({rank["copy"] for rank in ranks}) == 2
    mine = f"{slurm.local}/xfelflow-"
    assert all(rank[file].startswith(mine) for rank in ranks for file in ("kernels", "python"))
