"""One daemon for one folder of results: a lock, and a file that says who it is."""

import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import IO

from xfel_apps.containers.manifest import write_text
from xfel_apps.errors import ContainerError, SettingsError, XfelError
from xfel_apps.live.layout import LiveFolder

TRIES = 5
RENEW_S = 1.0
"""The daemon says so often that it is there [s]."""


@dataclass(frozen=True)
class Identity:
    """Who a daemon is.

    Attributes
    ----------
    id : unlike that of any other daemon; crews of another one end
    host, pid : where it runs
    started_s : when it began [s since 1970]
    """

    id: str
    host: str
    pid: int
    started_s: float

    @classmethod
    def mine(cls) -> "Identity":
        """Return a new identity of this process."""
        return cls(secrets.token_hex(4), socket.gethostname(), os.getpid(), time.time())

    @property
    def text(self) -> str:
        """Where and since when it runs, for a person."""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.started_s))
        return f"on {self.host}, process {self.pid}, since {since}"


class Presence:
    """Says every second in `daemon.json` that the daemon is there, whatever else it is busy with.

    Parameters
    ----------
    live : folder of live processing
    identity : of this daemon

    Attributes
    ----------
    follows_a_killed_one : whether the daemon before this one did not end in order
    """

    def __init__(self, live: LiveFolder, identity: Identity) -> None:
        self._live, self.identity = live, identity
        self.follows_a_killed_one = _was_killed(live)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="presence", daemon=True)

    def start(self) -> None:
        """Say it once, and then again each second."""
        self._say()
        self._thread.start()

    def _say(self) -> None:
        write_text(self._live.daemon, json.dumps({**asdict(self.identity), "now_s": time.time()}))

    def _renew(self) -> None:
        while not self._ends.wait(RENEW_S):
            with suppress(XfelError):  # a full disk; the main loop says it
                self._say()

    def end(self) -> None:
        """Tell the crews that their daemon has gone: they hand back what they have and end."""
        if self._ends.is_set():
            return
        self._ends.set()
        self._thread.join()
        gone = {**asdict(self.identity), "id": "", "now_s": time.time()}
        with suppress(XfelError):
            write_text(self._live.daemon, json.dumps(gone))


def _was_killed(live: LiveFolder) -> bool:
    try:
        return bool(json.loads(live.daemon.read_text())["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


@contextmanager
def held(live: LiveFolder) -> Iterator[Presence]:
    """Hold the lock of a folder and say who does.

    Raises
    ------
    SettingsError : another daemon holds it, or the folder cannot be written to
    """
    try:
        live.folder.mkdir(parents=True, exist_ok=True)
        file = live.lock.open("a+")
    except OSError as err:
        raise SettingsError(f"{live.folder}: cannot write there ({err.strerror})") from err
    with file:
        if not _lock(file):
            raise SettingsError(
                f"{live.results}: another daemon is at work here, {_holder(file)}; stop that one "
                "first, or look with `xfelflow live --status EXPERIMENT.yaml`"
            )
        identity = Identity.mine()
        file.truncate(0)
        file.write(json.dumps(asdict(identity)))
        file.flush()
        presence = Presence(live, identity)
        presence.start()
        try:
            yield presence
        finally:
            presence.end()


def _lock(file: IO[str]) -> bool:
    """Lock a file; whoever only looks at the lock has it for a moment."""
    for _ in range(TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False


def _holder(file: IO[str]) -> str:
    """Return who holds the lock, as far as its file tells."""
    try:
        file.seek(0)
        return Identity(**json.loads(file.read())).text
    except (OSError, ValueError, TypeError):
        return "which has only just begun"


def is_daemon_there(live: LiveFolder) -> bool:
    """Return whether a daemon holds the lock now."""
    try:
        with live.lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError as err:
        raise ContainerError(f"{live.lock}: cannot be read ({err.strerror})") from err
    return False
