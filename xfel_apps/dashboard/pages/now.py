"""Now: what live processing does at this moment, and how fast."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from xfel_apps.dashboard.pages.page import Page
from xfel_apps.dashboard.render import render
from xfel_apps.dashboard.room import room_of
from xfel_apps.errors import ContainerError
from xfel_apps.live.layout import LiveFolder
from xfel_apps.live.status import Status

router = APIRouter(prefix="/now")
PAGE = Page("now", "Now", 20, router)


@router.get("")
def page(request: Request) -> HTMLResponse:
    """Return the page."""
    return render(request, "now.html", **_context(request))


@router.get("/part")
def part(request: Request) -> HTMLResponse:
    """Return what changes on the page."""
    return render(request, "now-part.html", **_context(request))


def _context(request: Request) -> dict[str, Any]:
    try:
        return {"status": Status.read(LiveFolder(room_of(request).results)), "problem": ""}
    except ContainerError as err:
        return {"status": None, "problem": str(err)}
