"""Starting the daemon, and ending it in order; showing what it does."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from xfel_apps.catalog.follower import Follower
from xfel_apps.errors import SettingsError, StoppedError
from xfel_apps.launch import StageFailedError
from xfel_apps.live.daemon import Daemon
from xfel_apps.live.fleet import ORPHANS_END_S, ParslFleet, Place
from xfel_apps.live.layout import LiveFolder
from xfel_apps.live.lock import held, is_daemon_there
from xfel_apps.live.news import News
from xfel_apps.live.show import show
from xfel_apps.live.status import Status
from xfel_apps.live.trial import LiveTrial
from xfel_apps.live.watch import FolderWatch

STEP_S = 0.5
"""Time between two looks at everything [s]."""
CREWS_END_S = 15.0
"""Crews have so long to hand back what they have when the daemon ends [s]."""
REFRESH_S = 1.0


def run_daemon(paths: Sequence[Path], place: Place, *, once: bool) -> None:
    """Process live until stopped.

    Parameters
    ----------
    paths : experiment file of the live trial, then those of trials that reprocess its runs
    place : where to work
    once : end when all that is there is done

    Raises
    ------
    SettingsError : something is wrong with the files or options; nothing was begun
    StoppedError : a signal came
    StageFailedError : with `once`, something could not be done
    """
    trials = open_trials(paths)
    settings = trials[0].experiment.live
    watch = FolderWatch(settings.watch, 0.0 if once else settings.quiet_s)
    if once and not watch.poll():
        raise SettingsError(f"live.watch {settings.watch}: no file is there yet")
    live = LiveFolder(trials[0].folder.parent)
    fleet = ParslFleet(place, live.folder)
    console = Console(stderr=True, highlight=False)
    with held(live) as presence, _stops() as stop:
        news = News(live.folder / "daemon.log", _shower(console))
        daemon = Daemon(trials, watch, fleet, presence.identity, news)
        follower = Follower([trial.experiment for trial in trials])
        news.say(f"daemon {presence.identity.text}: watching {settings.watch}")
        try:
            follower.start()
            fleet.start(presence.identity.id)
            if presence.follows_a_killed_one:
                daemon.tasks.wait(ORPHANS_END_S)
            _loop(daemon, follower, stop, console, once=once)
        finally:
            news.say("daemon ends; crews hand back what they have")
            presence.end()
            _wait_for_crews(daemon)
            news.guard("ending blocks", fleet.end)
            news.guard("status", daemon.write_status)
            news.guard("catalog", follower.end)
            news.say("daemon has ended")
    if once:
        Console().print(show(daemon.status(), is_there=True, with_head=False))
    if stop.is_set():
        raise StoppedError("the daemon; all that was done is kept: start it again to go on")
    if failures := daemon.failures:
        print(f"error: could not be done: {', '.join(failures)}", file=sys.stderr)
        raise StageFailedError("live")


def open_trials(paths: Sequence[Path]) -> list[LiveTrial]:
    """Return the trials of the experiment files."""
    trials: list[LiveTrial] = []
    for path in paths:
        trial = LiveTrial(path, trials[0] if trials else None)
        if trial.name in (known.name for known in trials):
            raise SettingsError(f"{path}: trial {trial.name} is given twice")
        trials.append(trial)
    return trials


@contextmanager
def _stops() -> Iterator[threading.Event]:
    """Give an event that stop signals set; a second one of them acts as usual."""
    stop = threading.Event()
    before: dict[int, object] = {}

    def note(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, before[number])  # type: ignore[arg-type]  # what signal() gave

    for stopping in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if stopping != signal.SIGHUP or signal.getsignal(stopping) is not signal.SIG_IGN:
            before[stopping] = signal.signal(stopping, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() gave


def _shower(console: Console) -> Callable[[str], None]:
    """Return what shows a line; a terminal that has gone does not matter."""

    def line(text: str) -> None:
        with suppress(OSError):
            console.print(text, markup=False, soft_wrap=True)

    return line


def _loop(
    daemon: Daemon, follower: Follower, stop: threading.Event, console: Console, *, once: bool
) -> None:
    """Step until stopped, or until everything is done."""
    with _bar(console, shown=once and console.is_terminal) as advance:
        while not stop.is_set():
            daemon.step()
            follower.renew([trial.experiment for trial in daemon.trials])
            advance(daemon)
            if once and daemon.is_drained:
                return
            stop.wait(STEP_S)


@contextmanager
def _bar(console: Console, *, shown: bool) -> Iterator[Callable[[Daemon], None]]:
    """Give what shows how many shots are done."""
    if not shown:
        yield lambda _daemon: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[state]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("shots", total=None, state="")

        def advance(daemon: Daemon) -> None:
            runs = daemon.status().runs
            n_sealed = sum(run["state"] == "sealed" for run in runs)
            progress.update(
                task,
                total=sum(run["n_seen"] for run in runs) or None,
                completed=sum(run["n_done"] for run in runs),
                state=f"{n_sealed} of {len(runs)} runs sealed",
            )

        yield advance


def _wait_for_crews(daemon: Daemon) -> None:
    """Let crews end by themselves; they have been told."""
    end_s = time.monotonic() + CREWS_END_S
    while daemon.crews.n_working and time.monotonic() < end_s:
        time.sleep(0.1)
        with suppress(Exception):  # what is wrong was said before
            daemon.crews.look()


def show_daemon(path: Path) -> None:
    """Show what the daemon of an experiment does, again and again on a terminal."""
    live = LiveFolder(LiveTrial(path).folder.parent)
    console = Console()

    def now() -> object:
        return show(Status.read(live), is_there=is_daemon_there(live))

    first = now()
    if not console.is_terminal:
        console.print(first)
        return
    with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as screen:
        while True:
            screen.update(now(), refresh=True)  # type: ignore[arg-type]  # a Group
            time.sleep(REFRESH_S)
