"""One Slurm cluster for all tests of this folder (see tests/conftest.py), empty before each."""

import os
from collections.abc import Iterator

import pytest

from tests.slurm import packages
from tests.slurm.cluster import Cluster


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
