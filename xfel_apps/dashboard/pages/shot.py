"""Shot: one frame to zoom, its spots, its predictions by outcome, and those like it."""

from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from xfel_apps.dashboard.chosen import AnyRuns, Chosen
from xfel_apps.dashboard.pages.page import Page
from xfel_apps.dashboard.render import render
from xfel_apps.dashboard.shelf import SHELF
from xfel_apps.errors import ContainerError
from xfel_apps.plots import scene
from xfel_apps.plots.picture import Region
from xfel_apps.plots.scene import Scene
from xfel_apps.plots.shot_list import KINDS, SHOULD, ShotList, neighbours

router = APIRouter(prefix="/shot")
PAGE = Page("shot", "Shot", 60, router)
ALL = (SHOULD, *KINDS)
N_LISTED = 40
PERCENTILES = (90.0, 99.0, 99.5, 99.9, 99.97, 99.99)
"""Contrasts to choose from: pixels brighter than this share of all are black."""
Bound = Annotated[float, Query(ge=-1e5, le=1e5, allow_inf_nan=False)]


def _complete(picked: AnyRuns) -> Chosen:
    """Return the chosen run, or the last whose shots are listed: those of a live run are not."""
    listed = [run for run in picked.runs if (picked.folder / run / "events.json").is_file()]
    return replace(picked, run=picked.run or (listed[-1] if listed else ""))


@dataclass(frozen=True)
class Look:
    """One shot of the chosen run.

    Attributes
    ----------
    picked : trial and run
    event : number of the shot; -1: the first of the kind
    kind : which shots `previous` and `next` go to
    """

    picked: Annotated[Chosen, Depends(_complete)]
    event: Annotated[int, Query(ge=-1, le=2**40)] = -1
    kind: Annotated[str, Query(max_length=20)] = "hits"

    @property
    def scene(self) -> Scene:
        """The shot as it can be drawn."""
        return SHELF.scene(_folder(self.picked), self.event)


Asked = Annotated[Look, Depends()]


@router.get("")
def page(request: Request, look: Asked) -> HTMLResponse:
    """Return the page."""
    try:
        return render(request, "shot.html", **_context(look))
    except ContainerError as err:
        return render(request, "shot-none.html", picked=look.picked, problem=str(err))


@router.get("/figure")
def figure(look: Asked) -> JSONResponse:
    """Return the marks over the picture."""
    return JSONResponse(scene.chart(look.scene))


@router.get("/image")
def image(
    look: Asked,
    percentile: Annotated[float, Query(ge=50, le=100)] = 99.9,
    left: Bound = 0.0,
    right: Bound = 0.0,
    bottom: Bound = 0.0,
    top: Bound = 0.0,
) -> Response:
    """Return the frame, or a part of it in full, as PNG; where it lies is in a header [mm]."""
    region: Region | None = (left, right, bottom, top) if right > left and top > bottom else None
    png, where = look.scene.png(region, percentile)
    headers = {"X-Extent-Mm": ",".join(f"{x:.4f}" for x in where), "Cache-Control": "max-age=60"}
    return Response(png, media_type="image/png", headers=headers)


@router.get("/closeup")
def close_up(
    look: Asked, panel: Annotated[int, Query(ge=0)], fast: Bound, slow: Bound
) -> JSONResponse:
    """Return the pixels around a reflection."""
    shot = look.scene.shot
    if panel >= len(shot.detector.panels):
        raise HTTPException(404, f"no panel {panel}; there are {len(shot.detector.panels)}")
    return JSONResponse(scene.close_up(shot, panel, fast, slow))


def _folder(picked: Chosen) -> Any:
    if not picked.run:
        raise HTTPException(404, "no run has any results yet")
    return picked.folder / picked.run


def _context(look: Look) -> dict[str, Any]:
    if look.kind not in ALL:
        raise HTTPException(422, f"kind: one of {', '.join(ALL)}")
    if not look.picked.run:
        raise ContainerError("no run has any results yet")
    shots = SHELF.shots(_folder(look.picked))
    events = shots.of(look.kind)
    event = look.event if look.event >= 0 else int((events if len(events) else shots.event)[0])
    shown = SHELF.scene(_folder(look.picked), event)
    before, after = _around(shots, look.kind, event)
    place = (events == event).nonzero()[0]
    return {
        "picked": look.picked,
        "shot": shown.shot,
        "event": event,
        "kind": look.kind,
        "kinds": {kind: len(shots.of(kind)) for kind in ALL},
        "place": int(place[0]) + 1 if len(place) else None,
        "before": before,
        "after": after,
        "lost": _lost(shots),
        "n_lost": len(shots.of(SHOULD)),
        "n_spots": shots.spots_of(event),
        "richer": shots.richer_than(event),
        "extent": shown.extent_mm,
        "fates": [
            (name, colour, int(rows.sum())) for name, colour, rows in scene.outcomes(shown.shot)
        ],
        "percentiles": PERCENTILES,
    }


def _around(shots: ShotList, kind: str, event: int) -> tuple[int | None, int | None]:
    """Return the shots of a kind before and after this one."""
    events = shots.of(kind)
    if kind == SHOULD and event not in events:
        return None, int(events[0]) if len(events) else None
    return neighbours(events, event)


def _lost(shots: ShotList) -> list[tuple[int, int, float]]:
    """Return (event, spots, share of the indexed shots with fewer) of those most likely lost."""
    events = shots.of(SHOULD)[:N_LISTED].tolist()
    return [(event, shots.spots_of(event), shots.richer_than(event)) for event in events]
