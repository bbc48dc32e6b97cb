"""Benchmarks of one core start anew with one thread: libraries read their numbers when loaded."""

import os
import sys

ONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def one_thread(module: str) -> None:
    """Start `python -m module` anew with one thread, with the same arguments, if it is not so."""
    if any(os.environ.get(name) != value for name, value in ONE.items()):
        os.environ.update(ONE)
        os.execv(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]])
