"""A worker whose block must end (SIGURG) tells its command, which can save what it has (SIGINT).

SIGURG does nothing to a process that does not listen to it: workers can be idle, or have other
tasks than those of this plugin.
"""

import contextlib
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import psutil


@dataclass
class Notice:
    """Whether a worker has been told that its block must end."""

    passes_on: bool
    """Whether the command is told by the worker."""
    process: subprocess.Popen[bytes] | None = None
    """The command, once it has started."""
    is_told: bool = False

    def receive(self, _signal: int, _frame: FrameType | None) -> None:
        """Note that the block must end, and tell the command and all that it started."""
        self.is_told = True
        if self.passes_on and self.process is not None:
            # Processes may end while one looks.
            with contextlib.suppress(psutil.Error):
                shell = psutil.Process(self.process.pid)
                for process in (*shell.children(recursive=True), shell):
                    with contextlib.suppress(psutil.Error):
                        process.send_signal(signal.SIGINT)


@contextmanager
def listening(*, tell: bool) -> Iterator[Notice]:
    """Listen for SIGURG, in a worker that is a process.

    Parameters
    ----------
    tell : whether to tell the command; the ranks of an MPI job are told by the batch system
    """
    notice = Notice(passes_on=tell)
    if threading.current_thread() is not threading.main_thread():
        yield notice
        return
    before = signal.signal(signal.SIGURG, notice.receive)
    try:
        yield notice
    finally:
        signal.signal(signal.SIGURG, before)
