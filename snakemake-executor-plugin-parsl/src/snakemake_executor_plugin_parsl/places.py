"""Jobs of several threads take the places of several workers of their node.

Parsl starts as many workers as a node has cores, and gives each a job whatever its threads are.
So a job first takes as many of the node's places as it has threads, or needs for its memory, and
waits for them. A place is a name in Linux's abstract socket namespace, which only one process of
a node can hold and which is free again when that process ends, however it ends.
"""

import errno
import math
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

POLL_S = 0.02


@contextmanager
def places(cores: int | None, memory_mb: float | None) -> Iterator[None]:
    """Hold the places of so many cores and so much memory [MB] in this worker's pool.

    Outside of Parsl's pools of workers, and without `cores`, there are no places to take.
    """
    pool, count = os.environ.get("PARSL_WORKER_POOL_ID"), os.environ.get("PARSL_WORKER_COUNT")
    if cores is None or pool is None or count is None:
        yield
        return
    with ExitStack() as held:
        # One at a time collects places, so that those who need many are not passed by for ever.
        with _wait_for(f"parsl-{pool}-turn"):
            for _ in range(places_of(cores, memory_mb, int(count))):
                held.enter_context(_wait_for(*(f"parsl-{pool}-{i}" for i in range(int(count)))))
        yield


def places_of(cores: int, memory_mb: float | None, workers: int) -> int:
    """Return how many of a node's workers a job stands for: at least one, at most all."""
    node_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    of_memory = math.ceil((memory_mb or 0) / node_mb * workers)
    return min(max(cores, of_memory, 1), workers)


def _wait_for(*names: str) -> socket.socket:
    """Return a hold on one of the names as soon as one is free."""
    while True:
        for name in names:
            if (hold := _take(name)) is not None:
                return hold
        time.sleep(POLL_S)


def _take(name: str) -> socket.socket | None:
    hold = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        hold.bind(f"\0{name}")
    except OSError as error:
        hold.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return hold
