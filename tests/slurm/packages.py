"""Debian packages that tests need: those of the test cluster, and how any are installed."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

PACKAGES = ("slurm-wlm", "slurmdbd", "munge", "mariadb-server")
PROGRAMS = (
    "slurmctld", "slurmdbd", "slurmd", "munged", "mariadbd", "mariadb-install-db", "setpriv",
)  # fmt: skip
TRIES = 3


def missing() -> list[str]:
    """Return the programs of the cluster that this machine lacks."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    return [program for program in PROGRAMS if shutil.which(program, path=path) is None]


def reason_against() -> str | None:
    """Return why no cluster can be brought up on this machine as it is; None if one can."""
    if os.geteuid() != 0:
        return "Slurm's daemons start jobs as other users: they need root"
    if absent := missing():
        return f"no {', '.join(absent)}: apt-get install {' '.join(PACKAGES)}"
    return None


def install(names: Sequence[str] = PACKAGES) -> None:
    """Install packages without starting any service of theirs; wait for others who install."""
    with Path(tempfile.gettempdir(), "xfelflow-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(names)


def _install(names: Sequence[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    steps = (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *names],
    )
    options = ["-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=300"]
    for _ in range(TRIES):
        done = [_apt([*step, *options], environment) for step in steps]
        if done[-1].returncode == 0:
            return
    raise RuntimeError(f"{' '.join(steps[-1])} failed {TRIES} times:\n{done[-1].stdout}")


def _apt(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )
