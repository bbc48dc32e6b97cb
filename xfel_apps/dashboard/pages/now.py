"""Now: how fast the current run is processed and how soon, what waits, and whether all is well."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse

from xfel_apps.catalog import queries
from xfel_apps.catalog.queries import RunInfo
from xfel_apps.dashboard import rates
from xfel_apps.dashboard.health import health
from xfel_apps.dashboard.pages.page import Page
from xfel_apps.dashboard.render import render
from xfel_apps.dashboard.results import below
from xfel_apps.dashboard.room import PENDING, Room, room_of
from xfel_apps.errors import ContainerError, XfelError
from xfel_apps.latency import latencies_of
from xfel_apps.live.layout import LiveFolder
from xfel_apps.live.show import SILENT_S
from xfel_apps.live.status import Status

router = APIRouter(prefix="/now")
PAGE = Page("now", "Now", 20, router)
HEALTH_S = 2.0
"""Disk and database are looked at so often [s]."""
MAX_SHOTS = 200_000
"""Of runs with more shots the times of each are not read: the daemon tells the newest."""


@router.get("")
def page(request: Request, trial: str = "", run: str = "") -> HTMLResponse:
    """Return the page."""
    return render(request, "now.html", **_context(room_of(request), trial, run))


@router.get("/part")
def part(request: Request, trial: str = "", run: str = "") -> HTMLResponse:
    """Return the numbers and tables."""
    return render(request, "now-part.html", **_context(room_of(request), trial, run))


@router.get("/rates")
def rate_figure(request: Request, trial: str = "", run: str = "") -> JSONResponse:
    """Return the figure of rates against time."""
    room = room_of(request)
    trial, found = _current(room, trial, run)
    if found is None:
        return JSONResponse({"data": [], "layout": {}})
    return JSONResponse(room.figure(rates.rates, trial, found.name))


@router.get("/latency")
def latency_figure(request: Request, trial: str = "", run: str = "") -> JSONResponse:
    """Return the figure of the time from a frame to its results."""
    room = room_of(request)
    trial, found = _current(room, trial, run)
    if found is None or (found.n_events or found.n_seen) > MAX_SHOTS:
        return JSONResponse({"data": [], "layout": {}})
    folder = below(room.results, trial, found.name)

    def make() -> rates.Figure:
        return rates.latency(latencies_of(folder))

    topics = ("live", "shots", "merged")
    return JSONResponse(room.kept(("latency", folder), topics, make, PENDING))


def _current(room: Room, trial: str, run: str) -> tuple[str, RunInfo | None]:
    """Return the trial and run that are shown: those asked for, or the newest that has results."""
    name = room.trial(trial)
    runs = room.ask(queries.runs, name) if name else []
    known = [item for item in runs if item.outcomes and (not run or item.name == run)]
    return name, known[-1] if known else None


def _context(room: Room, trial: str, run: str) -> dict[str, Any]:
    try:
        trial_name, found = _current(room, trial, run)
        trouble = ""
    except XfelError as err:
        trial_name, found, trouble = trial, None, str(err)
    status = _status(room)
    return {
        "wanted": {"trial": trial, "run": run},
        "trial": trial_name,
        "run": found,
        "trouble": trouble,
        "live": _live_run(status, trial_name, found.name if found else ""),
        "status": status,
        "silent_s": SILENT_S,
        "health": room.timed("health", HEALTH_S, lambda: health(room)),
    }


def _status(room: Room) -> Status | None:
    """Return what the live daemon said last; None if there never was one."""
    try:
        return Status.read(LiveFolder(room.results))
    except ContainerError:
        return None


def _live_run(status: Status | None, trial: str, run: str) -> dict[str, Any] | None:
    """Return what the daemon knows of a run."""
    rows = status.runs if status else ()
    same = [dict(row) for row in rows if (row["trial"], row["run"]) == (trial, run)]
    return same[-1] if same else None
