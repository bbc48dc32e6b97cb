"""Trials and datasets: make them, compare them, and see whether more data are needed."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, JSONResponse

from xfel_apps.catalog import queries
from xfel_apps.catalog.queries import BinInfo, TrialInfo, VersionInfo
from xfel_apps.dashboard.forecast import MERITS, Forecast, forecast
from xfel_apps.dashboard.merging import N_VERSIONS, by_resolution, growth
from xfel_apps.dashboard.pages.page import Page
from xfel_apps.dashboard.render import render
from xfel_apps.dashboard.room import Room, room_of
from xfel_apps.dashboard.trial_edits import router
from xfel_apps.errors import SettingsError

PAGE = Page("trials", "Trials & datasets", 30, router)
OVERALL, OUTERMOST = "overall", "outermost"


@dataclass(frozen=True)
class Wanted:
    """What is shown.

    Attributes
    ----------
    trial, dataset : which; empty: the newest, the first
    against : trial that it is compared with; empty: the one it was made from
    merit, target, shell : figure of merit that is carried on, to what, overall or outermost
    """

    trial: str = ""
    dataset: str = ""
    against: str = ""
    merit: str = "cc_half"
    target: float | None = None
    shell: str = OVERALL


Asked = Annotated[Wanted, Depends()]


@router.get("")
def page(request: Request, wanted: Asked) -> HTMLResponse:
    """Return the page."""
    return render(request, "trials.html", **_context(room_of(request), wanted))


@router.get("/part")
def part(request: Request, wanted: Asked) -> HTMLResponse:
    """Return all tables of the page."""
    return render(request, "trials-part.html", **_context(room_of(request), wanted))


@router.get("/versions")
def version_table(request: Request, wanted: Asked) -> HTMLResponse:
    """Return the table of a dataset's versions."""
    versions = _versions(room_of(request), wanted)[::-1]
    return render(request, "versions-part.html", wanted=wanted, versions=versions)


@router.get("/resolution")
def resolution(request: Request, wanted: Asked) -> JSONResponse:
    """Return the figure of merge statistics against resolution."""
    room = room_of(request)
    made = [item for item in _versions(room, wanted) if item.overall is not None]
    newest = made[: -N_VERSIONS - 1 : -1]
    return JSONResponse(by_resolution({item.name: _bins(room, item) for item in newest}))


@router.get("/growth")
def growing(request: Request, wanted: Asked) -> JSONResponse:
    """Return the figure of a figure of merit against the number of lattices."""
    room = room_of(request)
    versions = _with_lattices(room, wanted)
    return JSONResponse(growth(versions, _values(room, versions, wanted), _forecast(room, wanted)))


def _bins(room: Room, version: VersionInfo) -> list[BinInfo]:
    return room.ask_catalog(queries.merge_bins, version.id)


def _versions(room: Room, wanted: Wanted) -> list[VersionInfo]:
    if not wanted.dataset:
        return []
    return room.ask(queries.versions, wanted.trial, wanted.dataset)


def _with_lattices(room: Room, wanted: Wanted) -> list[VersionInfo]:
    return [item for item in _versions(room, wanted) if item.n_crystals]


def _values(room: Room, versions: list[VersionInfo], wanted: Wanted) -> list[float | None]:
    """Return the figure of merit of each version: of all reflections, or of the outermost bin."""
    if wanted.shell == OUTERMOST:
        bins = [found[-1] if (found := _bins(room, item)) else None for item in versions]
    else:
        bins = [item.overall for item in versions]
    return [getattr(item, wanted.merit) if item else None for item in bins]


def _checked(wanted: Wanted) -> Wanted:
    """Return what is wanted if it is possible."""
    if wanted.merit not in MERITS or wanted.shell not in (OVERALL, OUTERMOST):
        raise SettingsError(f"a figure of merit is one of {', '.join(MERITS)}")
    merit = MERITS[wanted.merit]
    if wanted.target is not None and not merit.lowest <= wanted.target <= merit.highest:
        raise SettingsError(
            f"target of {merit.title}: between {merit.lowest:g} and {merit.highest:g}"
        )
    return wanted


def _forecast(room: Room, wanted: Wanted) -> Forecast | None:
    wanted = _checked(wanted)
    merit = MERITS[wanted.merit]
    versions = _with_lattices(room, wanted)
    values = _values(room, versions, wanted)
    points = [(item.n_crystals or 0, value) for item, value in zip(versions, values, strict=True)]
    return forecast(merit, wanted.target or merit.target, points)


def _context(room: Room, wanted: Wanted) -> dict[str, Any]:
    trials = room.ask(queries.trials)
    trial = _chosen(trials, room.trial(wanted.trial))
    datasets = room.ask(queries.datasets, trial.name) if trial else []
    names = [item.name for item in datasets]
    dataset = wanted.dataset if wanted.dataset in names else (names or [""])[0]
    shown = Wanted(
        trial.name if trial else "",
        dataset,
        wanted.against,
        wanted.merit,
        wanted.target,
        wanted.shell,
    )
    other = _chosen(trials, wanted.against or (trial.parent if trial else "")) if trial else None
    return {
        "trials": trials,
        "trial": trial,
        "other": other,
        "differences": queries.differences(other, trial) if other and trial else [],
        "datasets": datasets,
        "dataset": next((item for item in datasets if item.name == dataset), None),
        "versions": _versions(room, shown)[::-1],
        "tags": room.ask(queries.tags),
        "wanted": shown,
        "merits": MERITS,
        "forecast": _forecast(room, shown),
    }


def _chosen(trials: list[TrialInfo], name: str) -> TrialInfo | None:
    """Return the trial of a name; the newest where there is no name."""
    if not trials:
        return None
    if not name:
        return trials[-1]
    return next((item for item in trials if item.name == name), trials[-1])
