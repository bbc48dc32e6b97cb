"""The catalog has what the containers have, from whatever state it begins."""

import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from tests.tiny_trial import crystal_columns, spots_of, write_run
from xfel_apps.catalog import Catalog, CatalogError, open_catalog, upgrade_catalog
from xfel_apps.catalog.edits import Editor
from xfel_apps.catalog.edits.jobs import NewJob, begin_job, place_job
from xfel_apps.catalog.models import Crystal, Event, Run, Trial
from xfel_apps.catalog.queries import JobInfo, jobs, runs
from xfel_apps.catalog.queries import trial as trial_of
from xfel_apps.catalog.queries.runs import outcome_counts
from xfel_apps.catalog.schema import upgrade
from xfel_apps.catalog.sync import Source, Sync
from xfel_apps.catalog.url import checked_url
from xfel_apps.containers.events import EVENTS
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.results import RunResults
from xfel_apps.containers.spots import SPOTS
from xfel_apps.containers.writer import ContainerWriter

N_ROWS = 2 * (20 + 18 + 12 + 10)
"""Of two runs of 20 shots: events, spots, crystals, reflections."""


def opened(url: str) -> Catalog:
    """Return the catalog at a URL with all tables."""
    catalog = Catalog(checked_url(url), pool_size=1)
    with catalog.connected() as connection:
        upgrade(connection)
    return catalog


def sync(catalog: Catalog, trial: Path) -> int:
    """Bring in what a trial has, as a process of its own would."""
    return Sync(catalog, Source("exp", trial.parent, {})).look()


def state(catalog: Catalog) -> dict:
    """Return all that a sync writes, without the rows' numbers."""
    with catalog.reading() as session:
        events = session.execute(
            select(Run.name, Event.stage, Event.event, Event.outcome, Event.error, Event.rank)
            .join(Run, Run.id == Event.run_id)
            .order_by(Run.name, Event.stage, Event.event)
        ).all()
        crystals = session.execute(
            select(Run.name, Crystal.event, Crystal.lattice, Crystal.a_ang, Crystal.n_indexed)
            .join(Run, Run.id == Crystal.run_id)
            .order_by(Run.name, Crystal.event)
        ).all()
        return {"events": events, "crystals": crystals, "runs": runs(session, "exp", "000")}


def write_spots(run: Path, rank: int, events: range, start_s: float = 1e9) -> None:
    """Write what a rank found in events: every other one is a miss."""
    with ContainerWriter(run / "spots", rank, SPOTS, "digest") as writer:
        for event in events:
            outcome = Outcome.MISS if event % 2 else Outcome.HIT_NOT_INDEXED
            writer.append(event, ShotResult(outcome), start_s + event, 0.1)


def outcomes(catalog: Catalog) -> dict[str, int]:
    """Return how many events of run r1 ended how, as stage spotfind says."""
    with catalog.reading() as session:
        (run,) = [run for run in runs(session, "exp", "000") if run.name == "r1"]
        return outcome_counts(session, session.scalars(select(Trial.id)).one())[run.id]


def all_jobs(catalog: Catalog) -> list[JobInfo]:
    with catalog.reading() as session:
        return jobs(session, "exp")


def test_everything_comes_from_nothing_and_once(catalog_url: str, tiny_trial: Path) -> None:
    catalog = opened(catalog_url)
    assert sync(catalog, tiny_trial) == N_ROWS
    first = state(catalog)
    assert sync(catalog, tiny_trial) == 0
    assert state(catalog) == first
    for run in first["runs"]:
        results = RunResults(tiny_trial / run.name)
        wanted = {name: n for name, n in results.last.outcomes.items() if n}
        assert run.outcomes == wanted
        assert run.n_events == 20
        assert run.n_lattices == 10
        results.close()
    by_event = {row[1]: row for row in first["crystals"] if row[0] == "r0001"}
    for event, row in by_event.items():
        columns = crystal_columns(event, len(spots_of(event)))
        assert row[3] == pytest.approx(columns["cell"][0][0])
        assert row[4] == columns["n_indexed"][0]
    catalog.close()


def test_a_part_that_grows_is_gone_on_with(database_of, tmp_path: Path) -> None:
    catalog, trial = opened(database_of("sqlite")), tmp_path / "results" / "000"
    write_spots(trial / "r1", 0, range(30))
    one = Sync(catalog, Source("exp", trial.parent, {}))
    assert one.look() == 30
    write_spots(trial / "r1", 1, range(20, 50))
    assert one.look() == 20  # events 20 to 29 count once
    assert one.look() == 0
    assert sync(catalog, trial) == 0
    assert outcomes(catalog) == {"miss": 25, "hit_not_indexed": 25}


def test_files_that_were_made_anew_replace_what_they_were(database_of, tmp_path: Path) -> None:
    catalog, trial = opened(database_of("sqlite")), tmp_path / "results" / "000"
    write_spots(trial / "r1", 0, range(30))
    write_spots(trial / "r1", 1, range(30, 60))
    one = Sync(catalog, Source("exp", trial.parent, {}))
    assert one.look() == 60
    for path in (trial / "r1" / "spots").glob("*.h5"):
        path.unlink()
    write_spots(trial / "r1", 0, range(10))
    assert one.look() == 10
    assert sync(catalog, trial) == 0
    assert sum(outcomes(catalog).values()) == 10


def test_writers_of_the_same_rows_insert_them_once(catalog_url: str, tmp_path: Path) -> None:
    trial = tmp_path / "results" / "000"
    for rank in range(8):
        write_spots(trial / "r1", rank, range(rank * 50, rank * 50 + 100))  # half of them twice
    opened(catalog_url).close()
    begin = threading.Barrier(6)

    def write() -> int:
        catalog = open_catalog(catalog_url, pool_size=1)
        begin.wait(60)
        try:
            return sync(catalog, trial)
        finally:
            catalog.close()

    with ThreadPoolExecutor(6) as pool:
        found = [pool.submit(write) for _ in range(6)]
        assert sum(item.result(120) for item in found) == 450
    catalog = open_catalog(catalog_url)
    assert sync(catalog, trial) == 0
    assert outcomes(catalog) == {"miss": 225, "hit_not_indexed": 225}
    with catalog.reading() as session:
        assert session.scalar(select(func.count()).select_from(Event)) == 450


def test_data_of_the_schema_before_stay_and_are_made_whole(
    catalog_url: str, tmp_path: Path
) -> None:
    trial = tmp_path / "results" / "000"
    write_spots(trial / "r1", 0, range(40))
    before = Catalog(checked_url(catalog_url))
    with before.connected() as connection:
        upgrade(connection, "0001")
        values = "1, 'exp', 'results', 1.0, 1"
        connection.execute(text(f"insert into experiments values ({values})"))
        connection.execute(text("insert into runs values (1, 1, 'r1', '[]', 40, 'new', 1.0, 3)"))
        values = "1, 1, 0, '000', '{}', 'd', null, 'mine', 1.0, 'me'"
        connection.execute(text(f"insert into trials values ({values})"))
        connection.execute(text("insert into tags values (1, 1, 'apo', 1.0)"))
        connection.execute(text("insert into run_tags values (1, 1)"))
        values = "1, 1, 1, 'spotfind', 'spots/rank-0000.h5', 5, 1.0"
        connection.execute(text(f"insert into parts values ({values})"))
        for event in range(5):
            values = f"1, 1, 'spotfind', {event}, 2, '', 1.0, 2.0, 0.5, 'h', 0"
            connection.execute(text(f"insert into events values ({values})"))
    with pytest.raises(CatalogError, match="catalog upgrade"):
        open_catalog(catalog_url)
    upgrade_catalog(catalog_url)
    catalog = open_catalog(catalog_url)
    with catalog.reading() as session:
        (run,) = runs(session, "exp", "000")
        assert (run.tags, run.revision) == (("apo",), 3)
        assert session.scalar(select(func.count()).select_from(Event)) == 5
    assert sync(catalog, trial) == 40
    assert outcomes(catalog) == {"miss": 20, "hit_not_indexed": 20}


def test_settings_come_as_files_tell_them(tmp_path, monkeypatch):
    results = tmp_path / "results"
    (results / "000" / "r0001" / "events").mkdir(parents=True)
    catalog = open_catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
    looker = Sync(catalog, Source("main", results, {}))
    looker.look()

    def example():
        with catalog.reading() as session:
            return trial_of(session, "main", "000").parameters["spotfind"]["min_snr"]

    usual = example()
    write_run(results / "000" / "r0001", 10, monkeypatch)
    path = results / "000" / "r0001" / "spots.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "settings": {"min_snr": usual + 1.0}}))
    looker.look()
    assert example() == usual + 1.0
    catalog.close()


def test_tasks_tell_how_far_they_are(database_of, tiny_trial: Path) -> None:
    catalog = opened(database_of("sqlite"))
    write_spots(tiny_trial / "r3", 0, range(10))
    following = Sync(catalog, Source("exp", tiny_trial.parent, {}))
    following.look()
    states = {(job.subject, job.stage): job.state for job in all_jobs(catalog)}
    assert states.pop(("r3", "spotfind")) == "running"
    assert set(states.values()) == {"done"}
    assert len(states) == 2 * 4
    following.look(is_over=True)
    (stopped,) = [job for job in all_jobs(catalog) if job.state == "failed"]
    assert (stopped.subject, stopped.attempt, stopped.resources) == ("r3", 1, {"ranks": 1})
    write_spots(tiny_trial / "r3", 1, range(10, 20))
    following.look()
    assert [job.state for job in all_jobs(catalog) if job.subject == "r3"] == ["running"]


def test_a_job_that_somebody_started_is_left_to_tell_of_itself(database_of, tmp_path: Path) -> None:
    catalog, trial = opened(database_of("sqlite")), tmp_path / "results" / "000"
    write_spots(trial / "r1", 0, range(10))
    sync(catalog, trial)
    editor = Editor(catalog, "exp", "maria")
    number = begin_job(editor, NewJob("000", "spotfind", "r3", "host"))
    place_job(editor, number, "local:1:2", "mine.log")
    write_spots(trial / "r3", 0, range(10), time.time())
    sync(catalog, trial)
    (job,) = [job for job in all_jobs(catalog) if job.subject == "r3"]
    assert (job.id, job.place, job.log_path, job.state) == (
        number, "local:1:2", "mine.log", "running",
    )  # fmt: skip


def test_live_results_give_way_to_the_batch_s(database_of, tiny_trial: Path) -> None:
    catalog, run = opened(database_of("sqlite")), tiny_trial / "r1"
    for first in (0, 20):
        with ContainerWriter(run / f"live/chunks/{first:07d}/events", 0, EVENTS, "c") as writer:
            for event in range(20):
                writer.append(event, ShotResult(Outcome.PENDING), 1e9, 0.1)
    write_spots(run / "live" / "c1", 1, range(30))
    one = Sync(catalog, Source("exp", tiny_trial.parent, {}))
    one.look()
    assert outcomes(catalog) == {"pending": 10, "miss": 15, "hit_not_indexed": 15}
    with catalog.reading() as session:
        states = {item.name: item.state for item in runs(session, "exp", "000")}
    assert states == {"r1": "growing", "r0001": "complete", "r0002": "complete"}
    shutil.rmtree(run)
    shutil.copytree(tiny_trial / "r0001", run)
    one.look()
    with catalog.reading() as session:
        found = {item.name: item.outcomes for item in runs(session, "exp", "000")}
    assert found["r1"] == found["r0001"]
