"""What has changed: looked for in one place once a second, told to all browsers at once."""

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Hashable, Mapping

BEAT_S = 15.0
"""So often a browser is told that the server is there [s]."""
SHARE = 0.1
"""Share of the time that may be spent looking."""
LONGEST_PAUSE_S = 5.0
MAX_LISTENERS = 500

Probe = Callable[[], Hashable]
logger = logging.getLogger(__name__)


class Changes:
    """The state of each topic, and browsers that want to know when it changes.

    Parameters
    ----------
    probes : topic -> what returns its state now; equal states mean that nothing has changed
    look_s : least time between two looks [s]
    """

    def __init__(self, probes: Mapping[str, Probe], look_s: float) -> None:
        self._probes = probes
        self._look_s = look_s
        self._states: dict[str, Hashable] = dict.fromkeys(probes)
        self._looking = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: set[asyncio.Queue[None]] = set()
        self._pending: dict[asyncio.Queue[None], set[str]] = {}

    @property
    def topics(self) -> frozenset[str]:
        """What is looked at."""
        return frozenset(self._probes)

    def state(self, *topics: str) -> Hashable:
        """Return the state of some topics as it was at the last look."""
        return tuple(self._states[topic] for topic in topics)

    def look(self) -> set[str]:
        """Look at everything and return the topics that have changed since the last look.

        Where a probe fails (a file system or a database that is away), that is a state too.
        """
        with self._looking:
            return {
                topic for topic, probe in self._probes.items() if self._has_changed(topic, probe)
            }

    def _has_changed(self, topic: str, probe: Probe) -> bool:
        try:
            state = probe()
        except Exception as err:  # the server outlives whatever it watches
            state = f"away: {err}"
            if state != self._states[topic]:
                logger.warning("%s cannot be looked at: %s", topic, err)
        has_changed = state != self._states[topic]
        self._states[topic] = state
        return has_changed

    def look_and_tell(self) -> None:
        """Look now, as something was just changed from here, and tell who listens."""
        self.tell(self.look())

    async def watch(self) -> None:
        """Look again and again, and tell who listens."""
        loop = asyncio.get_running_loop()
        while True:
            start_s = loop.time()
            self._tell(await asyncio.to_thread(self.look))
            took_s = loop.time() - start_s
            pause_s = max(self._look_s - took_s, took_s * (1.0 / SHARE - 1.0))
            await asyncio.sleep(min(pause_s, LONGEST_PAUSE_S))

    def tell(self, topics: set[str]) -> None:
        """Tell all listeners, from any thread; who is slow is told once of many changes."""
        if self._loop is None:  # nobody can listen yet
            return
        self._loop.call_soon_threadsafe(self._tell, topics)

    def _tell(self, topics: set[str]) -> None:
        for queue in self._listeners if topics else ():
            self._pending[queue] |= topics
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(None)

    @property
    def is_full(self) -> bool:
        """Whether no more browsers are taken."""
        return len(self._listeners) >= MAX_LISTENERS

    async def listen(self) -> AsyncIterator[str]:
        """Yield server-sent events: one on each change, with the topics that have changed."""
        self._loop = asyncio.get_running_loop()
        queue: asyncio.Queue[None] = asyncio.Queue(maxsize=1)
        self._listeners.add(queue)
        self._pending[queue] = set()
        try:
            yield "retry: 2000\nevent: hello\ndata: {}\n\n"
            while True:
                try:
                    await asyncio.wait_for(queue.get(), BEAT_S)
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                topics, self._pending[queue] = self._pending[queue], set()
                yield f"event: change\ndata: {json.dumps({'topics': sorted(topics)})}\n\n"
        finally:
            self._listeners.discard(queue)
            del self._pending[queue]
