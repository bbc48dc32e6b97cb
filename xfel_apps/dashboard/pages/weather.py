"""Weather: which rank did what when, of any run, live; and what cost time, in words."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse

from xfel_apps.containers.results import RunResults
from xfel_apps.dashboard.chosen import Chosen, Later, OneRun
from xfel_apps.dashboard.pages.page import Page
from xfel_apps.dashboard.render import render
from xfel_apps.plots import weather_draw
from xfel_apps.plots.diagnoses import RULES
from xfel_apps.plots.timing import timings
from xfel_apps.plots.weather import KINDS, Weather, weather

router = APIRouter(prefix="/weather")
PAGE = Page("weather", "Weather", 70, router)


@router.get("")
def page(request: Request, picked: OneRun) -> HTMLResponse:
    """Return the page."""
    return render(request, "weather.html", **_context(picked))


@router.get("/part")
def part(request: Request, picked: OneRun) -> HTMLResponse:
    """Return what is told of the weather."""
    return render(request, "weather-part.html", **_context(picked))


@router.get("/figure")
def figure(picked: OneRun) -> JSONResponse:
    """Return the plot."""
    return picked.figure("weather", _weather, weather_draw.chart)


def _weather(runs: list[RunResults]) -> Weather:
    return weather(timings(runs))


def _context(picked: Chosen) -> dict[str, Any]:
    found = picked.opened("weather", _weather)
    is_later = isinstance(found, Later)
    shown = None if is_later else found
    common = {"picked": picked, "rules": RULES, "kinds": KINDS}
    return {**common, "weather": shown, "is_later": is_later}
