"""What the ranks of a crew tell each other, and how they wait for it."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from xfel_apps import mpi
from xfel_apps.live.crew.worker import Assignment, Done

LONGEST_SLEEP_S = 0.005


class Report(NamedTuple):
    """What a worker tells rank 0.

    Attributes
    ----------
    durable : shots that have become durable
    wants : whether it waits for an order
    stops : whether it was told by a signal to stop, or its time is over
    is_last : whether it ends now
    refused : name of a chunk that it cannot work on, and why
    """

    durable: Sequence[Done]
    wants: bool = False
    stops: bool = False
    is_last: bool = False
    refused: tuple[str, str] | None = None


class Order(NamedTuple):
    """What rank 0 tells a worker: process shots, or flush (no shots), or end.

    Attributes
    ----------
    shots : live numbers
    assignment : chunk of the shots, where it is another one than before
    ends : flush, report and end
    """

    shots: Sequence[int] = ()
    assignment: Assignment | None = None
    ends: bool = False


class Sleeper:
    """Sleeps a little longer each time, so that waiting costs nothing and work is seen at once."""

    def __init__(self) -> None:
        self._next_s = mpi.POLL_S

    def sleep(self) -> None:
        """Sleep for a moment."""
        time.sleep(self._next_s)
        self._next_s = min(1.2 * self._next_s, LONGEST_SLEEP_S)

    def reset(self) -> None:
        """Begin with short moments again."""
        self._next_s = mpi.POLL_S
