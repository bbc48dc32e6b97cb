"""Crews: how many are started and where, who is lost, what happens to their chunks."""

import json
import time
from concurrent.futures import Future

import pytest

from tests.live.in_process import InProcessFleet
from xfel_apps.containers.manifest import write_text
from xfel_apps.live import crews as module
from xfel_apps.live.chunk import Chunk
from xfel_apps.live.crews import Crews, next_pool
from xfel_apps.live.fleet import Pool
from xfel_apps.live.layout import LiveFolder
from xfel_apps.live.queue import LIVE_FIRST, Queue, entry_name

RESERVATION, REALTIME, PREEMPT = (
    Pool(name, most, None, None, 2, 4, is_mpi=True)
    for name, most in (("reservation", 1), ("realtime", 1), ("preempt", 2))
)
POOLS = (RESERVATION, REALTIME, PREEMPT)


@pytest.mark.parametrize(
    ("counts", "waiting", "expected"),
    [
        ((0, 0, 0), (0, 0), None),  # nothing waits: nothing is asked for
        ((0, 0, 0), (1, 0), RESERVATION),
        ((0, 0, 0), (0, 1), RESERVATION),
        ((1, 0, 0), (2, 0), None),  # one crew has enough to do
        ((1, 0, 0), (3, 0), REALTIME),
        ((1, 0, 0), (0, 3), PREEMPT),  # other trials get no urgent block
        ((1, 0, 0), (2, 9), PREEMPT),
        ((1, 1, 0), (5, 0), PREEMPT),
        ((1, 1, 2), (99, 99), None),  # all blocks are used
    ],
)
def test_pools_are_filled_in_order_as_chunks_wait(counts, waiting, expected):
    by_name = dict(zip((pool.name for pool in POOLS), counts, strict=True))
    assert next_pool(POOLS, by_name, sum(counts), waiting) == expected


class Scene:
    """Crews whose futures and files the test writes; time is the test's as well."""

    def __init__(self, folder, monkeypatch) -> None:
        self.live = LiveFolder(folder)
        self.said: list[str] = []
        self.recovered: list[str] = []
        self.now_s = 1000.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now_s)
        self.fleet = InProcessFleet()
        self.crews = Crews(self.live, self.fleet, self.recover, ["--live", "{}"], self.said.append)

    def recover(self, live, crew) -> int:
        self.recovered.append(crew)
        queue = Queue(live)
        claims = queue.taken(crew)
        for claim in claims:
            queue.give_back(claim, claim.chunk)
        return len(claims)

    def put(self) -> None:
        chunk = Chunk(str(self.live.results / "000"), "r1", 0, 5)
        Queue(self.live).put(entry_name(chunk, LIVE_FIRST, 1.0), chunk)

    def beat(self, crew: str, count: int) -> None:
        said = {"name": crew, "beat": count, "host": "nid1", "n_ranks": 3, "n_shots": 10 * count}
        write_text(self.live.crew(crew), json.dumps(said))

    def pass_s(self, seconds: int) -> None:
        """Let time pass, with a look each second."""
        for _ in range(seconds):
            self.now_s += 1.0
            self.crews.look()

    def start(self) -> str:
        self.crews.start_wanted(1, 0)
        (name,) = self.crews.crews
        return name


@pytest.fixture
def scene(tmp_path, monkeypatch) -> Scene:
    return Scene(tmp_path, monkeypatch)


def test_a_crew_that_falls_silent_loses_its_chunks_and_may_come_back(scene):
    scene.put()
    name = scene.start()
    scene.pass_s(100)  # it waits for its block: it is not lost
    scene.beat(name, 1)
    scene.crews.look()
    Queue(scene.live).take(name)
    scene.pass_s(29)
    assert scene.recovered == []
    scene.pass_s(3)
    assert scene.recovered == [name]
    assert len(Queue(scene.live).waiting()) == 1
    assert scene.crews.crews[name].is_lost
    scene.beat(name, 2)
    scene.crews.look()
    assert not scene.crews.crews[name].is_lost


def test_a_stall_of_the_daemon_itself_is_no_loss(scene):
    name = scene.start()
    scene.beat(name, 1)
    scene.crews.look()
    Queue(scene.live).take(name)
    scene.now_s += 60.0  # the disk stood still, for the crew too
    scene.crews.look()
    scene.pass_s(20)
    assert not scene.crews.crews[name].is_lost


def test_a_crew_of_an_earlier_daemon_is_recovered_once_it_is_silent(scene):
    scene.put()
    Queue(scene.live).take("old")
    scene.crews.look()
    scene.pass_s(40)
    assert scene.recovered == ["old"]
    assert scene.crews.crews == {}
    assert not scene.live.taken("old").exists()


def test_a_pool_whose_crews_fail_waits_longer_each_time(scene):
    waits = []
    for _ in range(3):
        scene.start()
        started_s = scene.now_s
        _, future = scene.fleet.waiting.pop()
        future.set_result(1)
        scene.crews.look()
        while not scene.crews.crews:
            scene.pass_s(1)
            scene.crews.start_wanted(1, 0)
        waits.append(scene.now_s - started_s)
        scene.fleet.waiting.pop()
        scene.crews.crews.clear()
    assert waits == [5.0, 10.0, 20.0]
    assert "exit code 1" in scene.said[1]


def test_a_taken_chunk_that_cannot_be_read_is_removed(scene):
    """It is missed then, and put into the queue again."""
    name = scene.start()
    broken = scene.live.taken(name) / "0-008300000000.0-000-r1-0000000.json"
    write_text(broken, "{")
    future: Future[int] = scene.crews.crews[name].future
    future.set_exception(RuntimeError("the block is gone"))
    scene.crews.look()
    assert not broken.exists()
    assert any("was lost with its block" in text for text in scene.said)


def test_shots_a_second_are_those_of_the_last_beats(scene):
    name = scene.start()
    for count in range(1, 30):
        scene.beat(name, count)
        scene.pass_s(1)
    assert scene.crews.crews[name].shots_hz == pytest.approx(10.0)
    assert time.monotonic() == scene.now_s
