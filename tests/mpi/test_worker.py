"""The worker on real ranks: same result whatever their number, after kills and after signals."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from tests.mpi import toy_stage
from tests.ranks import on_ranks, run_on_every
from xfel_apps.containers.manifest import Manifest, open_product
from xfel_apps.containers.reader import ProductReader
from xfel_apps.containers.spots import SPOTS
from xfel_apps.mpi import serial
from xfel_apps.worker import WorkerSettings

TOY = Path(__file__).with_name("toy_stage.py")
N_EVENTS = 200


def command(folder: Path, ranks: int, seconds: float = 0.001) -> list[str]:
    return on_ranks(ranks, str(TOY), str(folder), str(N_EVENTS), str(seconds))


def run_here(folder: Path) -> None:
    assert toy_stage.main([str(folder), str(N_EVENTS), "0.001"], serial()) == 0


def result(folder: Path) -> tuple[dict[str, int], pd.DataFrame, pd.DataFrame]:
    """Return what must not depend on how the work was done."""
    manifest, reader = open_product(folder / "spots.json", SPOTS)
    shots = reader.shots()[["outcome", "reason", "n_spots"]]
    spots = reader.frame("spots")
    reader.close()
    return dict(manifest.outcomes), shots, spots


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run_here(folder)
    return result(folder)


def assert_same(found, expected):
    assert found[0] == expected[0]
    pd.testing.assert_frame_equal(found[1], expected[1])
    pd.testing.assert_frame_equal(found[2], expected[2])


def test_every_event_is_accounted_for(undisturbed):
    counts, shots, spots = undisturbed
    assert sum(counts.values()) == N_EVENTS == len(shots)
    assert counts["failed"] == 2 * N_EVENTS // 50 + 1
    assert shots.at[3, "reason"] == "spotfind: took longer than 0.5 s"
    assert shots.at[49, "reason"] == "event 49 is bad"
    assert shots.at[48, "reason"] == "ValueError: a bug in one shot"
    bad = {3, *range(48, N_EVENTS, 50), *range(49, N_EVENTS, 50)}
    assert len(spots) == sum(e % 5 for e in range(N_EVENTS) if e not in bad)


@pytest.fixture(scope="module")
def on_several_ranks(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    arguments = [str(folder / "{size}"), str(N_EVENTS), "0.001"]
    run_on_every((2, 3, 5), "tests.mpi.toy_stage", *arguments)
    return folder


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_result_does_not_depend_on_ranks(on_several_ranks, ranks, undisturbed):
    assert_same(result(on_several_ranks / str(ranks)), undisturbed)


def run_again(folder: Path, ranks: int) -> None:
    if ranks == 1:
        run_here(folder)
    else:
        subprocess.run(command(folder, ranks), check=True, capture_output=True, timeout=120)


def running_ranks(launcher: subprocess.Popen) -> list[psutil.Process]:
    return [
        process
        for process in psutil.Process(launcher.pid).children(recursive=True)
        if str(TOY) in process.cmdline()
    ]


def wait_for_flushed(folder: Path, n: int) -> None:
    digest = None
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in (folder / "spots").glob("rank-*.h5"):
            try:
                reader = ProductReader([path], SPOTS)
            except Exception:
                continue
            digest = len(reader.events)
            reader.close()
            if digest >= n:
                return
        time.sleep(0.05)
    raise AssertionError(f"no rank flushed {n} shots in time")


@pytest.mark.parametrize(("victim", "ranks_again"), [(0, 3), (1, 1), (2, 1)])
def test_kill_any_rank_and_run_again(tmp_path, victim, ranks_again, undisturbed):
    launcher = subprocess.Popen(command(tmp_path, 3, 0.02), stderr=subprocess.DEVNULL)
    wait_for_flushed(tmp_path, 10)
    ranks = sorted(running_ranks(launcher), key=lambda process: process.pid)
    assert len(ranks) == 3
    os.kill(ranks[victim].pid, signal.SIGKILL)
    assert launcher.wait(timeout=60) != 0
    assert not (tmp_path / "spots.json").exists()
    run_again(tmp_path, ranks_again)
    assert_same(result(tmp_path), undisturbed)
    events = [
        event
        for path in (tmp_path / "spots").glob("rank-*.h5")
        for event in ProductReader([path], SPOTS).events
    ]
    assert sorted(events) == list(range(N_EVENTS))


@pytest.mark.parametrize("ranks", [1, 3])
def test_signal_finishes_the_shot_and_says_again(tmp_path, ranks, undisturbed):
    launcher = subprocess.Popen(command(tmp_path, ranks, 0.02), stderr=subprocess.DEVNULL)
    wait_for_flushed(tmp_path, 5)
    targets = running_ranks(launcher) if ranks > 1 else [psutil.Process(launcher.pid)]
    for process in targets:
        process.send_signal(signal.SIGUSR1)
    assert launcher.wait(timeout=60) == 75
    assert not (tmp_path / "spots.json").exists()
    run_again(tmp_path, ranks)
    assert_same(result(tmp_path), undisturbed)


@pytest.mark.parametrize("name", ["SLURM_JOB_END_TIME", "PARSL_BLOCK_END"])
def test_stops_by_itself_before_the_batch_job_ends(tmp_path, name, undisturbed, monkeypatch):
    with monkeypatch.context() as job:
        job.setenv(name, str(time.time() + WorkerSettings().stop_before_s + 1))
        assert toy_stage.main([str(tmp_path), str(N_EVENTS), "0.02"], serial()) == 75
    done = ProductReader(list((tmp_path / "spots").glob("rank-*.h5")), SPOTS).events
    assert 0 < len(done) < N_EVENTS
    run_here(tmp_path)
    assert_same(result(tmp_path), undisturbed)


def test_running_again_repeats_nothing(tmp_path, undisturbed):
    run_here(tmp_path)
    before = Manifest.read(tmp_path / "spots.json")
    run_here(tmp_path)
    assert Manifest.read(tmp_path / "spots.json") == before
    assert_same(result(tmp_path), undisturbed)
