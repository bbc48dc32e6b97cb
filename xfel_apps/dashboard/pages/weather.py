"""Weather: which rank did what when, of any run, live; and what cost time, in words."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse

from xfel_apps.dashboard.chosen import Chosen, OneRun
from xfel_apps.dashboard.pages.page import Page
from xfel_apps.dashboard.render import render
from xfel_apps.errors import ContainerError
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
    found = _weather(picked)
    return JSONResponse(weather_draw.chart(found) if found else {"data": [], "layout": {}})


def _weather(picked: Chosen) -> Weather | None:
    """Return the weather of a run; None as long as nothing is processed."""
    try:
        return picked.opened("weather", lambda runs: weather(timings(runs)))
    except ContainerError:
        return None


def _context(picked: Chosen) -> dict[str, Any]:
    return {"picked": picked, "weather": _weather(picked), "rules": RULES, "kinds": KINDS}
