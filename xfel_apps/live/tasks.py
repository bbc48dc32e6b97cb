"""Small tasks that the daemon has done elsewhere: one at a time for each purpose, tried again."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from xfel_apps.app import EXIT_AGAIN, EXIT_OK
from xfel_apps.live.fleet import Fleet

FIRST_WAIT_S, LONGEST_WAIT_S, LONGEST_LOST_S = 10.0, 600.0, 60.0
"""How long to wait before a task that failed is tried again; it doubles each time [s]."""
MPI_NOISE = ("Abort(", "application called MPI_Abort", "===", "=  ", "YOUR APPLICATION")


@dataclass
class Task:
    """What is known of a purpose.

    Attributes
    ----------
    input : what it is done from; other input is tried at once
    future : of the task under way
    n_failed : how often it has failed with this input
    not_before : when it may be tried again [s, monotonic]
    trouble : why it failed; empty when it has not
    n_lost, lost : how often it was lost with its block, and how the last time
    on_done : called when it has succeeded
    """

    input: str = ""
    future: "Future[int] | None" = None
    n_failed: int = 0
    not_before: float = 0.0
    trouble: str = ""
    n_lost: int = 0
    lost: str = ""
    on_done: Callable[[], None] | None = field(default=None, repr=False)


class Tasks:
    """Starts tasks, sees how they end and says so.

    Parameters
    ----------
    fleet : where they run
    logs : folder of their logs
    say : called with a line when something happens
    """

    def __init__(self, fleet: Fleet, logs: Path, say: Callable[[str], None]) -> None:
        self._fleet, self._logs, self._say = fleet, logs, say
        self._tasks: dict[str, Task] = {}
        self._not_before = 0.0

    def wait(self, seconds: float) -> None:
        """Start nothing for so long [s]."""
        self._not_before = time.monotonic() + seconds

    def start(
        self,
        purpose: str,
        made_from: str,
        app: tuple[str, Sequence[str]],
        on_done: Callable[[], None],
        *,
        mpi: bool = False,
    ) -> None:
        """Start a task unless it is under way, or has failed and is not to be tried again yet.

        Parameters
        ----------
        purpose : what it is for, in words
        made_from : what it is done from
        app : name and arguments of the app that does it
        on_done : called when it has succeeded
        mpi : whether several ranks can share the work
        """
        task = self._tasks.setdefault(purpose, Task())
        if task.future is not None:
            return
        if made_from != task.input:
            task.input, task.n_failed, task.not_before = made_from, 0, 0.0
        if time.monotonic() < max(task.not_before, self._not_before):
            return
        task.on_done = on_done
        task.future = self._fleet.run(*app, self._log(purpose), mpi=mpi)

    def look(self) -> None:
        """See which tasks have ended."""
        for purpose, task in self._tasks.items():
            if task.future is not None and task.future.done():
                future, task.future = task.future, None
                self._ended(purpose, task, future)

    def _ended(self, purpose: str, task: Task, future: "Future[int]") -> None:
        error = future.exception()
        code = None if error else future.result()
        if code == EXIT_OK:
            task.n_failed, task.trouble, task.n_lost, task.lost = 0, "", 0, ""
            if task.on_done is not None:
                task.on_done()
            return
        if error is not None or code == EXIT_AGAIN or (code is not None and code < 0):
            self._lost(purpose, task, error)
            return
        task.n_failed += 1
        wait_s = min(FIRST_WAIT_S * 2 ** (task.n_failed - 1), LONGEST_WAIT_S)
        task.not_before = time.monotonic() + wait_s
        trouble = self._last_line(purpose)
        if trouble != task.trouble:
            self._say(f"{purpose} failed: {trouble} (log: {self._log(purpose)})")
        task.trouble = trouble

    def _lost(self, purpose: str, task: Task, error: BaseException | None) -> None:
        """Start a task again that was lost with its block or gave way: no fault of its own."""
        why = f"was lost ({error})" if error else "was stopped"
        if why != task.lost:
            self._say(f"{purpose} {why}; it is started again")
        task.lost, task.n_lost = why, task.n_lost + 1
        task.not_before = time.monotonic() + min(2.0**task.n_lost, LONGEST_LOST_S)

    def _log(self, purpose: str) -> Path:
        return self._logs / f"{purpose.replace(' ', '-').replace('/', '-')}.log"

    def _last_line(self, purpose: str) -> str:
        """Return what a task's log says of its failure: its error, else its last line."""
        try:
            lines = self._log(purpose).read_text(errors="replace").split("\n")
        except OSError:
            lines = []
        said = [line for line in lines if line.strip()]
        errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
        known = [line for line in said if not line.startswith(MPI_NOISE)]
        return ["it said nothing", *known, *errors][-1][:300]

    def is_under_way(self, purpose: str) -> bool:
        """Return whether a task is running or about to be tried again."""
        task = self._tasks.get(purpose)
        return task is not None and task.future is not None

    def under_way(self, kind: str = "") -> list[str]:
        """Return the purposes that are worked on, of those that begin with `kind`."""
        tasks = self._tasks.items()
        return [name for name, task in tasks if task.future is not None and name.startswith(kind)]

    def n_failed(self, purpose: str) -> int:
        """Return how often a task has failed with its present input."""
        return self._tasks[purpose].n_failed if purpose in self._tasks else 0

    def trouble(self, purpose: str) -> str:
        """Return why a task failed; empty when it has not."""
        task = self._tasks.get(purpose)
        return task.trouble if task and task.n_failed else ""
