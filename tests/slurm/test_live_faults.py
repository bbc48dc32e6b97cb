"""Live processing on the Slurm cluster while a block and the controller are lost."""

import os
import pwd
import signal
from pathlib import Path

import pytest

from tests.live.whole import WholeLive, assert_same_result, batch, raw_file, wait_for
from tests.slurm.jobs import user

pytestmark = pytest.mark.slow

RATE_HZ = 4.0
AWAY_S = 20.0


@pytest.fixture(scope="module")
def master(tmp_path_factory) -> Path:
    """A run that takes twelve seconds to come."""
    return raw_file(tmp_path_factory.mktemp("raw"), 48, seed=1)


@pytest.fixture(scope="module")
def expected(tmp_path_factory, master) -> Path:
    return batch(tmp_path_factory.mktemp("expected"), {"r1": master})


@pytest.fixture
def live(slurm, request):
    """A daemon of the cluster's user with a block of two nodes; ended at last."""
    folder = slurm.home / request.node.name
    options = ["--parsl-config", "slurm", "--nodes", "2", "--workers", "2"]
    options += ["--walltime", "00:15:00", "--blocks", "regular=1"]
    folder.mkdir()
    whole = WholeLive(folder, slurm.become(user()), slurm.environment, options)
    for path in (folder, *folder.iterdir()):
        os.chown(path, pwd.getpwnam(user()).pw_uid, -1)
    yield whole
    whole.end()
    print(whole.said())


def test_a_block_is_cancelled(slurm, live, master, expected):
    live.start()
    live.replay(master, "r1", RATE_HZ)
    live.at_work()
    jobs = slurm.say("squeue", "-h", "-t", "R", "-o", "%A").split()
    slurm.run("scancel", *jobs, user="root")
    live.finish("r1")
    assert_same_result(live.trial, expected, ["r1"])


def test_the_controller_is_killed_and_away(slurm, live, master, expected):
    live.start()
    live.replay(master, "r1", RATE_HZ)
    live.at_work()
    slurm.restart("slurmctld", signal.SIGKILL, AWAY_S)
    wait_for("the controller is up", slurm.is_up)
    live.finish("r1")
    assert_same_result(live.trial, expected, ["r1"])
