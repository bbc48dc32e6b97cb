"""A shell command as Snakemake itself would run it; this part runs in Parsl's workers."""

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_parsl.notice import Notice, listening
from snakemake_executor_plugin_parsl.places import places

BLOCK_END = "PARSL_BLOCK_END"
"""Environment variable of a block: when its walltime is over [s since 1970]."""
BLOCK_LEAVES = "PARSL_BLOCK_LEAVES"
"""Environment variable of a block: a file that is there once the block gives way."""
TOO_LATE = -1000
"""Instead of an exit code: the block ends before the command could."""
TRY_AGAIN = 75
"""Exit code of a job that was stopped and goes on when it is started again (EX_TEMPFAIL)."""
# What a kernel takes as one argument, with room for the environment (see execve(2)).
LONGEST_ARGUMENT = 100_000
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "GOTO_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
)  # fmt: skip
TEMPORARY_VARIABLES = ("TMPDIR", "TMP", "TEMPDIR", "TEMP")


@dataclass(frozen=True)
class Command:
    """What a worker needs to know about a job."""

    text: str
    """Shell command, with the shell's prefix and suffix."""
    folder: str
    """Working directory."""
    log: str
    """File for what the command prints."""
    shell: str = "/bin/bash"
    threads: int | None = None
    """Threads of numerical libraries; None: a second Snakemake sets the environment."""
    temporary: str | None = None
    """Folder for temporary files; None: the node's."""
    benchmark: str | None = None
    """Benchmark file to write."""
    runtime_s: float | None = None
    """The longest that the command takes [s]."""
    cores: int | None = None
    """Cores of the worker's node that it keeps busy; None: it has nodes of its own."""
    memory_mb: float | None = None
    """Memory of the node that it needs at most [MB]."""


def run_command(
    command: Command, parsl_resource_specification: dict[str, Any] | None = None
) -> int:
    """Run a command and return its exit code (negative: the signal that ended it).

    Parsl reads the resource specification before it calls this function in a worker.
    """
    with listening(tell=command.cores is not None) as notice:
        with places(command.cores, command.memory_mb):
            if not has_time(command):
                return TOO_LATE
            code = TRY_AGAIN if notice.is_told else run_here(command, notice)
        return TRY_AGAIN if notice.is_told and code else code


def run_here(command: Command, notice: Notice) -> int:
    """Run a command now and return its exit code."""
    log = Path(command.folder, command.log)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output, tempfile.TemporaryDirectory() as folder:
        notice.process = subprocess.Popen(
            arguments(command, Path(folder)),
            cwd=command.folder,
            env=environment(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        if command.benchmark is None:
            return notice.process.wait()
        return measure(notice.process, Path(command.folder, command.benchmark))


def has_time(command: Command) -> bool:
    """Return whether the block stays for as long as a command takes."""
    if Path(os.environ.get(BLOCK_LEAVES, os.devnull)).is_file():
        return False
    return not command.runtime_s or time.time() + command.runtime_s <= block_end()


def block_end() -> float:
    """Return when this block's walltime is over [s since 1970]; never, if that is not known."""
    return float(os.environ.get(BLOCK_END, "inf"))


def arguments(command: Command, folder: Path) -> list[str]:
    """Return the command line; very long commands go into a script in `folder`."""
    if len(command.text) < LONGEST_ARGUMENT:
        return [command.shell, "-c", command.text]
    script = folder / "command.sh"
    script.write_text(command.text)
    return [command.shell, str(script)]


def environment(command: Command) -> dict[str, str]:
    """Return this worker's environment with what Snakemake sets for a job."""
    if command.threads is None:
        return dict(os.environ)
    folder = command.temporary or tempfile.gettempdir()
    return {
        **os.environ,
        **dict.fromkeys(THREAD_VARIABLES, str(command.threads)),
        **dict.fromkeys(TEMPORARY_VARIABLES, folder),
    }


def measure(process: subprocess.Popen[bytes], path: Path) -> int:
    """Wait for a process, write its benchmark file if it succeeds, and return its exit code."""
    from snakemake.benchmark import BenchmarkRecord, benchmarked, write_benchmark_records

    record = BenchmarkRecord()
    with benchmarked(process.pid, record):
        code = process.wait()
    if code == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_benchmark_records([record], str(path), False)
    return code
