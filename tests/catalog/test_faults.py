"""Whatever the database does, the analysis goes on and nothing is lost."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event, func, select

from tests.catalog.servers import SERVERS, Server
from tests.conftest import REPO_ROOT
from xfel_apps.catalog import follow as follow_module
from xfel_apps.catalog import open_catalog, upgrade_catalog
from xfel_apps.catalog.follow import Follow
from xfel_apps.catalog.models import Event, Part
from xfel_apps.catalog.sync import Source

N_RANKS, N_ROWS = 4, 80
LIMIT_S = 120.0


def start_ranks(run: Path) -> subprocess.Popen[bytes]:
    """Start ranks that write for a few seconds."""
    command = [sys.executable, "-m", "tests.catalog.ranks", str(run), "--ranks", str(N_RANKS)]
    return subprocess.Popen([*command, "--rows", str(N_ROWS)], cwd=REPO_ROOT)


@contextmanager
def following(url: str, results: Path) -> Iterator[list[str]]:
    """Follow results in a thread; give what it says; at the end, it has looked once more."""
    said: list[str] = []
    ended = threading.Event()
    follow = Follow(url, Source("exp", results, {}), said.append, every_s=0.1)
    thread = threading.Thread(target=follow.until, args=(ended.is_set, ended.wait))
    thread.start()
    try:
        yield said
    finally:
        ended.set()
        thread.join(LIMIT_S)


def n_rows(url: str) -> tuple[int, int]:
    """Return how many events there are, and how many the parts say there are."""
    with open_catalog(url).reading() as session:
        events = session.scalar(select(func.count()).select_from(Event))
        return events, int(session.scalar(select(func.sum(Part.n_rows))) or 0)


def wait_until(done: Callable[[], object]) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not done():
        assert time.monotonic() < end_s
        time.sleep(0.05)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_that_is_killed_and_comes_back_has_everything(
    kind: str,
    database_of: Callable[[str], str],
    server_of: Callable[[str], Server],
    tmp_path: Path,
) -> None:
    url, server = database_of(kind), server_of(kind)
    upgrade_catalog(url)
    results = tmp_path / "results"
    (results / "000").mkdir(parents=True)
    with following(url, results) as said:
        ranks = start_ranks(results / "000" / "r1")
        wait_until(lambda: n_rows(url)[0] > 0)
        server.kill()
        wait_until(lambda: said)
        assert ranks.wait(LIMIT_S) == 0  # the analysis has not noticed
        assert len(said) == 1
        assert "the analysis goes on" in said[0]
        assert server.password not in said[0]
        server.start()
        wait_until(lambda: len(said) == 2)
    assert said[1:] == ["the database answers again; what was missing is in"]
    assert n_rows(url) == (N_RANKS * N_ROWS, N_RANKS * N_ROWS)


def test_a_full_disk_is_said_and_caught_up_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, results = f"sqlite:///{tmp_path}/catalog.db", tmp_path / "results"
    (results / "000").mkdir(parents=True)
    open_catalog(url).close()
    with open_catalog(url).reading() as session:
        n_pages = session.connection().exec_driver_sql("PRAGMA page_count").scalar()
    limit = [n_pages + 4]

    def on_a_small_disk(*args: object, **options: object) -> object:
        catalog = open_catalog(*args, **options)
        catalog.close()

        @event.listens_for(catalog.engine, "connect")
        def _limit(connection, _record):
            connection.execute(f"PRAGMA max_page_count={limit[0]}")

        return catalog

    monkeypatch.setattr(follow_module, "open_catalog", on_a_small_disk)
    with following(url, results) as said:
        ranks = start_ranks(results / "000" / "r1")
        wait_until(lambda: said)
        assert ranks.wait(LIMIT_S) == 0
        assert "database or disk is full" in said[0]
        limit[0] = 1_000_000
        wait_until(lambda: len(said) == 2)
    assert n_rows(url) == (N_RANKS * N_ROWS, N_RANKS * N_ROWS)


def test_the_end_comes_without_the_database(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(follow_module, "LAST_S", 0.5)
    (tmp_path / "results").mkdir()
    with following("mariadb://me@127.0.0.1:9/db", tmp_path / "results") as said:
        wait_until(lambda: said)
    assert "Can't connect" in said[0]
    assert said[-1].endswith("run `xfelflow catalog sync` later")
