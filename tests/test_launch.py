"""Starting apps under mpiexec: what becomes of signals."""

import os
import signal
import sys
import threading

import pytest

from xfel_apps.app import EXIT_AGAIN
from xfel_apps.launch import _wait

WAITS_FOR_CTRL_C = """
import sys, time
print("ready", flush=True)
try:
    time.sleep(20)
except KeyboardInterrupt:
    sys.exit({code})
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(("code", "expected"), [(75, EXIT_AGAIN), (1, EXIT_AGAIN), (0, 0)])
def test_a_stop_signal_is_handed_on_and_means_run_again(
    number: signal.Signals, code: int, expected: int
) -> None:
    before = signal.getsignal(number)
    threading.Timer(0.5, os.kill, (os.getpid(), number)).start()
    command = [sys.executable, "-c", WAITS_FOR_CTRL_C.format(code=code)]
    assert _wait(command, dict(os.environ)) == expected
    assert signal.getsignal(number) is before


def test_without_a_signal_the_exit_code_is_the_commands() -> None:
    assert _wait([sys.executable, "-c", "raise SystemExit(3)"], dict(os.environ)) == 3


def test_a_stop_signal_reaches_the_command_where_ctrl_c_is_ignored() -> None:
    """As under nohup, or in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        command = [sys.executable, "-c", WAITS_FOR_CTRL_C.format(code=75)]
        assert _wait(command, dict(os.environ)) == EXIT_AGAIN
    finally:
        signal.signal(signal.SIGINT, before)
