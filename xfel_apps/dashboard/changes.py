"""What has changed: looked for in one place once a second, told to all browsers at once."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Hashable, Mapping

BEAT_S = 15.0
"""So often a browser is told that the server is there [s]."""
SHARE = 0.1
"""Share of the time that may be spent looking."""
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
        self._listeners: set[asyncio.Queue[None]] = set()
        self._pending: dict[asyncio.Queue[None], set[str]] = {}

    def state(self, *topics: str) -> Hashable:
        """Return the state of some topics as it was at the last look."""
        return tuple(self._states[topic] for topic in topics)

    def look(self) -> set[str]:
        """Look at everything and return the topics that have changed since the last look.

        Where a probe fails (a file system or a database that is away), that is a state too.
        """
        changed = set()
        for topic, probe in self._probes.items():
            try:
                state = probe()
            except Exception as err:  # the server outlives whatever it watches
                state = f"away: {type(err).__name__}"
                if state != self._states[topic]:
                    logger.warning("%s cannot be looked at: %s", topic, err)
            if state != self._states[topic]:
                self._states[topic] = state
                changed.add(topic)
        return changed

    async def watch(self) -> None:
        """Look again and again, and tell who listens."""
        loop = asyncio.get_running_loop()
        while True:
            start_s = loop.time()
            self.tell(await asyncio.to_thread(self.look))
            took_s = loop.time() - start_s
            await asyncio.sleep(max(self._look_s - took_s, took_s * (1.0 / SHARE - 1.0)))

    def tell(self, topics: set[str]) -> None:
        """Tell all listeners; who is slow is told once of many changes."""
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
