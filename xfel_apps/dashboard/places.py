"""Where jobs run: as a process on this machine, or in Slurm; how they are started and stopped.

A place is `local:PID:START` (START: when the process began [s since 1970], as a number is used
again for another process) or `slurm:JOBID`.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

from xfel_apps.errors import XfelError

SLURM_JOB = re.compile(r"\d+(_\d+)?")
STOP_S = 30.0
"""What was asked to stop is killed after so long [s]."""
SCANCEL_S = 20.0
SAME_START_S = 1.5


class JobError(XfelError):
    """A job cannot be started or stopped."""


def start_process(command: Sequence[str], folder: Path, log: Path) -> "subprocess.Popen[bytes]":
    """Start a command of its own session, which goes on when the server ends."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    try:
        with log.open("wb") as file:
            return subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as err:
        raise JobError(f"{command[0]}: cannot be started ({err})") from err


def place_of(pid: int) -> str:
    """Return the place of a process on this machine."""
    try:
        return f"local:{pid}:{psutil.Process(pid).create_time():.2f}"
    except psutil.Error:  # it has ended already
        return f"local:{pid}:0"


def process_at(place: str, host: str) -> psutil.Process | None:
    """Return the process at a place; None if it has ended, or is none on this machine."""
    kind, _, rest = place.partition(":")
    pid, _, start = rest.partition(":")
    if kind != "local" or host != socket.gethostname() or not pid.isdecimal():
        return None
    try:
        found = psutil.Process(int(pid))
        is_same = abs(found.create_time() - float(start)) < SAME_START_S
    except (psutil.Error, ValueError):
        return None
    return found if is_same and found.status() != psutil.STATUS_ZOMBIE else None


def can_cancel(place: str, host: str) -> bool:
    """Return whether a job at a place can be stopped from here."""
    kind, _, number = place.partition(":")
    if kind == "slurm":
        return bool(SLURM_JOB.fullmatch(number)) and shutil.which("scancel") is not None
    return process_at(place, host) is not None


def cancel(place: str, host: str) -> None:
    """Stop the job at a place: apps finish their shot, so that nothing is lost.

    Raises
    ------
    JobError : it cannot be stopped from here
    """
    kind, _, number = place.partition(":")
    if kind == "slurm":
        _scancel(number)
        return
    found = process_at(place, host)
    if found is None:
        raise JobError(f"place {place or 'unknown'}: no job that can be stopped from this machine")
    _signal(found.pid, signal.SIGINT)


def kill(place: str, host: str) -> None:
    """Kill the processes of a job that did not stop."""
    if (found := process_at(place, host)) is not None:
        _signal(found.pid, signal.SIGKILL)


def _signal(group: int, number: signal.Signals) -> None:
    """Send a signal to all processes of a job, which have a group of their own."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return
    except PermissionError as err:
        raise JobError(f"process {group}: belongs to another user") from err


def _scancel(number: str) -> None:
    if not SLURM_JOB.fullmatch(number):
        raise JobError(f"slurm job {number[:40]!r}: not a number")
    scancel = shutil.which("scancel")
    if scancel is None:
        raise JobError("scancel: not found on this machine")
    try:
        done = subprocess.run(
            [scancel, number], capture_output=True, text=True, timeout=SCANCEL_S, check=False
        )
    except subprocess.TimeoutExpired as err:
        raise JobError(f"scancel {number}: no answer within {SCANCEL_S:.0f} s") from err
    if done.returncode:
        raise JobError(f"scancel {number}: {done.stderr.strip()[:200] or 'failed'}")
