"""Rows a second into the catalog, connections, cost and latency: SQLite, MariaDB, PostgreSQL.

The servers are real, started here as the tests start them, and write to the disk at each commit.

- `images_50k_s`: 50,000 events of a container are read and are in the catalog, best of three
- `baseline_rows_per_s`: 64 ranks that each hold a connection and commit one row at a time
- `rows_per_s`: 64 ranks write containers as fast as they can; rows over the time from the first of
  them to the last one in the catalog; `rows_lost` of them are not there in the end, and
  `peak_connections` were held meanwhile by all together
- `runtime_share_percent`: processor time spent on the catalog while two ranks find spots, index and
  integrate simulated shots of 1 Mpx, of the time that those shots take; `start_cpu_s`: what the
  process beside them costs before the first row, once a workflow
- `page_p50_s`, `page_p95_s`, `page_max_s`: pages, for 20 people who look at one a second, on a
  million rows, while 64 writers each write 50 rows every two seconds; `load_rows_lost` of those
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select

from benchmarks.crew import batch
from benchmarks.stages import repeated, simulated
from tests.catalog import load
from tests.catalog.ranks import write
from tests.catalog.servers import SERVERS, Server, install
from tests.conftest import REPO_ROOT
from xfel_apps.catalog import Catalog, open_catalog, queries, upgrade_catalog
from xfel_apps.catalog.follower import Follower
from xfel_apps.catalog.models import Event, Part
from xfel_apps.catalog.sync import Source, Sync
from xfel_apps.containers.results import PER_SHOT, RunResults
from xfel_apps.dashboard.pages import pages
from xfel_apps.experiment import Experiment

N_RANKS = 64
N_IMAGES = 50_000
LIMIT_S = 600.0
LOAD_S = 20.0

Figures = dict[str, Any]


class Place:
    """A kind of database, and how its connections are counted."""

    def __init__(self, kind: str, folder: Path, server: Server | None) -> None:
        self.kind, self.folder, self.server = kind, folder, server
        self._n_made = 0

    def fresh(self) -> str:
        """Return the URL of a new catalog."""
        self._n_made += 1
        name = f"bench{self._n_made}"
        url = self.server.create(name) if self.server else str(self.folder / f"{name}.db")
        upgrade_catalog(url)
        return url

    def connections(self, url: str) -> int:
        """Return how many connections there are now; of SQLite, processes with the file open."""
        if self.server:
            return self.server.connections()
        path = str(Path(url).resolve())
        return sum(path in _open_files(item) for item in Path("/proc").glob("[0-9]*/fd"))


def _open_files(folder: Path) -> set[str]:
    try:
        return {str(item.readlink()) for item in folder.iterdir()}
    except OSError:
        return set()


@contextmanager
def place(kind: str, folder: Path) -> Iterator[Place]:
    """Give a kind of database: started if need be, and ended."""
    with ExitStack() as stack:
        server = None
        if kind in SERVERS:
            server = stack.enter_context(SERVERS[kind](is_durable=True))
            os.environ["XFELFLOW_DB_PASSWORD"] = server.password
        yield Place(kind, folder, server)


def images_50k_s(where: Place) -> float:
    """Return how long it takes until the events of one container are in the catalog [s]."""
    results = where.folder / "images"
    if not results.exists():
        write(results / "000" / "r1", 0, range(N_IMAGES), N_IMAGES, 0.0)
    took_s = []
    for _ in range(3):
        catalog = open_catalog(where.fresh(), pool_size=1)
        sync = Sync(catalog, Source("bench", results, {}))
        start_s = time.perf_counter()
        assert sync.look() == N_IMAGES
        took_s.append(time.perf_counter() - start_s)
        catalog.close()
    return min(took_s)


def baseline_rows_per_s(where: Place, rows_each: int = 8) -> float:
    """Return rows a second of ranks that each commit one row at a time."""
    catalog = Catalog(open_catalog(where.fresh()).url, pool_size=N_RANKS)
    key = load.keys(catalog, "r1")["spotfind"]
    begin = threading.Barrier(N_RANKS + 1)

    def rank(number: int) -> None:
        catalog.engine.connect().close()
        begin.wait()
        for row in range(rows_each):
            event = {"trial_id": key.trial_id, "run_id": key.run_id, "stage": key.stage}
            event |= {"event": number * rows_each + row, "outcome": 2, "error": "", "seconds": 0.1}
            event |= {"start_s": 1.0, "end_s": 2.0, "host": "nid0001", "rank": number}
            catalog.change(lambda session, row=event: session.execute(insert(Event), [row]))

    with ThreadPoolExecutor(N_RANKS) as pool:
        done = [pool.submit(rank, number) for number in range(N_RANKS)]
        begin.wait()
        start_s = time.perf_counter()
        for item in done:
            item.result()
    catalog.close()
    return N_RANKS * rows_each / (time.perf_counter() - start_s)


@contextmanager
def followed(url: str, results: Path) -> Iterator[int]:
    """Follow results as a workflow does; give the process's number."""
    experiment = Experiment.checked({"catalog": url, "results": str(results)})
    follower = Follower([experiment])
    follower.start()
    assert follower.process is not None
    try:
        yield follower.process.pid
    finally:
        follower.end()


def n_known(url: str) -> int:
    """Return how many rows the parts of a catalog say that there are."""
    catalog = open_catalog(url)
    with catalog.reading() as session:
        return int(session.scalar(select(func.sum(Part.n_rows))) or 0)


def wait_for(rows: int, url: str) -> None:
    """Return when a catalog has so many events."""
    end_s = time.monotonic() + LIMIT_S
    while n_known(url) < rows and time.monotonic() < end_s:
        time.sleep(0.25)


def growing(where: Place, rows_each: int) -> Figures:
    """Return the figures of ranks that write containers while they are followed."""
    results, url, peak = where.folder / "growing", where.fresh(), [0]
    run = results / "000" / "r1"
    run.mkdir(parents=True, exist_ok=True)
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(0.3):
            peak[0] = max(peak[0], where.connections(url))

    sampler = threading.Thread(target=sample)
    command = [sys.executable, "-m", "tests.catalog.ranks", str(run), "--ranks", str(N_RANKS)]
    command += ["--rows", str(rows_each), "--flush-rows", "100", "--pause-s", "0"]
    with followed(url, results):
        sampler.start()
        ranks = subprocess.Popen(command, cwd=REPO_ROOT)
        while not any(run.glob("spots/*.h5")):
            time.sleep(0.01)
        start_s = time.perf_counter()
        assert ranks.wait(LIMIT_S) == 0
        # Whoever asks how far it is holds a connection too: only once, near the end.
        ended.set()
        sampler.join()
        wait_for(N_RANKS * rows_each, url)
        took_s = time.perf_counter() - start_s
    written = load.n_events(open_catalog(url))
    return {
        "rows_per_s": round(written / took_s),
        "peak_connections": peak[0],
        "rows_lost": N_RANKS * rows_each - written,
    }


def cpu_s(process: int) -> float:
    """Return the processor time that a process has spent [s]."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def share(where: Place, raw: Path) -> Figures:
    """Return what the catalog costs beside the stages."""
    results, url = where.folder / where.kind, where.fresh()
    run = results / "000" / "r1"
    with followed(url, results) as process:
        while not has_experiment(url):
            time.sleep(0.1)
        start_s = cpu_s(process)
        cost = batch(raw, run, 2)
        wait_for(n_in_containers(run), url)
        spent_s = cpu_s(process) - start_s
    return {
        "runtime_share_percent": round(100 * spent_s / cost.rows_cpu_s, 2),
        "start_cpu_s": round(start_s, 2),
    }


def has_experiment(url: str) -> bool:
    """Return whether the process that follows has looked once."""
    with open_catalog(url).reading() as session:
        return bool(queries.experiments(session))


def n_in_containers(run: Path) -> int:
    """Return how many rows the containers of a run have, of all stages."""
    results = RunResults(run)
    try:
        return sum(len(results.shots(PER_SHOT[name])) for name in results.manifests)
    finally:
        results.close()


def loaded(where: Place) -> Figures:
    """Return how pages answer while many write, and whether any row is lost."""
    url, results = where.fresh(), where.folder / "results"
    results.mkdir(exist_ok=True)
    catalog = open_catalog(url)
    n_rows = load.fill(catalog)
    paths = [f"/{page.name}" for page in pages()] + ["/now/rates"]
    with load.dashboard(url, results) as port:
        for path in paths:
            load.get(port, path)
        writers = load.start_writers(url, N_RANKS, LOAD_S)
        time.sleep(5.0)
        views = load.view(port, paths, LOAD_S - 5.0)
        written = sum(json.loads(item.communicate()[0] or "{}").get("rows", 0) for item in writers)
    return {
        "page_p50_s": round(views.quantile(0.5), 3),
        "page_p95_s": round(views.quantile(0.95), 3),
        "page_max_s": round(views.quantile(1.0), 3),
        "pages_refused": len(views.refused),
        "writers_failed": sum(item.returncode != 0 for item in writers),
        "load_rows_lost": n_rows + written - load.n_events(catalog),
    }


def measure(where: Place, raw: Path, rows_each: int) -> Figures:
    """Return all figures of a kind of database, and print them as they come."""
    steps: tuple[Callable[[], Figures], ...] = (
        lambda: {"images_50k_s": round(images_50k_s(where), 2)},
        lambda: {"baseline_rows_per_s": round(baseline_rows_per_s(where))},
        lambda: growing(where, rows_each),
        lambda: share(where, raw),
        lambda: loaded(where),
    )
    figures: Figures = {}
    for step in steps:
        found = step()
        print(f"{where.kind}: {json.dumps(found)}", flush=True)
        figures |= found
    return figures


def main() -> None:
    """Print figures as they come, then one line of JSON."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["sqlite", *SERVERS], help="one kind of database")
    parser.add_argument("--rows", type=int, default=2000, help="of each of 64 ranks")
    parser.add_argument("--shots", type=int, default=400, help="that are really processed")
    args = parser.parse_args()
    figures: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as scratch:
        raw = repeated(simulated(Path(scratch) / "raw", 60, {}), args.shots)
        for kind in [args.only] if args.only else ["sqlite", *SERVERS]:
            if reason := reason_against(kind):
                figures[kind] = {"not_measured": reason}
                print(f"{kind}: {reason}", flush=True)
                continue
            folder = Path(scratch) / kind
            folder.mkdir()
            with place(kind, folder) as where:
                figures[kind] = measure(where, raw, args.rows)
    print(json.dumps(figures))


def reason_against(kind: str) -> str | None:
    """Return why a kind of database cannot be measured; root installs what is missing."""
    if kind not in SERVERS:
        return None
    if SERVERS[kind].reason_against() and os.geteuid() == 0:
        install()
    return SERVERS[kind].reason_against()


if __name__ == "__main__":
    main()
