"""Daemons in the foreground of a process that ends with its starter, whatever ends that."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random


class ClusterError(RuntimeError):
    """The cluster could not be brought up; the text ends with the tail of a log."""


@dataclass
class Daemon:
    """A daemon and its log.

    The kernel sends it SIGTERM when the thread that started it is gone (setpriv --pdeathsig), so
    that a killed test session leaves nothing behind.
    """

    name: str
    command: Sequence[str]
    log: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it, or start it again."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise an error if it has ended."""
        if self.process is None or self.process.poll() is not None:
            code = self.process.returncode if self.process else None
            raise ClusterError(f"{self.name} ended ({code}); {self.log}:\n{tail(self.log)}")

    def stop(self, how: signal.Signals = signal.SIGTERM, limit_s: float = 15.0) -> None:
        """End it: by a signal, and by SIGKILL if that takes longer than a limit."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(limit_s)
        self.process = None


def tail(path: Path, lines: int = 25) -> str:
    """Return the last lines of a file; nothing if it is missing."""
    if not path.is_file():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def wait_until(done: Callable[[], bool], limit_s: float, what: str, daemon: Daemon) -> None:
    """Return when `done` says so; an error when a daemon ends first or a limit has passed."""
    end = time.monotonic() + limit_s
    while not done():
        daemon.check()
        if time.monotonic() > end:
            raise ClusterError(f"{what}: not after {limit_s} s; {daemon.log}:\n{tail(daemon.log)}")
        time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that nobody listens at, below the ephemeral ones."""
    random = Random(os.urandom(8))
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(12000, 31000)
        if port in found:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
    return found
