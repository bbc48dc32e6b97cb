"""Which trial and run a page shows: only names that are in the results folder are taken."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from fastapi import Depends, HTTPException, Query, Request
from fastapi.responses import JSONResponse

from xfel_apps.containers.results import RunResults, is_begun
from xfel_apps.dashboard import results as folder
from xfel_apps.dashboard.room import PENDING, Room, room_of
from xfel_apps.errors import ContainerError

T = TypeVar("T")
N_NAMED = 8
Name = Annotated[str, Query(max_length=80)]
TOPICS = ("results", "shots")
"""What the containers of runs change with."""


class Later:
    """Stands for what is being made."""


LATER = Later()


@dataclass(frozen=True)
class Chosen:
    """A trial and one of its runs, or all.

    Attributes
    ----------
    room : whose results
    trials, runs : names there are to choose from, runs in order of time
    trial, run : the chosen ones; run is empty for all runs of the trial, trial where there is none
    """

    room: Room
    trials: list[str]
    trial: str
    runs: list[str]
    run: str

    @property
    def folder(self) -> Path:
        """Folder of the trial."""
        return self.room.results / self.trial

    @property
    def folders(self) -> list[Path]:
        """Folders of the run, or of all runs."""
        return [self.folder / name for name in ([self.run] if self.run else self.runs)]

    @property
    def title(self) -> str:
        """What is shown, for a heading."""
        return f"{self.run} in trial {self.trial}" if self.run else f"trial {self.trial}"

    def opened(self, key: Hashable, make: Callable[[list[RunResults]], T]) -> T | Later | None:
        """Return what `make` makes of the open runs, made anew when their containers change.

        `LATER` where that takes long: browsers are told when it is there. None where there is
        nothing to make it of.
        """

        def work() -> T | Later | None:
            opened = [RunResults(path) for path in self.folders]
            try:
                return make(opened)
            except ContainerError:
                return None
            finally:
                for item in opened:
                    item.close()

        found: Any = self.room.kept((key, self.trial, self.run), TOPICS, work, cast(Any, LATER))
        return cast("T | Later | None", found)

    def figure(
        self,
        key: Hashable,
        make: Callable[[list[RunResults]], T],
        draw: Callable[[T], Mapping[str, Any]],
    ) -> JSONResponse:
        """Return the figure of what `opened` returns."""
        found = self.opened(key, make)
        if found is None:
            return JSONResponse({"data": [], "layout": {}})
        return JSONResponse(PENDING if isinstance(found, Later) else draw(found))


def chosen(request: Request, trial: Name = "", run: Name = "") -> Chosen:
    """Return the chosen trial (default: the last) and run (default: all of them)."""
    room = room_of(request)
    trials = [path.name for path in folder.trials(room.results)]
    trial = _one_of(trial, trials, "trial") if trial else (trials[-1] if trials else "")
    runs = sorted(_runs(room.results / trial)) if trial else []
    return Chosen(room, trials, trial, runs, _one_of(run, runs, "run") if run else "")


def one_run(picked: Annotated[Chosen, Depends(chosen)]) -> Chosen:
    """Return the same with one run: the last, where none is asked for."""
    last = picked.runs[-1] if picked.runs else ""
    return replace(picked, run=picked.run or last)


AnyRuns = Annotated[Chosen, Depends(chosen)]
OneRun = Annotated[Chosen, Depends(one_run)]


def _runs(trial: Path) -> list[str]:
    return [path.name for path in folder.folders(trial) if is_begun(path)]


def _one_of(name: str, known: list[str], what: str) -> str:
    """Return a name that is known, or refuse it: no path is ever made of another."""
    if name in known:
        return name
    shown = ", ".join(known[-N_NAMED:]) or "none yet"
    raise HTTPException(404, f"no {what} {name!r} here; there is: {shown}")
