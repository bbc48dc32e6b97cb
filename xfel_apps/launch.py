"""Starting the stages' apps: in this process, or on several ranks with mpiexec."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from xfel_apps.app import EXIT_AGAIN, EXIT_OK
from xfel_apps.errors import StoppedError, XfelError
from xfel_apps.progress import FORCE_BAR


class StageFailedError(XfelError):
    """A stage ended with an error that it has already said on stderr."""


def launch(
    stage: str, arguments: Sequence[str], workers: int = 1, *, hands_out: bool = True
) -> None:
    """Run a stage's app and return when it is done.

    Parameters
    ----------
    stage : its name; the app is `xfel_apps.{stage}`
    arguments : command line of the app
    workers : ranks that do the work; with 1 the app runs in this process
    hands_out : whether the app wants one more rank, which hands out the work

    Raises
    ------
    StageFailedError : it ended with an error
    StoppedError : it was stopped by a signal; run the same again to go on
    """
    if workers == 1:
        code = import_module(f"xfel_apps.{stage}.__main__").main(list(arguments))
    else:
        code = _mpiexec(stage, arguments, workers + hands_out)
    if code == EXIT_AGAIN:
        raise StoppedError(f"{stage} was stopped; run the same command to go on")
    if code != EXIT_OK:
        raise StageFailedError(f"{stage} failed (exit code {code})")


def _mpiexec(stage: str, arguments: Sequence[str], ranks: int) -> int:
    """Run the app under mpiexec and return its exit code."""
    beside = Path(sys.executable).with_name("mpiexec")
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    if mpiexec is None:
        raise XfelError("mpiexec: not found; `pip install mpich` brings it, or use -n 1")
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    if sys.stderr.isatty():
        columns = str(shutil.get_terminal_size().columns)
        environment |= {FORCE_BAR: "1", "COLUMNS": columns}
    app = [sys.executable, "-m", "mpi4py", "-m", f"xfel_apps.{stage}", *arguments]
    return _wait([mpiexec, "-n", str(ranks), *app], environment)


def _wait(command: list[str], environment: dict[str, str]) -> int:
    """Run a command to its end and return its exit code; hand stop signals on to it, each once.

    A command that was stopped before it could answer signals itself was stopped all the same.

    It has a process group of its own: a terminal would else send Ctrl-C to both, and mpiexec takes
    the second one for an order to abort. Signals are caught before it starts, for a signal that is
    caught is not ignored in a child, even if it was ignored here before (nohup, &).
    """
    stopped = False
    child: subprocess.Popen[bytes] | None = None

    def hand_on(_number: int, _frame: object) -> None:
        nonlocal stopped
        stopped = True
        if child is not None:
            child.send_signal(signal.SIGINT)

    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, hand_on) for number in stops}
    try:
        child = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, process_group=0
        )
        if stopped:
            child.send_signal(signal.SIGINT)
        code = child.wait()
        return EXIT_AGAIN if stopped and code != EXIT_OK else code
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def workflow_folder() -> Path:
    """Return the folder of the Snakefile: the checkout, or what was installed with the package."""
    package = Path(__file__).parent
    for folder in (package.parent, package / "workflow"):
        if (folder / "Snakefile").is_file():
            return folder
    raise XfelError(f"no Snakefile beside {package} or in it; install xfelflow again")
