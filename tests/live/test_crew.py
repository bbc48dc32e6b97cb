"""Crews: the batch's rows from chunks, each frame read once; nothing lost, whatever ends them."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pandas as pd
import psutil
import pytest

from tests.live.crews import LiveTrial, tables
from tests.ranks import on_ranks
from xfel_apps.app import EXIT_AGAIN, EXIT_OK
from xfel_apps.containers import powder as powders
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.spots import SPOTS
from xfel_apps.live.chunk import Chunk, Facts, live_digest
from xfel_apps.live.crew import ledger
from xfel_apps.live.crew.__main__ import main
from xfel_apps.live.crew.recover import MOST_LOST, recover, rest_of
from xfel_apps.live.queue import Queue
from xfel_apps.live.tally import Tally
from xfel_apps.mpi import serial
from xfel_apps.sources import FrameCache
from xfel_apps.spotfind.processor import SpotFinder

PRODUCTS = SPOTS, CRYSTALS, REFLECTIONS
SLOW = Path(__file__).with_name("slow_crew.py")
N_SHOTS = 24


def assert_same_as_batch(trial: LiveTrial, batch) -> None:
    for product in PRODUCTS:
        found, expected = trial.tables(product), tables(batch.reader(product))
        for name in expected:
            pd.testing.assert_frame_equal(found[name], expected[name], obj=name)
    done, counts = trial.done(), batch.manifest(REFLECTIONS).outcomes
    for outcome, n_shots in counts.items():
        assert sum(chunk["outcomes"].get(outcome, 0) for chunk in done) == n_shots
    assert sum(chunk["n_lattices"] for chunk in done) == len(
        tables(batch.reader(REFLECTIONS))["crystals"]
    )
    assert not trial.waiting()
    assert sorted(in_powder(trial)) == list(range(N_SHOTS))


def in_powder(trial: LiveTrial, crew: str = "*") -> list[int]:
    """Return the shots in powder sums, one that is in two of them twice."""
    digest = live_digest(SPOTS, trial.experiment, Facts())
    folders = trial.run.folder.glob(f"{crew}/spots")
    return sorted(event for folder in folders for event in powders.events_in(folder, digest))


def run(trial: LiveTrial, crew: str = "c1", **live: object) -> int:
    return main(trial.arguments(crew, **live), serial())


def on_event(monkeypatch, number: int, action) -> None:
    """Do something just before a shot is processed in this process."""
    process = SpotFinder.process

    def with_action(self, event):
        if event == number:
            action()
        return process(self, event)

    monkeypatch.setattr(SpotFinder, "process", with_action)


@pytest.fixture
def trial(batch, tmp_path) -> LiveTrial:
    made = LiveTrial.make(tmp_path, batch.raw)
    made.put(batch.facts)
    return made


def test_each_frame_is_read_once_and_rows_are_those_of_the_batch(batch, trial, monkeypatch):
    read = Counter()
    pixels = FrameCache.pixels

    def counted(self, path, frame):
        read[path, frame] += 1
        return pixels(self, path, frame)

    monkeypatch.setattr(FrameCache, "pixels", counted)
    assert run(trial) == EXIT_OK
    assert_same_as_batch(trial, batch)
    assert len(read) == read.total() == N_SHOTS
    said = json.loads(trial.live.crew("c1").read_text())
    assert (said["n_shots"], said["n_ranks"], said["state"]) == (N_SHOTS, 1, "ended")


def test_three_ranks_write_the_rows_of_the_batch(batch, trial):
    subprocess.run(trial.command(3), check=True, timeout=300)
    assert_same_as_batch(trial, batch)
    assert len(trial.parts(SPOTS)) == 2


def test_without_a_cell_spots_are_found(batch, tmp_path):
    trial = LiveTrial.make(tmp_path, batch.raw, index={})
    trial.put(Facts())
    assert run(trial) == EXIT_OK
    assert trial.events_of(SPOTS) == list(range(N_SHOTS))
    assert not trial.parts(CRYSTALS)
    assert sum(chunk["outcomes"].get("hit_not_indexed", 0) for chunk in trial.done()) == 17


def test_hits_by_hot_pixels_alone_are_misses(batch, tmp_path):
    peaks = batch.reader(SPOTS).frame("spots")[["panel", "peak_slow", "peak_fast"]]
    trial = LiveTrial.make(tmp_path, batch.raw[:1])
    trial.put(Facts(tuple(map(tuple, peaks.to_numpy(int).tolist()))))
    assert run(trial) == EXIT_OK
    assert [chunk["outcomes"] for chunk in trial.done()] == [{"miss": 8}]


def test_stopped_in_a_chunk_gives_the_rest_back(batch, trial, monkeypatch):
    with monkeypatch.context() as patch:
        on_event(patch, 11, lambda: os.kill(os.getpid(), signal.SIGINT))
        assert run(trial) == EXIT_AGAIN
    first = trial.events_of(SPOTS, "c1")
    assert first == [8, 9, 10, 11, *range(16, 24)]
    assert [len(chunk.skip) for chunk in trial.waiting()] == [4, 0]
    assert run(trial, "c2") == EXIT_OK
    assert trial.events_of(SPOTS) == list(range(N_SHOTS))
    assert_same_as_batch(trial, batch)


def wait_for_rows(trial: LiveTrial, n: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if len(trial.events_of(SPOTS)) >= n:
                return
        except Exception:
            pass
        time.sleep(0.02)
    raise AssertionError(f"no crew made {n} shots durable in time")


def start_slow(trial: LiveTrial) -> tuple[subprocess.Popen, list[psutil.Process]]:
    """Start a slow crew of three ranks; return it and its workers once they work."""
    command = on_ranks(3, str(SLOW), "0.2", *trial.arguments())
    launcher = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_for_rows(trial, 3)
    children = psutil.Process(launcher.pid).children(recursive=True)
    return launcher, [child for child in children if str(SLOW) in child.cmdline()]


def test_signal_to_one_rank_stops_the_crew_and_another_finishes(batch, trial):
    launcher, ranks = start_slow(trial)
    ranks[1].send_signal(signal.SIGTERM)
    assert launcher.wait(timeout=120) == EXIT_AGAIN
    assert len(trial.events_of(SPOTS)) < N_SHOTS
    assert run(trial, "c2") == EXIT_OK
    assert trial.events_of(SPOTS) == list(range(N_SHOTS))
    assert_same_as_batch(trial, batch)


def test_killed_crew_is_recovered_and_durable_shots_are_kept(batch, trial):
    launcher, ranks = start_slow(trial)
    ranks[2].kill()
    assert launcher.wait(timeout=120) != EXIT_OK
    assert recover(trial.live, "c1") >= 1
    kept = {event for chunk in trial.waiting() for event in chunk.skip}
    assert kept
    assert run(trial, "c2") == EXIT_OK
    again = set(trial.events_of(SPOTS, "c2"))
    assert not again & kept
    assert_same_as_batch(trial, batch)


@pytest.mark.slow
def test_worker_that_hangs_ends_the_crew(batch, tmp_path):
    trial = LiveTrial.make(tmp_path, batch.raw, worker={"flush_s": 0.05, "shot_limit_s": 3})
    trial.put(batch.facts)
    launcher, ranks = start_slow(trial)
    ranks[1].suspend()
    try:
        assert launcher.wait(timeout=120) not in (EXIT_OK, EXIT_AGAIN)
    finally:
        for rank in ranks:
            with suppress(psutil.NoSuchProcess):
                rank.kill()
    assert recover(trial.live, "c1") >= 1
    assert run(trial, "c2") == EXIT_OK
    assert_same_as_batch(trial, batch)


@pytest.fixture
def finished(batch, tmp_path) -> tuple[LiveTrial, Chunk]:
    """Return a trial with one chunk that a crew has done but not let go of, and that chunk."""
    trial = LiveTrial.make(tmp_path, batch.raw[:1])
    (chunk,) = trial.put(batch.facts)
    assert run(trial) == EXIT_OK
    Queue(trial.live).put("0-1-r1-0000000.json", chunk)
    assert Queue(trial.live).take("c1") is not None
    return trial, chunk


def recovered(trial: LiveTrial) -> Chunk:
    assert recover(trial.live, "c1") == 1
    (chunk,) = trial.waiting()
    assert not list(trial.live.taken("c1").iterdir())
    return chunk


def test_shots_count_as_done_if_every_product_has_them(finished):
    trial, chunk = finished
    (done,) = trial.done()
    rest = recovered(trial)
    assert rest.skip == tuple(range(8))
    assert rest.in_powder == ()
    assert rest.skipped == Tally(done["outcomes"], done["n_lattices"])
    hits = trial.events_of(CRYSTALS)
    trial.parts(REFLECTIONS)[0].unlink()
    rest = rest_of(chunk, "c1")
    assert sorted({*rest.skip, *hits}) == list(range(8))
    assert sorted(rest.in_powder) == hits
    assert rest.skipped == Tally({"miss": 3})


def test_of_an_unreadable_part_nothing_is_durable(finished):
    trial, chunk = finished
    path = trial.parts(SPOTS)[0]
    with path.open("r+b") as file:
        file.truncate(1000)
    rest = rest_of(chunk, "c1")
    assert (rest.skip, rest.in_powder, rest.n_lost) == ((), tuple(range(8)), 1)
    assert rest_of(replace(chunk, facts=Facts()), "c1").skip == ()


def test_chunk_that_ends_every_crew_is_left_to_sealing(finished):
    trial, chunk = finished
    claim = Queue(trial.live).taken("c1")[0]
    shutil.rmtree(trial.run.folder / "c1")
    text = json.dumps(replace(chunk, n_lost=MOST_LOST - 1).as_json())
    claim.path.write_text(text)
    assert recover(trial.live, "c1") == 0
    assert not trial.waiting()
    assert "crews were lost with it" in trial.done()[0]["problem"]


def test_chunk_that_was_taken_away_is_dropped_silently(batch, trial, monkeypatch):
    aside = trial.results / "aside.json"

    def take_away() -> None:
        next(path for path in trial.live.taken("c1").iterdir()).rename(aside)

    on_event(monkeypatch, 19, take_away)
    assert run(trial) == EXIT_OK
    assert aside.exists()
    assert not list(trial.live.taken("c1").iterdir())
    assert [done["n_shots"] for done in trial.done()] == [8, 8]
    assert not (trial.run.chunk(16) / "done.json").exists()


def test_ends_when_another_daemon_has_taken_over(trial):
    trial.say_daemon("d2")
    assert run(trial) == EXIT_OK
    assert len(trial.waiting()) == 3


@pytest.mark.parametrize("text", ["{", '"mask": "/gone.npy"'])
def test_chunk_that_cannot_be_worked_on_is_left_to_sealing(batch, tmp_path, monkeypatch, text):
    monkeypatch.setattr(ledger, "TRY_AGAIN_S", 0.0)
    trial = LiveTrial.make(tmp_path, batch.raw[:1])
    trial.put(batch.facts)
    path = trial.run.chunk(0) / "events.json"
    whole = path.read_text().replace('"mask": null', text)
    path.write_text(whole if len(text) > 1 else text)
    assert run(trial) == EXIT_OK
    (done,) = trial.done()
    assert str(path if text == "{" else "/gone.npy") in done["problem"]
    assert not list(trial.live.taken("c1").iterdir())


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a disk of 16 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "free_kib"), [(1, 1200), (3, 300), (3, 2500)])
def test_full_disk_is_said_in_one_line_and_nothing_is_lost(batch, small_disk, ranks, free_kib):
    trial = LiveTrial.make(small_disk, batch.raw)
    trial.put(batch.facts)
    filler = small_disk / "filler"
    free = shutil.disk_usage(small_disk).free
    filler.write_bytes(bytes(free - 1024 * free_kib))
    ended = subprocess.run(trial.command(ranks), capture_output=True, timeout=300, text=True)
    filler.unlink()
    assert ended.returncode == 1
    errors = [line for line in ended.stderr.splitlines() if "error: " in line]
    assert errors
    assert all("cannot write" in line for line in errors)
    assert "Traceback" not in ended.stderr
    recover(trial.live, "c1")
    assert run(trial, "c2") == EXIT_OK
    assert_same_as_batch(trial, batch)
