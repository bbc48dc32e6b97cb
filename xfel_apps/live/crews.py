"""The crews: how many are wanted, who beats, who is lost."""

import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from xfel_apps.app import EXIT_AGAIN, EXIT_OK
from xfel_apps.errors import XfelError
from xfel_apps.live.fleet import Fleet, Pool, new_name
from xfel_apps.live.layout import LiveFolder
from xfel_apps.live.queue import read_chunk

LOST_S = 30.0
"""A crew whose beat has not changed for so long is lost [s]."""
LONGEST_GAP_S = 5.0
"""Looks that are further apart tell nothing: the daemon itself, or its disk, stood still [s]."""
WAITING_EACH = 2
"""Another crew is started when more chunks than so many wait for each there is."""
SHORT_LIFE_S, FIRST_WAIT_S, LONGEST_WAIT_S = 20.0, 5.0, 120.0
"""After a crew that failed or ended sooner than this its pool waits, longer each time [s]."""

Recover = Callable[[LiveFolder, str], int]


@dataclass
class Crew:
    """A crew as the daemon knows it.

    Attributes
    ----------
    name, pool : of the crew; pool is empty for one of an earlier daemon
    future : its exit code, when it ends; None for one of an earlier daemon
    started_s, seen_s : when it was asked for, and when its beat last changed [s, monotonic]
    said : what its file says
    is_lost : whether its chunks were taken from it
    counts : when its last beats came [s, monotonic], and its shots then
    """

    name: str
    pool: str = ""
    future: "Future[int] | None" = None
    started_s: float = field(default_factory=lambda: time.monotonic())
    seen_s: float = field(default_factory=lambda: time.monotonic())
    said: Mapping[str, Any] = field(default_factory=dict)
    is_lost: bool = False
    counts: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=10))

    def note(self, said: Mapping[str, Any]) -> None:
        """Take what a new beat says."""
        self.said, self.seen_s, self.is_lost = said, time.monotonic(), False
        self.counts.append((self.seen_s, int(said.get("n_shots", 0))))

    @property
    def shots_hz(self) -> float | None:
        """Shots a second over the last beats; None: not known."""
        if len(self.counts) < 2:
            return None
        (first_s, n_first), (last_s, n_last) = self.counts[0], self.counts[-1]
        return (n_last - n_first) / max(last_s - first_s, 1e-3)

    @property
    def has_ended(self) -> bool:
        """Whether its task has ended."""
        return self.future is not None and self.future.done()


@dataclass
class Trouble:
    """How a pool's crews fared last."""

    n_short: int = 0
    not_before: float = 0.0


class Crews:
    """Keeps as many crews at work as there is work for.

    Parameters
    ----------
    live : folder of live processing
    fleet : where crews run
    recover : gives back what a crew that is gone has taken
    arguments : of each crew, beside its name and pool
    say : called with a line when something happens
    """

    def __init__(
        self,
        live: LiveFolder,
        fleet: Fleet,
        recover: Recover,
        arguments: Sequence[str],
        say: Callable[[str], None],
    ) -> None:
        self._live, self._fleet, self._recover = live, fleet, recover
        self._arguments, self._say = list(arguments), say
        self.crews: dict[str, Crew] = {}
        self._trouble: dict[str, Trouble] = {}
        self._number = 0
        self._looked_s = time.monotonic()

    def look(self) -> None:
        """See who works, who has ended and who is lost."""
        for name in self._names():
            self.crews.setdefault(name, Crew(name))
        now = time.monotonic()
        stood_still = now - self._looked_s > LONGEST_GAP_S
        self._looked_s = now
        for crew in list(self.crews.values()):
            self._read(crew, stood_still=stood_still)
            if crew.has_ended:
                self._ended(crew)
            elif now - crew.seen_s > LOST_S and (crew.said or crew.future is None):
                self._lost(crew)

    def _names(self) -> set[str]:
        """Return the crews that have a file, or have taken chunks."""
        files = {path.stem for path in self._live.crew("x").parent.glob("[!.]*.json")}
        folders = self._live.taken("x").parent
        return files | {path.name for path in folders.glob("*") if any(path.iterdir())}

    def _read(self, crew: Crew, *, stood_still: bool) -> None:
        """See whether a crew's beat has changed."""
        said: Mapping[str, Any] = {}
        with suppress(OSError, ValueError):
            said = json.loads(self._live.crew(crew.name).read_text())
        if said and said.get("beat") != crew.said.get("beat"):
            if not crew.said and crew.future is not None:
                self._say(f"crew {crew.name} works on {said.get('host')}: {_ranks(said)}")
            if crew.is_lost:
                self._say(f"crew {crew.name} is back")
            crew.note(said)
        elif stood_still or (crew.future is not None and not crew.said):
            crew.seen_s = time.monotonic()

    def _ended(self, crew: Crew) -> None:
        assert crew.future is not None
        error = crew.future.exception()
        code = None if error else crew.future.result()
        n_back = self._give_back(crew)
        how = f"was lost with its block ({error})" if error else _how(code)
        is_news = error is not None or code != EXIT_OK or n_back
        if is_news:
            self._say(f"crew {crew.name} {how}{_chunks(n_back)}")
        else:
            self._say(f"crew {crew.name} had no more work and ended")
        self._judge(crew, code)
        del self.crews[crew.name]

    def _lost(self, crew: Crew) -> None:
        n_back = self._give_back(crew)
        if not crew.is_lost:
            said_s = time.monotonic() - crew.seen_s
            self._say(f"crew {crew.name} has not been heard of for {said_s:.0f} s{_chunks(n_back)}")
        crew.is_lost = True
        if crew.future is None:
            del self.crews[crew.name]

    def _give_back(self, crew: Crew) -> int:
        """Let what a crew has taken wait again; forget the crew's file."""
        n_back = 0
        for path in self._live.taken(crew.name).glob("[0-9]*.json"):
            try:
                read_chunk(path)
            except XfelError:  # it will be missed and put into the queue again
                self._say(f"{path} cannot be read and is removed")
                path.unlink(missing_ok=True)
        if any(self._live.taken(crew.name).glob("[0-9]*.json")):
            n_back = self._recover(self._live, crew.name)
        self._live.crew(crew.name).unlink(missing_ok=True)
        with suppress(OSError):
            self._live.taken(crew.name).rmdir()
        return n_back

    def _judge(self, crew: Crew, code: int | None) -> None:
        """Let a pool wait whose crews fail, or are lost or give way at once."""
        trouble = self._trouble.setdefault(crew.pool, Trouble())
        has_lived = time.monotonic() - crew.started_s > SHORT_LIFE_S
        if code == EXIT_OK or (has_lived and code in (None, EXIT_AGAIN)):
            trouble.n_short = 0
            return
        wait_s = min(FIRST_WAIT_S * 2**trouble.n_short, LONGEST_WAIT_S)
        trouble.n_short += 1
        trouble.not_before = time.monotonic() + wait_s

    def start_wanted(self, n_live: int, n_late: int) -> None:
        """Start crews for what waits.

        Parameters
        ----------
        n_live, n_late : chunks that wait, of the live trial and of others
        """
        while (pool := self._next_pool(n_live, n_late)) is not None:
            self._number += 1
            crew = Crew(new_name(pool, self._number), pool.name)
            arguments = ["--name", crew.name, "--pool", pool.name, *self._arguments]
            crew.future = self._fleet.start_crew(pool, crew.name, arguments)
            self.crews[crew.name] = crew
            self._say(f"crew {crew.name} is asked for")

    def _next_pool(self, n_live: int, n_late: int) -> Pool | None:
        now = time.monotonic()
        counts = dict.fromkeys((pool.name for pool in self._fleet.pools), 0)
        for crew in self.crews.values():
            if crew.pool in counts:
                counts[crew.pool] += 1
        n_at_work = sum(not crew.is_lost for crew in self.crews.values() if crew.future)
        open_pools = [
            pool
            for pool in self._fleet.pools
            if self._trouble.get(pool.name, Trouble()).not_before <= now
        ]
        return next_pool(open_pools, counts, n_at_work, (n_live, n_late))

    @property
    def n_working(self) -> int:
        """How many of this daemon's crews have begun and not ended."""
        crews = self.crews.values()
        return sum(bool(c.said) and c.future is not None and not c.has_ended for c in crews)


def next_pool(
    pools: Sequence[Pool], counts: Mapping[str, int], n_crews: int, waiting: tuple[int, int]
) -> Pool | None:
    """Return the pool in which another crew is to be started; None if there are enough.

    Parameters
    ----------
    pools : in the order in which they are filled
    counts : pool -> crews there, also those that wait for their block
    n_crews : crews that can be reckoned with
    waiting : chunks that wait, of the live trial and of others; others get no urgent block
    """
    n_live, n_late = waiting
    enough_for = WAITING_EACH * n_crews
    for pool in pools:
        n_waiting = n_live if pool.is_urgent else n_live + n_late
        if n_waiting > enough_for and counts[pool.name] < pool.max_blocks:
            return pool
    return None


def _how(code: int | None) -> str:
    if code == EXIT_AGAIN:
        return "gave way"
    if code == EXIT_OK:
        return "ended"
    return f"ended with exit code {code}"


def _chunks(n_back: int) -> str:
    return f"; {n_back} of its chunks wait again" if n_back else ""


def _ranks(said: Mapping[str, Any]) -> str:
    n_ranks = said.get("n_ranks", 1)
    return f"{n_ranks} rank{'s' if n_ranks != 1 else ''}"
