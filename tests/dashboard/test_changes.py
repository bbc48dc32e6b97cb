"""Browsers are told what has changed, once, by one who looks."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from xfel_apps.dashboard.cache import Cache
from xfel_apps.dashboard.changes import Changes


def in_a_loop_of_its_own(coroutine):
    """Run it in a thread: a browser of other tests may have a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, coroutine).result()


def topics(event):
    return json.loads(event.split("data: ")[1])["topics"]


def test_every_listener_hears_of_a_change_and_a_slow_one_hears_once():
    state = {"a": 0, "b": 0}
    changes = Changes({name: (lambda name=name: state[name]) for name in state}, 1.0)
    changes.look()

    async def listen():
        quick, slow = changes.listen(), changes.listen()
        assert "hello" in await anext(quick)
        assert "hello" in await anext(slow)
        state["a"] = 1
        changes.tell(changes.look())
        assert topics(await anext(quick)) == ["a"]
        changes.tell(changes.look())  # nothing has changed
        state["b"] = 1
        changes.tell(changes.look())
        assert topics(await anext(quick)) == ["b"]
        assert topics(await anext(slow)) == ["a", "b"]
        await quick.aclose()
        await slow.aclose()

    in_a_loop_of_its_own(listen())


def test_a_probe_that_fails_is_a_change_and_no_end():
    answers = iter([1, OSError("away"), OSError("away"), 1])

    def probe():
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    changes = Changes({"disk": probe}, 1.0)
    assert [sorted(changes.look()) for _ in range(4)] == [["disk"], ["disk"], [], ["disk"]]


def test_an_answer_is_made_once_for_a_state():
    cache, made = Cache(), []
    for state in (1, 1, 2):
        cache.get("key", state, lambda: made.append(1))
    assert len(made) == 2


def test_an_answer_that_takes_long_is_told_of_when_it_is_there():
    told, go_on = threading.Event(), threading.Event()
    cache = Cache(late=told.set)
    assert cache.get("key", 1, lambda: go_on.wait(60) and "first", "not yet") == "not yet"
    go_on.set()
    assert told.wait(60)
    assert cache.get("key", 1, lambda: "never made") == "first"
    cache.close()


def test_what_cannot_be_made_is_asked_for_again():
    cache = Cache()
    with pytest.raises(ZeroDivisionError):
        cache.get("key", 1, lambda: 1 / 0)
    assert cache.get("key", 1, lambda: 1.0) == 1.0
    cache.close()
