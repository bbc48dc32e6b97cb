"""Snakemake on the test cluster, as the cluster's user."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.slurm.cluster import USER, Cluster

REPO = Path(__file__).parents[2]
PLUGIN = REPO / "snakemake-executor-plugin-parsl" / "src"


@cache
def user() -> str:
    """Return who runs Snakemake: the cluster's user, or root if that one may not.

    It must be able to run this Python and to read the checkout.
    """
    code = f"open({str(PLUGIN.parent / 'pyproject.toml')!r})"
    # By a shell: setpriv itself may open what its user may not.
    check = [*Cluster.become(), "sh", "-c", '"$@"', "sh", sys.executable, "-c", code]
    done = subprocess.run(check, capture_output=True, cwd="/", check=False)
    return USER if done.returncode == 0 else "root"


def start_snakemake(cluster: Cluster, folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start Snakemake in a folder of the cluster's user, with this checkout's modules."""
    return subprocess.Popen(
        [*cluster.become(user()), sys.executable, "-m", "snakemake", *options],
        cwd=folder,
        env={**cluster.environment, "PYTHONPATH": f"{PLUGIN}{os.pathsep}{REPO}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
