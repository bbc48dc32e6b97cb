"""The test cluster does what the sites' clusters do, as far as the project relies on it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.daemons import wait_until

REPO = Path(__file__).parents[2]
SLEEP = "exec sleep 60"
# They end at the signal that comes before preemption, as the project's apps do.
GIVES_WAY = "trap 'exit 0' INT; sleep 60 & wait"
AGAIN = "trap 'scontrol requeue $SLURM_JOB_ID' INT; sleep 60 & wait"


def submit(slurm: Cluster, *options: str, wrap: str = SLEEP) -> str:
    return slurm.run("sbatch", "--parsable", "-t", "2", *options, "--wrap", wrap).stdout.strip()


def state(slurm: Cluster, job: str) -> str:
    return slurm.say("squeue", "-h", "-t", "all", "-j", job, "-o", "%T")


def wait_for(slurm: Cluster, job: str, expected: str, limit_s: float = 60.0) -> float:
    """Return the seconds until a job was in a state."""
    start = time.monotonic()
    while (now := state(slurm, job)) != expected:
        assert time.monotonic() - start < limit_s, f"job {job} is {now}, not {expected}"
        time.sleep(0.1)
    return time.monotonic() - start


def test_runs_as_the_user_on_all_nodes(slurm):
    said = slurm.run(
        "srun", "-N4", "--ntasks-per-node=1", "sh", "-c", "echo $SLURMD_NODENAME `id -un`"
    )
    assert sorted(said.stdout.splitlines()) == [f"{node} nobody" for node in slurm.nodes]


def test_an_urgent_job_takes_the_nodes_of_a_preemptible_one(slurm):
    """The preemptible one ends when it is told, and has itself queued again."""
    low = submit(slurm, "-N4", "--exclusive", "--qos=preempt", "--signal=B:INT@30", wrap=AGAIN)
    wait_for(slurm, low, "RUNNING")
    high = submit(slurm, "-N4", "--exclusive", "--qos=urgent", wrap="true")
    wait_for(slurm, high, "COMPLETED")
    assert "Restarts=1" in slurm.say("scontrol", "show", "job", low)


def test_preemptible_jobs_fill_a_reservation_and_leave_it(slurm):
    slurm.reserve("beamtime", slurm.nodes)
    filling = submit(
        slurm, "-N4", "--exclusive", "--qos=preempt", "--signal=BR:INT@60", wrap=GIVES_WAY
    )  # fmt: skip
    wait_for(slurm, filling, "RUNNING")
    live = submit(slurm, "-N2", "--exclusive", "--reservation=beamtime", wrap="true")
    wait_for(slurm, live, "COMPLETED")
    assert state(slurm, filling) == "COMPLETED"


@pytest.mark.parametrize("option", ["--qos=fast", "--account=other", "--reservation=tomorrow"])
def test_unknown_places_are_refused(slurm, option):
    refused = slurm.run("sbatch", option, "--wrap", SLEEP, check=False)
    assert refused.returncode != 0
    assert "sbatch: error" in refused.stderr


def test_jobs_outlive_a_killed_controller(slurm):
    job = submit(slurm)
    wait_for(slurm, job, "RUNNING")
    time.sleep(1)  # a save under way may be of before
    changed = time.time()
    slurm.say("scontrol", "update", f"JobId={job}", "Comment=changed")  # makes it save again
    saved = slurm.root / "control" / "job_state"
    control = slurm.daemons["slurmctld"]
    wait_until(lambda: saved.stat().st_mtime > changed, 60, "state saved", control)
    slurm.restart("slurmctld", signal.SIGKILL)
    wait_until(slurm.is_up, 60, "slurmctld", control)
    assert state(slurm, job) == "RUNNING"


KILLED = """
import os, signal
from tests.slurm.daemons import Daemon
from pathlib import Path
daemon = Daemon("sleeper", ["sleep", "300"], Path("{folder}/log"), dict(os.environ))
daemon.start()
while not Path(f"/proc/{{daemon.process.pid}}/cmdline").read_bytes().startswith(b"sleep"):
    pass
print(daemon.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_daemons_end_with_their_starter(tmp_path):
    """Even a test session that is killed leaves no daemon behind."""
    code = KILLED.format(folder=tmp_path)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO)
    daemon = Path(f"/proc/{said.stdout.strip()}")
    end = time.monotonic() + 60
    while daemon.exists() and "\nState:\tZ" not in (daemon / "status").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
