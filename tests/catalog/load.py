"""Load of a large experiment: a million rows, 64 batch writers, 20 people who look.

A batch writer writes what a node's ranks have found: `python -m tests.catalog.load URL ...` is some
of them, each with a connection of its own, as on nodes that each have their own.
"""

import argparse
import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sqlalchemy import func, select

from tests.catalog.servers import free_ports
from tests.conftest import REPO_ROOT
from xfel_apps.catalog import Catalog, open_catalog
from xfel_apps.catalog.ensure import ensure_experiment, ensure_run, ensure_trial
from xfel_apps.catalog.models import Event, Part
from xfel_apps.catalog.parameters import Parameters
from xfel_apps.catalog.parts import NewRows, StageKey
from xfel_apps.catalog.writer import write_rows
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.outcome import Outcome
from xfel_apps.experiment import Experiment

EXPERIMENT = "load"
N_RUNS = 25
STAGES = {
    "ingest": (16_000, Outcome.PENDING),
    "spotfind": (16_000, Outcome.HIT_NOT_INDEXED),
    "index": (5_000, Outcome.INDEXED),
    "integrate": (3_000, Outcome.INTEGRATED),
}
"""Stage -> events of a run that it sees, and how it ends them: 40,000 rows a run."""
ROWS_A_WRITE = 50
EVERY_S = 2.0
"""Time between two writes of a writer: as `xfel_apps.catalog.follow` looks [s]."""
N_PROCESSES = 4


def rows(key: StageKey, name: str, first: int, events: range, outcome: Outcome) -> NewRows:
    """Return rows of a part as a container gives them; indexed events have a lattice each."""
    n = len(events)
    times = 1.7e9 + np.arange(events.start, events.stop) / 120.0
    shots = {
        "event": np.arange(events.start, events.stop),
        "outcome": np.full(n, outcome.code, dtype=np.uint8),
        "reason": np.full(n, b"3 spots, 10 wanted" if outcome is Outcome.MISS else b""),
        "start_s": times,
        "end_s": times + 0.05,
        "cpu_s": np.full(n, 0.04),
        "rank": np.arange(n) % 64,
    }
    n_lattices = n if outcome is Outcome.INDEXED else 0
    lattices = CRYSTALS.tables["crystals"].empty().columns()
    lattices = {k: np.zeros((n_lattices, *v.shape[1:]), v.dtype) for k, v in lattices.items()}
    lattices["cell"][:] = (79.2, 79.2, 38.0, 90.0, 90.0, 90.0)
    lattices["at"] = np.arange(n_lattices)
    return NewRows(key, name, "made", first, first + n, "nid0001", shots, lattices)


def keys(catalog: Catalog, run: str) -> dict[str, StageKey]:
    """Return stage -> key of a run, which is made if it is new."""

    def ensure(session):
        experiment = ensure_experiment(session, EXPERIMENT, "results")
        trial = ensure_trial(session, experiment, "000", Parameters.of(Experiment()))
        return trial.id, ensure_run(session, experiment, run).id

    trial_id, run_id = catalog.change(ensure)
    return {stage: StageKey(trial_id, run_id, stage) for stage in STAGES}


def fill(catalog: Catalog, n_runs: int = N_RUNS) -> int:
    """Insert a finished experiment of so many runs; return how many rows of events it has."""
    n_rows = 0
    for number in range(n_runs):
        own = keys(catalog, f"r{number:04d}")
        for stage, (n_events, outcome) in STAGES.items():
            part = rows(own[stage], f"{stage}.h5", 0, range(n_events), outcome)
            n_rows += sum(write_rows(catalog, [part]).values())
    return n_rows


def n_events(catalog: Catalog) -> int:
    """Return how many rows of events there are; an error if the parts say another number."""
    with catalog.reading() as session:
        found = session.scalar(select(func.count()).select_from(Event))
        assert found == session.scalar(select(func.sum(Part.n_rows)))
    return int(found)


def write(url: str, number: int, seconds: float) -> int:
    """Write rows of one part for a while, with one connection; return how many."""
    catalog = open_catalog(url, pool_size=1)
    key, n_rows = keys(catalog, "r9999")["spotfind"], 0
    end_s = time.monotonic() + seconds
    time.sleep(EVERY_S * (number % 64) / 64)
    while time.monotonic() < end_s:
        start_s = time.monotonic()
        begin = number * 1_000_000 + n_rows
        events = range(begin, begin + ROWS_A_WRITE)
        part = rows(key, f"spots/rank-{number:04d}.h5", n_rows, events, Outcome.MISS)
        n_rows += sum(write_rows(catalog, [part]).values())
        time.sleep(max(0.0, EVERY_S - (time.monotonic() - start_s)))
    catalog.close()
    return n_rows


def start_writers(url: str, n_writers: int, seconds: float) -> list[subprocess.Popen[str]]:
    """Start writers, some in each process."""
    command = [sys.executable, "-m", "tests.catalog.load", url, "--seconds", str(seconds)]
    each = n_writers // N_PROCESSES
    return [
        subprocess.Popen(
            [*command, "--first", str(number * each), "--writers", str(each)],
            cwd=REPO_ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(N_PROCESSES)
    ]


@dataclass
class Views:
    """What people got: path -> how long each answer took [s], and what was not an answer."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """Return how long a share of the answers took at most [s]."""
        return float(np.quantile(np.concatenate([*self.seconds.values()]), share))


def view(port: int, paths: Sequence[str], seconds: float, n_viewers: int = 20) -> Views:
    """Let people look at one page after the other, each once a second."""
    views, lock = Views(), threading.Lock()
    end_s = time.monotonic() + seconds

    def look(number: int) -> None:
        turn = number
        while time.monotonic() < end_s:
            path, start_s = paths[turn % len(paths)], time.monotonic()
            status = get(port, path)
            took_s = time.monotonic() - start_s
            with lock:
                views.seconds.setdefault(path, []).append(took_s)
                if status != 200:
                    views.refused.append(f"{path}: {status}")
            turn += 1
            time.sleep(max(0.0, 1.0 - took_s))

    with ThreadPoolExecutor(n_viewers) as pool:
        for done in [pool.submit(look, number) for number in range(n_viewers)]:
            done.result()
    return views


def get(port: int, path: str) -> int:
    """Return the status of an answer that has come to its end."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


@contextmanager
def dashboard(url: str, results: Path) -> Iterator[int]:
    """Serve the pages of a catalog; give the port."""
    (port,) = free_ports(1)
    command = [sys.executable, "-c", "from xfel_apps.cli import main; main()", "dashboard"]
    options = ["--results", str(results), "--catalog", url, "--experiment", EXPERIMENT]
    options += ["--port", str(port)]
    with subprocess.Popen([*command, *options], cwd=REPO_ROOT, stdout=subprocess.PIPE) as server:
        try:
            _wait_for(port, server)
            yield port
        finally:
            server.terminate()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + 120
    while time.monotonic() < end_s and server.poll() is None:
        try:
            get(port, "/runs")
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError("the dashboard does not answer")


def main() -> None:
    """Run some writers; print the rows that they have written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--writers", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    numbers = range(args.first, args.first + args.writers)
    with ThreadPoolExecutor(len(numbers)) as pool:
        found = list(pool.map(lambda number: write(args.url, number, args.seconds), numbers))
    print(json.dumps({"rows": sum(found)}))


if __name__ == "__main__":
    main()
