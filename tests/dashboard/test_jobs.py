"""Jobs: started, watched, stopped and started again; logs are shown only from the results."""

import socket
import subprocess
import sys
import time

import pytest

from xfel_apps.catalog import queries
from xfel_apps.catalog.edits import Editor
from xfel_apps.catalog.edits.jobs import NewJob, begin_job, place_job
from xfel_apps.dashboard import jobs, places

HOST = socket.gethostname()
LIMIT_S = 60.0


@pytest.fixture
def alice(catalog, client, token):
    client.headers["Authorization"] = f"Bearer {token}"
    return client


def job(catalog, number):
    with catalog.reading() as session:
        return queries.job(session, number)


def begin(catalog, place, log_path=""):
    editor = Editor(catalog, "exp", "maria")
    number = begin_job(editor, NewJob("000", "merge", "datasets/apo/v005", HOST))
    place_job(editor, number, place, log_path)
    return number


def wait_for(condition):
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s, "it did not come"
        time.sleep(0.05)


def test_a_job_is_started_ends_and_is_started_again(alice, catalog, results, monkeypatch):
    script = "print('merging <b>'); raise SystemExit('no raw file')"
    monkeypatch.setattr(jobs, "_command", lambda *_: [sys.executable, "-c", script])
    monkeypatch.setattr(
        jobs,
        "_target",
        lambda _r, _f, work: (f"datasets/{work.name}/v005", results / "merged.json"),
    )
    asked = {"trial": "000", "stage": "merge", "name": "apo"}
    go = alice.post("/jobs", json=asked).json()["go"]
    number = int(go.rpartition("=")[2])
    wait_for(lambda: job(catalog, number).state == "failed")
    found = job(catalog, number)
    assert (found.exit_code, found.message) == (1, "no raw file")
    text = alice.get(f"/jobs/{number}/log").text
    assert "merging &lt;b&gt;" in text
    again = alice.post(f"/jobs/{number}/resubmit", json={}).json()["go"]
    second = int(again.rpartition("=")[2])
    wait_for(lambda: job(catalog, second).state == "failed")
    assert job(catalog, second).attempt == 2
    with catalog.reading() as session:
        actors = {(row.actor, row.action) for row in queries.audit(session, "exp")}
    assert ("alice", "start") in actors


def test_a_job_is_stopped_and_only_that_process(alice, catalog):
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
    )
    number = begin(catalog, places.place_of(child.pid))
    page = alice.get("/jobs").text
    assert f"/jobs/{number}/cancel" not in page  # looking needs no token, changing does
    assert alice.post(f"/jobs/{number}/cancel", json={}).status_code == 200
    child.wait(LIMIT_S)
    assert job(catalog, number).state == "cancelled"
    assert alice.post(f"/jobs/{number}/cancel", json={}).status_code == 400


@pytest.mark.parametrize(
    "place", ["", "local:1:0", "local:99999999:5", "slurm:1; rm -rf x", "slurm:--all", "x:1"]
)
def test_what_is_no_job_of_ours_is_not_stopped(alice, catalog, place):
    number = begin(catalog, place)
    answer = alice.post(f"/jobs/{number}/cancel", json={})
    assert answer.status_code == 400
    assert job(catalog, number).state == "running"


def test_slurm_is_asked_to_stop_a_job(alice, catalog, tmp_path, monkeypatch):
    said = tmp_path / "said"
    fake = tmp_path / "bin" / "scancel"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" > {said}\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    number = begin(catalog, "slurm:4711")
    assert alice.post(f"/jobs/{number}/cancel", json={}).status_code == 200
    assert said.read_text() == "4711\n"


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret", "link"])
def test_logs_outside_the_results_are_not_shown(alice, catalog, results, path):
    secret = results.parent / "secret"
    secret.write_text("root:x:0")
    (results / "link").symlink_to(secret)
    at = path if path.startswith("/") else str(results / path)
    number = begin(catalog, "", at)
    answer = alice.get(f"/jobs/{number}/log")
    assert answer.status_code == 400
    assert "root:x" not in answer.text


@pytest.mark.parametrize("path", ["/jobs/1", "/jobs/99/log", "/jobs/x/log", "/jobs?job=x"])
def test_jobs_that_are_none(client, catalog, path):
    assert client.get(path).status_code in (400, 404, 422)


def test_jobs_need_a_token(client, catalog):
    asked = {"trial": "000", "stage": "merge", "name": "apo"}
    for path in ("/jobs", "/jobs/1/cancel", "/jobs/1/resubmit"):
        assert client.post(path, json=asked).status_code == 401


def test_a_job_that_ended_unwatched_is_settled(catalog, results):
    from xfel_apps.dashboard.room import Room
    from xfel_apps.dashboard.settings import DashboardSettings

    number = begin(catalog, "local:99999999:5")
    room = Room(DashboardSettings(results=results))
    room.changes.look()
    jobs.settle(room)
    room.close()
    assert job(catalog, number).state == "failed"
