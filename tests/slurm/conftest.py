"""One Slurm cluster for all tests of this folder (see tests/conftest.py), empty before each."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.slurm import packages
from tests.slurm.cluster import Cluster
from tests.slurm.jobs import start_snakemake

PARSL = ("--executor", "parsl", "--parsl-config", "parsl_configs.slurm", "--jobs", "20")


@pytest.fixture(scope="session")
def whole_cluster() -> Iterator[Cluster]:
    """Bring up the cluster; skip where that is impossible, fail where CI should have it."""
    if os.environ.get("CI") == "true" and os.geteuid() == 0 and packages.missing():
        packages.install()
    if reason := packages.reason_against():
        pytest.skip(f"no Slurm cluster: {reason}")
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def slurm(whole_cluster: Cluster) -> Iterator[Cluster]:
    """Return the cluster without jobs and reservations."""
    whole_cluster.drain()
    yield whole_cluster
    whole_cluster.drain()


@pytest.fixture
def start(
    slurm: Cluster, request: pytest.FixtureRequest
) -> Iterator[Callable[..., tuple[Path, subprocess.Popen[str]]]]:
    """Start Snakemake with the plugin, in a folder of its own, as the cluster's user."""
    folder = slurm.home / re.sub(r"\W+", "-", request.node.name)
    slurm.run("mkdir", str(folder))
    started = []

    def snakemake(snakefile: str, *options: str) -> tuple[Path, subprocess.Popen[str]]:
        (folder / "Snakefile").write_text(snakefile)
        process = start_snakemake(slurm, folder, *PARSL, *options)
        started.append(process)
        return folder, process

    yield snakemake
    for process in started:
        if process.poll() is None:
            process.kill()
        said, _ = process.communicate()
        print(said)  # pytest shows it where the test failed
