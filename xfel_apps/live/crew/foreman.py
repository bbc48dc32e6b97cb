"""When a crew ends: on a signal, without work, or without its daemon."""

import time
from enum import Enum

from xfel_apps import mpi
from xfel_apps.live.crew.beat import CrewName, DaemonWatch
from xfel_apps.live.crew.ledger import Ledger

CHECK_S = 1.0
"""Time between looks at the daemon's file and at the claims [s]."""


class End(Enum):
    """Why a crew ends."""

    STOPPED = "stopped; what is left waits again"
    NO_WORK = "no work for a while"
    OTHER_DAEMON = "another daemon has taken over"
    NO_DAEMON = "the daemon is gone and nothing waits"


class Foreman:
    """Decides when the crew ends.

    Parameters
    ----------
    crew : who it is
    ledger : its chunks
    stop : a signal's request
    idle_s : longest time without work [s]
    """

    def __init__(
        self, crew: CrewName, ledger: Ledger, stop: mpi.StopRequest, idle_s: float
    ) -> None:
        self._daemon = DaemonWatch(crew)
        self._ledger = ledger
        self._stop = stop
        self._idle_s = idle_s
        self._check_s = 0.0

    def end(self) -> End | None:
        """Return why the crew is to end now, if it is."""
        if self._stop.wanted:
            return End.STOPPED
        now_s = time.monotonic()
        if now_s < self._check_s:
            return None
        self._check_s = now_s + CHECK_S
        self._ledger.drop_lost()
        if self._daemon.has_changed():
            return End.OTHER_DAEMON
        is_silent, idle_s = self._daemon.is_silent(), self._ledger.idle_s
        if idle_s is None:
            return None
        if is_silent:
            return End.NO_DAEMON
        return End.NO_WORK if idle_s > self._idle_s else None
