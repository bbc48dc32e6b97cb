"""New shots of a run become chunks in the queue."""

import time
from collections.abc import Sequence

from xfel_apps.containers.events import Events
from xfel_apps.ingest.growing import GrowingRun
from xfel_apps.ingest.shots import Shot
from xfel_apps.live.queue import Queue
from xfel_apps.live.run import TrialRun
from xfel_apps.live.watch import Seen

AT_FIRST_S = 2.0
"""A run that was quiet when it was first seen is looked at again after so long [s]."""


class Intake:
    """Looks for new shots of one run of one trial and cuts them into chunks.

    Parameters
    ----------
    run : whose shots
    queue : where chunks wait
    quiet_s : a run without new shots for so long is complete, if its files are [s]
    """

    def __init__(self, run: TrialRun, queue: Queue, quiet_s: float) -> None:
        self._run, self._queue, self._quiet_s = run, queue, quiet_s
        self._growing = GrowingRun(run.run, run.experiment.ingest, run.known)
        self._waiting: list[Shot] = []
        self._since_s = self._last_s = time.monotonic()
        self._wait_s = min(quiet_s, AT_FIRST_S)
        self._looked = False

    def look(self, seen: Seen) -> int:
        """Take in what is new of a run's files; return how many chunks were put into the queue."""
        now = time.monotonic()
        is_complete = seen.is_complete and now - self._last_s >= self._wait_s
        new = self._growing.look(seen.files, is_complete=is_complete)
        if new:
            if not self._waiting:
                self._since_s = now
            self._waiting += new
            self._last_s = now
            # Files that others link to may grow while these do not.
            self._wait_s = self._quiet_s if self._looked else self._wait_s
        self._looked = True
        n_put = self._cut(is_complete=is_complete)
        self._run.n_waiting = len(self._waiting)
        self._run.is_complete = is_complete
        return n_put

    def _cut(self, *, is_complete: bool) -> int:
        live = self._run.trial.experiment.live
        n_put = 0
        while self._is_due(live.chunk_shots, live.chunk_wait_s, is_complete=is_complete):
            # Shots wait here until their chunk is written: the disk may be full.
            self._put(self._waiting[: live.chunk_shots])
            del self._waiting[: live.chunk_shots]
            n_put += 1
        return n_put

    def _is_due(self, most: int, wait_s: float, *, is_complete: bool) -> bool:
        n_waiting = len(self._waiting)
        is_old = time.monotonic() - self._since_s >= wait_s
        return n_waiting >= most or (n_waiting > 0 and (is_complete or is_old))

    def _put(self, shots: Sequence[Shot]) -> None:
        first = self._run.next_first
        manifest = self._run.live_run.chunk(first) / "events.json"
        self._growing.write(manifest, shots)
        self._run.note(first, Events.read(manifest))
        self._run.put(first, self._queue)
