"""Processor time of one core."""

import os
import sys
import time
from collections.abc import Callable

ONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def one_thread(module: str) -> None:
    """Start `python -m module` anew with one thread, with the same arguments, if it is not so.

    Libraries read how many to use when they are loaded.
    """
    if any(os.environ.get(name) != value for name, value in ONE.items()):
        os.environ.update(ONE)
        os.execv(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]])


def least_cpu_s(compute: Callable[[], object], times: int = 5) -> float:
    """Return the least of several CPU times [s]."""
    taken = []
    for _ in range(times):
        start = time.process_time()
        compute()
        taken.append(time.process_time() - start)
    return min(taken)
