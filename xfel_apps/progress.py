"""Progress of long work on stderr: a bar on a terminal, a line now and then in a log."""

import os
import sys
import time
from collections import Counter
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

LINE_EVERY_S = 10.0
FORCE_BAR = "XFELFLOW_PROGRESS_BAR"
"""Set by a launcher whose own stderr is a terminal: ranks under mpiexec write to a pipe."""


class Progress:
    """Counts reports by name and shows done, rate, time left and the counts.

    Parameters
    ----------
    title : what is going on
    total : how much there is to do
    n_known : how much of it was done before
    shown : False on ranks that stay silent
    """

    def __init__(self, title: str, total: int, n_known: int = 0, *, shown: bool = True) -> None:
        self._title, self._total, self._done = title, total, n_known
        self._known = n_known
        self._shown = shown
        self._counts: Counter[str] = Counter()
        self._start_s = self._said_s = time.monotonic()
        self._bar: RichProgress | None = None

    def __enter__(self) -> Self:
        if self._shown and (sys.stderr.isatty() or FORCE_BAR in os.environ):
            self._bar = _bar()
            self._task = self._bar.add_task(
                self._title, total=self._total, completed=self._done, rate="", counts=""
            )
            self._bar.start()
        return self

    def report(self, name: str, n: int = 1) -> None:
        """Count `n` more items, which ended as `name`."""
        self._done += n
        self._counts[name] += n
        if self._bar is not None:
            self._bar.update(
                self._task, completed=self._done, rate=f"{self._rate():.1f}/s", counts=self._text()
            )
        elif self._shown and time.monotonic() - self._said_s > LINE_EVERY_S:
            self._said_s = time.monotonic()
            self._say()

    def _rate(self) -> float:
        return (self._done - self._known) / max(time.monotonic() - self._start_s, 1e-9)

    def _text(self) -> str:
        return ", ".join(f"{n} {name}" for name, n in sorted(self._counts.items()))

    def _say(self) -> None:
        left_s = (self._total - self._done) / max(self._rate(), 1e-9)
        print(
            f"{self._title}: {self._done}/{self._total} at {self._rate():.1f}/s, "
            f"{left_s:.0f} s left ({self._text()})",
            file=sys.stderr,
            flush=True,
        )

    def __exit__(self, *exc: Any) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._shown and self._done > self._known:
            self._say()


def _bar() -> RichProgress:
    from rich.console import Console

    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[counts]}"),
        console=Console(stderr=True, force_terminal=True),
    )
