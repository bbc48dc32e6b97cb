"""What a crew says of itself, every second, so that its loss is seen; and whether it is needed."""

import json
import os
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from xfel_apps.containers.manifest import write_text
from xfel_apps.errors import ContainerError
from xfel_apps.live.layout import LiveFolder
from xfel_apps.live.tally import Tally

BEAT_S = 1.0
SILENT_S = 60.0
"""A daemon that has not renewed its file for so long is taken for dead [s]."""

WORKING, IDLE, STOPPING, ENDED = "working", "idle", "stopping", "ended"


@dataclass(frozen=True)
class CrewName:
    """Who a crew is.

    Attributes
    ----------
    results : folder of all trials' results
    name : of the crew
    pool : of the block it runs in
    daemon : id of the daemon it works for
    """

    results: Path
    name: str
    pool: str
    daemon: str

    @property
    def live(self) -> LiveFolder:
        """Files of live processing."""
        return LiveFolder(self.results)


@dataclass
class CrewState:
    """What a crew does.

    Attributes
    ----------
    state : `WORKING`, `IDLE`, `STOPPING` or `ENDED`
    chunk : name of the chunk that is handed out
    tally : of the shots that are durable
    """

    state: str = IDLE
    chunk: str | None = None
    tally: Tally = field(default_factory=Tally)


class Beat:
    """Renews a crew's file from a thread of its own: a slow shot does not look like a lost crew.

    Parameters
    ----------
    crew : who it is
    n_ranks : ranks that work for it, and the one that hands out
    state : what it does; read at each beat
    """

    def __init__(self, crew: CrewName, n_ranks: int, state: CrewState) -> None:
        self._path = crew.live.crew(crew.name)
        self._fixed = {
            "name": crew.name,
            "pool": crew.pool,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "n_ranks": n_ranks,
            "started_s": time.time(),
        }
        self._state = state
        self._count = 0
        self._is_over = threading.Event()
        self._complained = False
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def _renew(self) -> None:
        while not self._is_over.wait(BEAT_S):
            self._write()

    def _write(self) -> None:
        """Write the file; a disk that is full is said once, for the work may yet be kept."""
        self._count += 1
        try:
            write_text(self._path, json.dumps(self._content()) + "\n")
        except ContainerError as err:
            if not self._complained:
                print(f"warning: {err}", file=sys.stderr, flush=True)
            self._complained = True

    def _content(self) -> dict[str, Any]:
        state = self._state
        return {
            **self._fixed,
            "now_s": time.time(),
            "beat": self._count,
            "n_shots": state.tally.n_shots,
            "n_hits": state.tally.n_hits,
            "n_lattices": state.tally.n_lattices,
            "state": state.state,
            "chunk": state.chunk,
        }

    def __enter__(self) -> Self:
        self._write()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        self._is_over.set()
        self._thread.join()
        if kind is None:
            self._state.state, self._state.chunk = ENDED, None
            self._write()


class DaemonWatch:
    """Whether the daemon that a crew works for is still there.

    Parameters
    ----------
    crew : who watches
    """

    def __init__(self, crew: CrewName) -> None:
        self._crew = crew
        self._seen: Any = None
        self._seen_s = time.monotonic()

    def has_changed(self) -> bool:
        """Return whether another daemon has taken over."""
        said = self._read()
        return bool(said) and said.get("id") != self._crew.daemon

    def is_silent(self) -> bool:
        """Return whether the daemon has not renewed its file for a while.

        Clocks of other machines may differ: what counts is when a change was seen.
        """
        now = self._read().get("now_s")
        if now is not None and now != self._seen:
            self._seen, self._seen_s = now, time.monotonic()
        return time.monotonic() - self._seen_s > SILENT_S

    def _read(self) -> dict[str, Any]:
        try:
            data = json.loads(self._crew.live.daemon.read_text())
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}
