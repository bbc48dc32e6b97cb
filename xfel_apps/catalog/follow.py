"""The batch writer: one process a workflow or daemon that brings into the catalog what grows.

`python -m xfel_apps.catalog.follow --parent PID`, with a line of JSON on standard input that names
what is followed, until that is closed (see `xfel_apps.catalog.follower`). It holds one connection,
for all ranks. Nothing waits for it: where the database does not answer, it says so once and tries
again, and what it cannot bring in lies in the containers.
"""

import argparse
import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from xfel_apps.catalog.engine import Catalog, open_catalog
from xfel_apps.catalog.sync import Source, Sync
from xfel_apps.errors import SettingsError, XfelError
from xfel_apps.experiment import Experiment

EVERY_S = 2.0
"""Time between two looks [s]."""
TIMES_LONGER = 5.0
"""... and so many times as long as a look took: large folders are looked at less often."""
LONGEST_WAIT_S = 30.0
"""A database that does not answer is asked again after so long at most [s]."""
LAST_S = 10.0
"""At the end a database that does not answer is waited for so long [s]."""
NICENESS = 5


@dataclass
class Follow:
    """Looks again and again, whatever the database does.

    Attributes
    ----------
    url : of the catalog
    source : what is followed
    say : shows a line
    every_s : time between two looks [s]
    """

    url: str
    source: Source
    say: Callable[[str], None]
    every_s: float = EVERY_S
    _catalog: Catalog | None = field(default=None, init=False)
    _sync: Sync | None = field(default=None, init=False)
    _trouble: str = field(default="", init=False)
    _is_misset: bool = field(default=False, init=False)
    _n_failed: int = field(default=0, init=False)

    def until(self, stop: Callable[[], bool], wait: Callable[[float], object]) -> bool:
        """Look until `stop` says so, then once more; return whether all is in.

        Parameters
        ----------
        wait : waits so many seconds, or until it is to stop
        """
        last_s = None
        while True:
            if stop() and last_s is None:
                last_s = time.monotonic() + LAST_S
            start_s = time.monotonic()
            is_in = self._look(is_over=last_s is not None)
            took_s = time.monotonic() - start_s
            if last_s is not None and (is_in or self._is_misset or time.monotonic() > last_s):
                break
            wait(max(self.every_s, TIMES_LONGER * took_s) if is_in else self._pause_s())
        self._close()
        if not is_in:
            self.say("what is missing is in the containers: run `xfelflow catalog sync` later")
        return is_in

    def _look(self, *, is_over: bool) -> bool:
        """Look once; return whether the database took it."""
        try:
            if self._catalog is None:
                self._catalog = open_catalog(self.url, pool_size=1)
            if self._sync is None:
                self._sync = Sync(self._catalog, self.source)
            self._sync.look(is_over=is_over)
        except (XfelError, OSError, ValueError) as err:
            self._is_misset = isinstance(err, SettingsError)
            self._failed(str(err))
            return False
        if self._trouble:
            self.say("the database answers again; what was missing is in")
        self._trouble, self._n_failed = "", 0
        return True

    def _failed(self, trouble: str) -> None:
        """Say what is wrong, once, and begin with the next look as if from nothing."""
        if not self._trouble:
            self.say(f"{trouble}; the analysis goes on, and the catalog catches up")
        self._trouble = trouble
        self._n_failed += 1
        self._close()

    def _pause_s(self) -> float:
        """Return how long to wait after a failure: longer each time."""
        longest = min(LONGEST_WAIT_S, 0.5 * 2.0 ** min(self._n_failed, 10))
        return longest * random.uniform(0.5, 1.0)

    def _close(self) -> None:
        if self._catalog is not None:
            self._catalog.close()
        self._catalog = self._sync = None


def _say(text: str) -> None:
    print(f"catalog: {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Follow what standard input names until it is closed, or until the parent process ends."""
    parser = argparse.ArgumentParser(prog="python -m xfel_apps.catalog.follow")
    parser.add_argument("--parent", type=int, required=True, help="ends with this process")
    parser.add_argument("--every-s", type=float, default=EVERY_S, help="time between two looks")
    args = parser.parse_args()
    given = json.loads(sys.stdin.readline())
    trials = {name: Experiment.checked(data) for name, data in given["trials"].items()}
    source = Source(given["experiment"], Path(given["results"]), trials)
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    os.nice(NICENESS)
    follow = Follow(given["url"], source, _say, args.every_s)
    is_in = follow.until(lambda: ended.is_set() or os.getppid() != args.parent, ended.wait)
    return 0 if is_in else 1


if __name__ == "__main__":
    sys.exit(main())
