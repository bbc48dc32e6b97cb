"""Jobs on a node never keep more cores busy than there are workers."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from snakemake_executor_plugin_parsl.places import places, places_of

NODE_MB = 8000.0


def test_threads_of_jobs_at_a_time_add_up_to_no_more_than_the_workers(monkeypatch):
    monkeypatch.setenv("PARSL_WORKER_POOL_ID", f"test-{time.time_ns()}")
    monkeypatch.setenv("PARSL_WORKER_COUNT", "4")
    lock, busy, seen = threading.Lock(), 0, []

    def job(cores: int) -> None:
        nonlocal busy
        with places(cores, None):
            with lock:
                busy += cores
                seen.append(busy)
            time.sleep(0.02)
            with lock:
                busy -= cores

    sizes = [1, 4, 2, 3, 1, 1, 4, 2]
    with ThreadPoolExecutor(len(sizes)) as pool:
        list(pool.map(job, sizes))
    assert len(seen) == len(sizes)
    assert max(seen) <= 4


@pytest.mark.parametrize(
    ("cores", "memory_mb", "expected"),
    [
        (1, None, 1),
        (3, None, 3),
        (9, None, 4),  # as on a smaller machine: all of it
        (1, 2000.0, 1),  # a quarter of the memory
        (1, 2001.0, 2),
        (1, 9000.0, 4),
        (2, 100.0, 2),
    ],
)
def test_places_by_threads_and_memory(monkeypatch, cores, memory_mb, expected):
    size = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": NODE_MB * 1e6}
    monkeypatch.setattr("os.sysconf", size.__getitem__)
    assert places_of(cores, memory_mb, workers=4) == expected


def test_without_a_pool_of_workers_nothing_is_waited_for(monkeypatch):
    monkeypatch.delenv("PARSL_WORKER_POOL_ID", raising=False)
    with places(99, None), places(99, None):
        pass
