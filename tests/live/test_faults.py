"""Whatever dies, stops or fills up: the same merged result, and no event lost."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.live.whole import WholeLive, assert_same_result, batch, raw_file, wait_for
from xfel_apps.containers.results import RunResults

pytestmark = pytest.mark.slow

RATE_HZ = 8.0
SHOTS = 48
STALL_S = 10.0


@pytest.fixture(scope="module")
def master(tmp_path_factory) -> Path:
    """A run that takes six seconds to come."""
    return raw_file(tmp_path_factory.mktemp("raw"), SHOTS, seed=1)


@pytest.fixture(scope="module")
def expected(tmp_path_factory, master) -> Path:
    return batch(tmp_path_factory.mktemp("expected"), {"r1": master})


@pytest.fixture
def live(tmp_path):
    whole = WholeLive(tmp_path)
    yield whole
    whole.end()
    print(whole.said())


def grow(live: WholeLive, master: Path) -> subprocess.Popen[bytes]:
    """Start the daemon and a run that grows; return the daemon once a crew is at work."""
    daemon = live.start()
    live.replay(master, "r1", RATE_HZ)
    live.at_work()
    return daemon


@pytest.mark.parametrize("which", [0, -1], ids=["rank 0", "a worker"])
def test_a_rank_is_killed(live, master, expected, which):
    grow(live, master)
    ranks = sorted(live.ranks(), key=lambda process: int(process.environ().get("PMI_RANK", 0)))
    ranks[which].kill()
    live.finish("r1")
    assert_same_result(live.trial, expected, ["r1"])


def test_the_daemon_is_killed_and_started_again(live, master, expected):
    grow(live, master).kill()
    live.start()
    live.finish("r1")
    assert_same_result(live.trial, expected, ["r1"])


def test_the_file_system_stalls(live, master, expected):
    """Paused processes stand for it; what those do that are held for lost is fenced off."""
    daemon = grow(live, master)
    paused = [*live.ranks()]
    for process in paused:
        process.suspend()
    os.kill(daemon.pid, signal.SIGSTOP)
    time.sleep(STALL_S)
    os.kill(daemon.pid, signal.SIGCONT)
    for process in paused:
        process.resume()
    live.finish("r1")
    assert_same_result(live.trial, expected, ["r1"])


def test_a_file_is_cut_short(live, master, tmp_path):
    """What cannot be read fails, as it does in the batch; the rest is as if nothing had been."""
    whole = master.read_bytes()
    raw = {run: tmp_path / "raw" / f"{run}.h5" for run in ("r1", "r2")}
    raw["r1"].write_bytes(whole[: int(len(whole) * 0.6)])
    raw["r2"].write_bytes(whole)
    live.start("--once").wait(600)
    expected = batch(tmp_path, {"r2": raw["r2"]})
    assert_same_result(live.trial, expected, ["r2"])
    assert f"{raw['r1']}: " in live.said()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_the_disk_is_full_for_a_while(live, master, expected):
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", live.folder / "results"], check=True
    )
    try:
        grow(live, master)
        filler = live.folder / "results" / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(65536))
            except OSError:
                pass
        wait_for("the disk is said to be full", lambda: "No space left" in live.said())
        time.sleep(5.0)
        filler.unlink()
        live.finish("r1")
        assert_same_result(live.trial, expected, ["r1"])
    finally:
        live.end()
        subprocess.run(["umount", "-l", live.folder / "results"], check=True)


def test_every_event_is_accounted_for(expected):
    """The reference itself has all shots, most of them integrated."""
    ends = RunResults(expected / "r1").outcomes["outcome"].value_counts()
    assert ends.sum() == SHOTS
    assert ends["integrated"] > SHOTS / 2
