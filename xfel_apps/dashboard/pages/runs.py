"""Runs: what each run gave in a trial, and its tags."""

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from xfel_apps.catalog import edits, queries
from xfel_apps.catalog.queries import LatticeInfo, RunInfo
from xfel_apps.dashboard.pages.page import Page
from xfel_apps.dashboard.render import render
from xfel_apps.dashboard.room import Room, room_of
from xfel_apps.dashboard.sessions import Editor

router = APIRouter(prefix="/runs")
PAGE = Page("runs", "Runs", 10, router)
PER_PAGE = 50


class TagEdit(BaseModel):
    """One tag put on a run or taken off it; `revision` is that of the run as the editor saw it."""

    model_config = ConfigDict(extra="forbid")

    revision: int
    add: str = Field(default="", max_length=200)
    remove: str = Field(default="", max_length=200)


@dataclass(frozen=True)
class Wanted:
    """Which runs are shown.

    Attributes
    ----------
    trial : whose results; empty: the newest
    text : part of the name, of a tag or of the state; empty: all
    number : of the page of the list, from 1
    """

    trial: str = ""
    text: str = ""
    number: int = 1


@router.get("")
def page(request: Request, trial: str = "", text: str = "", number: int = 1) -> HTMLResponse:
    """Return the page."""
    return _answer(request, "runs.html", Wanted(trial, text, number))


@router.get("/part")
def part(request: Request, trial: str = "", text: str = "", number: int = 1) -> HTMLResponse:
    """Return the table and what stands above it."""
    return _answer(request, "runs-part.html", Wanted(trial, text, number))


@router.post("/{run}/tags")
def edit_tags(request: Request, run: str, edit: TagEdit, who: Editor) -> dict[str, int]:
    """Put a tag on a run, or take one off; return the run's new revision."""
    if bool(edit.add) == bool(edit.remove):
        raise HTTPException(422, "one tag to add, or one to remove")
    work = edits.tag if edit.add else edits.untag
    name = (edit.add or edit.remove).strip()
    return {"revision": room_of(request).edit(who, work, run, name, edit.revision)}


def _answer(request: Request, template: str, wanted: Wanted) -> HTMLResponse:
    return render(request, template, **_context(room_of(request), wanted))


def _context(room: Room, wanted: Wanted) -> dict[str, Any]:
    trials = [item.name for item in room.ask(queries.trials)]
    trial = room.trial(wanted.trial) or None
    runs = room.ask(queries.runs, trial)
    lattices = room.ask(queries.lattices, trial) if trial else {}
    found = [run for run in reversed(runs) if _fits(run, wanted.text)]
    n_pages = max(1, -(-len(found) // PER_PAGE))
    number = min(max(wanted.number, 1), n_pages)
    return {
        "trials": trials,
        "trial": trial,
        "wanted": wanted,
        "runs": found[(number - 1) * PER_PAGE : number * PER_PAGE],
        "lattices": lattices,
        "tags": room.ask(queries.tags),
        "totals": totals(runs, lattices),
        "n_found": len(found),
        "n_runs": len(runs),
        "number": number,
        "n_pages": n_pages,
    }


def _fits(run: RunInfo, text: str) -> bool:
    """Return whether each word of a text is in a run's name, state or tags."""
    where = " ".join((run.name, run.state, run.group, *run.tags)).lower()
    return all(word in where for word in text.lower().split())


def totals(runs: list[RunInfo], lattices: dict[str, LatticeInfo]) -> dict[str, int]:
    """Return sums over all runs: events, looked at, hits, indexed, integrated, lattices."""
    return {
        "events": sum(run.n_events or run.n_seen for run in runs),
        "seen": sum(run.n_seen - run.outcomes.get("pending", 0) for run in runs),
        "hits": sum(run.n_hits for run in runs),
        "indexed": sum(run.n_integrated + run.outcomes.get("indexed", 0) for run in runs),
        "integrated": sum(run.n_integrated for run in runs),
        "lattices": sum(item.n_lattices for item in lattices.values()),
    }
