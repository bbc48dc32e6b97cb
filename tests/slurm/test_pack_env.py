"""The environment in one archive, sent to the nodes of a job, which then run from there."""

import json
import os
import re
import subprocess
import sys
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
# Every rank adds a frame of rank + 1 to a powder sum (in sixteenths) by a compiled kernel.
RANKS = """
import json, os, sys
import numpy as np
from xfel_apps import _kernels, mpi
from xfel_apps.compute.panels import Panels
from xfel_apps.compute.powder import powder_add

comm, shape = mpi.world(), (8, 8)
one = np.ones(1)
panels = Panels(np.array([[0, 0]]), np.array([shape]), np.array([[0.0, 1000.0]]), one, one)
total, highest = np.zeros(shape, np.int64), np.zeros(shape, np.int32)
frame = np.full(shape, comm.rank + 1, np.int32)
powder_add(frame, np.ones(shape, np.uint8), panels, total, highest)
me = {
    "node": os.environ["SLURMD_NODENAME"], "copy": os.stat(sys.prefix).st_ino,
    "kernels": _kernels.__file__, "python": os.path.realpath(sys.executable),
    "total": comm.allreduce(int(total.sum())),
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


def copies(slurm: Cluster) -> list[str]:
    """Return what is on the nodes' own disks."""
    found = (slurm.root / "tmp").glob("*/xfelflow-*/*")
    return [str(path.relative_to(slurm.root)) for path in found if path.name != "lock"]


@pytest.mark.slow
def test_ranks_on_two_nodes_run_from_their_nodes_own_copies(slurm, packed):
    (slurm.home / "job.sh").write_text(JOB.format(xfelflow=XFELFLOW))
    (slurm.home / "ranks.py").write_text(RANKS)
    out = slurm.home / "out.txt"
    job = ("--nodes=2", "--ntasks-per-node=2", "--qos=realtime", f"--output={out}", "job.sh")
    done = slurm.run("sbatch", "--wait", *job, limit_s=300, check=False)
    said = out.read_text()
    assert done.returncode == 0, said
    ranks = json.loads(next(line for line in said.splitlines() if line.startswith("[")))
    assert [rank["total"] for rank in ranks] == [16 * 64 * (1 + 2 + 3 + 4)] * 4, said
    assert len({rank["node"] for rank in ranks}) == 2
    assert len({rank["copy"] for rank in ranks}) == 2
    mine = f"{slurm.local}/xfelflow-"
    assert all(rank[file].startswith(mine) for rank in ranks for file in ("kernels", "python"))
    assert len(re.findall(rf"files opened: \d+ below {mine}\S+ ", said)) == 2, said
    assert str(REPO) not in said
    assert copies(slurm) == []
