"""Crystals: cells by cluster, orientations and resolution of lattices; each leads to its shot."""

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse

from xfel_apps.containers.results import RunResults
from xfel_apps.dashboard.chosen import AnyRuns, Chosen, Later
from xfel_apps.dashboard.pages.page import Page
from xfel_apps.dashboard.render import render
from xfel_apps.plots import cells, orientation, resolution
from xfel_apps.plots.cells import Cells
from xfel_apps.plots.lattices import lattices
from xfel_apps.plots.orientation import Orientations
from xfel_apps.plots.resolution import Resolution

router = APIRouter(prefix="/crystals")
PAGE = Page("crystals", "Crystals", 50, router)


@dataclass(frozen=True)
class Lattices:
    """What the page shows of lattices."""

    cells: Cells
    orientations: Orientations
    resolution: Resolution
    n_shots: int


FIGURES = {
    "cells": lambda found: cells.chart(found.cells),
    "scatter": lambda found: cells.scatter(found.cells),
    "orientation": lambda found: orientation.chart(found.orientations),
    "resolution": lambda found: resolution.chart(found.resolution),
}


@router.get("")
def page(request: Request, picked: AnyRuns) -> HTMLResponse:
    """Return the page."""
    return render(request, "crystals.html", **_context(picked))


@router.get("/part")
def part(request: Request, picked: AnyRuns) -> HTMLResponse:
    """Return the numbers of the page."""
    return render(request, "crystals-part.html", **_context(picked))


@router.get("/figure/{name}")
def figure(picked: AnyRuns, name: str) -> JSONResponse:
    """Return one of the plots."""
    if name not in FIGURES:
        raise HTTPException(404, f"no such figure; there is: {', '.join(FIGURES)}")
    return picked.figure("crystals", _found, FIGURES[name])


def _found(runs: list[RunResults]) -> Lattices:
    found = lattices(runs)
    return Lattices(
        cells=cells.cells(found),
        orientations=orientation.orientations(found),
        resolution=resolution.resolution(runs, found),
        n_shots=len(found.per_shot),
    )


def _context(picked: Chosen) -> dict[str, Any]:
    found = picked.opened("crystals", _found)
    if found is None or isinstance(found, Later):
        return {"picked": picked, "found": None, "is_later": found is not None}
    colours = [colour for _, colour in cells.names(found.cells)]
    return {
        "picked": picked,
        "found": found,
        "is_later": False,
        "clusters": list(zip(found.cells.clusters, colours, strict=False)),
        "caption": orientation.caption(found.orientations),
    }
