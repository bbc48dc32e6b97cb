"""Kokkos starts with the first kernel, once, and ends with the process, whatever ends that."""

import os
import subprocess
import sys

import pytest


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that knows nothing of MPI or threads but what is given."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PMI", "OMPI", "MPI_", "SLURM", "OMP_"))
    }
    return subprocess.run(
        [sys.executable, "-c", f"from xfel_apps import _kernels as k\n{code}"],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_import_starts_nothing() -> None:
    done = run("info = k.runtime_info(); print(info['started'], info['threads'])")
    assert done.stdout.split() == ["False", "0"]
    assert (done.returncode, done.stderr) == (0, "")


def test_starting_twice_is_starting_once() -> None:
    done = run("k.start(); k.start(); print(k.runtime_info()['started'])")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "True", "")


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "2"}, 2),
        ({"PMI_SIZE": "4", "PMI_RANK": "0"}, 1),
        ({"PMI_SIZE": "4", "PMI_RANK": "0", "OMP_NUM_THREADS": "2"}, 2),
    ],
)
def test_threads_follow_the_launcher(environment: dict[str, str], threads: int) -> None:
    done = run("k.start(); print(k.runtime_info()['threads'])", **environment)
    assert int(done.stdout) == threads


def test_exception_after_start_ends_cleanly() -> None:
    done = run("k.start()\nraise ValueError('the only complaint')")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ValueError: the only complaint"
    assert "kokkos" not in done.stderr.lower()


def test_child_of_a_fork_does_not_hang() -> None:
    code = """
import os
k.start()
child = os.fork()
if child == 0:
    try:
        k.start()
    except RuntimeError as error:
        print(error, flush=True)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    alone = run(code, OMP_NUM_THREADS="1")
    assert alone.stdout.split() == ["7"]
    threaded = run(code, OMP_NUM_THREADS="2")
    assert "spawn" in threaded.stdout
    assert threaded.stdout.splitlines()[-1] == "7"
