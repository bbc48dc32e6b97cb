"""Jobs: state, log, cancel, start again; and who changed what."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from xfel_apps.catalog import queries
from xfel_apps.catalog.queries import JobInfo
from xfel_apps.dashboard import jobs, places
from xfel_apps.dashboard.pages.page import Page
from xfel_apps.dashboard.render import render
from xfel_apps.dashboard.room import Room, room_of
from xfel_apps.dashboard.sessions import Editor

router = APIRouter(prefix="/jobs")
PAGE = Page("jobs", "Jobs", 80, router)
MAX_JOBS, MAX_CHANGES = 100, 50
States = Annotated[str, Query(max_length=20)]


class NewWork(BaseModel):
    """Work to start: a stage of a run, or stage `merge` of a dataset."""

    model_config = ConfigDict(extra="forbid")

    trial: str = Field(max_length=64)
    stage: str = Field(max_length=16)
    name: str = Field(max_length=64)


@router.get("")
def page(request: Request, job: int | None = None, state: States = "") -> HTMLResponse:
    """Return the page."""
    return render(request, "jobs.html", **_context(room_of(request), job, state))


@router.get("/part")
def part(request: Request, job: int | None = None, state: States = "") -> HTMLResponse:
    """Return the tables."""
    return render(request, "jobs-part.html", **_context(room_of(request), job, state))


@router.get("/{job_id}/log")
def log(request: Request, job_id: int) -> HTMLResponse:
    """Return a job's state and the end of its log."""
    room = room_of(request)
    job = room.ask_catalog(queries.job, job_id)
    return render(request, "job-log.html", job=job, text=jobs.log_of(room, job))


@router.post("")
def start(request: Request, wanted: NewWork, who: Editor) -> dict[str, str]:
    """Start a job."""
    work = jobs.Work(wanted.trial, wanted.stage, wanted.name)
    return {"go": f"/jobs?job={jobs.start(room_of(request), who, work)}"}


@router.post("/{job_id}/cancel")
def cancel(request: Request, job_id: int, who: Editor) -> dict[str, str]:
    """Stop a job."""
    jobs.cancel(room_of(request), who, job_id)
    return {"message": f"job {job_id} is told to stop"}


@router.post("/{job_id}/resubmit")
def resubmit(request: Request, job_id: int, who: Editor) -> dict[str, str]:
    """Start a job's work again."""
    return {"go": f"/jobs?job={jobs.resubmit(room_of(request), who, job_id)}"}


def _context(room: Room, shown: int | None, state: str) -> dict[str, Any]:
    found = room.ask(queries.jobs, (state,) if state else (), limit=MAX_JOBS)
    found = sorted(found, key=lambda job: job.start_s or job.submitted_s, reverse=True)
    return {
        "jobs": [(job, _can_cancel(job), jobs.can_resubmit(job)) for job in found],
        "shown": shown,
        "state": state,
        "changes": room.ask(queries.audit, limit=MAX_CHANGES),
        "trials": [item.name for item in room.ask(queries.trials)][::-1],
        "runs": [item.name for item in room.ask(queries.runs)][::-1],
        "datasets": sorted({item.name for item in room.ask(queries.datasets)}),
        "stages": jobs.STAGES,
    }


def _can_cancel(job: JobInfo) -> bool:
    return job.state == "running" and places.can_cancel(job.place, job.host)
