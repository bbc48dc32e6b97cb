"""The server: pages, their parts, what has changed, and signing in."""

import asyncio
import contextlib
import gzip
import socket
from collections.abc import AsyncIterator
from functools import cache
from importlib import resources
from typing import Annotated

from fastapi import Body, Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as StarletteHTTPException

from xfel_apps.dashboard.guard import Guard
from xfel_apps.dashboard.jobs import settle
from xfel_apps.dashboard.pages import pages
from xfel_apps.dashboard.render import STATIC, render
from xfel_apps.dashboard.room import Room, room_of
from xfel_apps.dashboard.sessions import COOKIE, HOW, LASTS_S, Sessions, same_origin, sessions_of
from xfel_apps.dashboard.settings import DashboardSettings
from xfel_apps.errors import ConflictError, XfelError

LOCAL = ("127.0.0.1", "localhost", "::1")
MAX_TOKEN = 200


def create_app(settings: DashboardSettings) -> FastAPI:
    """Return the dashboard as an ASGI app."""
    app = FastAPI(title="xfelflow", docs_url=None, redoc_url=None, lifespan=_lifespan)
    app.state.room = Room(settings)
    app.state.sessions = Sessions(settings.results)
    app.add_api_route("/", _front)
    app.add_api_route("/events", _events)
    app.add_api_route("/login", _login, methods=["POST"], dependencies=[Depends(same_origin)])
    app.add_api_route("/logout", _logout, methods=["POST"], dependencies=[Depends(same_origin)])
    app.add_api_route("/static/plotly.min.js", _plotly)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for page in pages():
        app.include_router(page.router)
    app.add_exception_handler(XfelError, _expected)
    app.add_exception_handler(StarletteHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_middleware(Guard, hosts=_hosts(settings), max_body_bytes=settings.max_body_bytes)
    return app


def _hosts(settings: DashboardSettings) -> set[str]:
    """Return the names that browsers may call this machine by."""
    known = {*LOCAL, settings.host, *settings.hosts}
    if settings.host not in LOCAL:
        known |= {socket.gethostname(), socket.getfqdn()}
    return {name.lower() for name in known}


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    room: Room = app.state.room
    await asyncio.to_thread(room.changes.look)
    with contextlib.suppress(XfelError):  # no catalog yet
        await asyncio.to_thread(settle, room)
    task = asyncio.create_task(room.changes.watch())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    room.close()


def _front(request: Request) -> RedirectResponse:
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"/{pages()[0].name}{query}")


async def _events(request: Request) -> StreamingResponse:
    """Tell a browser what changes, as long as it listens."""
    changes = room_of(request).changes
    if changes.is_full:
        raise HTTPException(503, "too many browsers listen already")
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(changes.listen(), media_type="text/event-stream", headers=headers)


def _login(request: Request, token: Annotated[str, Body(embed=True)]) -> Response:
    """Give a browser that shows a token a session."""
    secret = sessions_of(request).open(token.strip()) if len(token) <= MAX_TOKEN else None
    if secret is None:
        raise HTTPException(401, f"this token is not known here; {HOW}")
    answer = JSONResponse({"ok": True})
    answer.set_cookie(
        COOKIE,
        secret,
        max_age=int(LASTS_S),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


def _logout(request: Request) -> Response:
    sessions_of(request).close(request.cookies.get(COOKIE))
    answer = JSONResponse({"ok": True})
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


@cache
def _plotly_gzip() -> bytes:
    """Return the plotting library that the package plotly carries, compressed."""
    path = resources.files("plotly").joinpath("package_data", "plotly.min.js")
    return gzip.compress(path.read_bytes(), 6)


def _plotly() -> Response:
    headers = {"Content-Encoding": "gzip", "Cache-Control": "max-age=86400"}
    return Response(_plotly_gzip(), media_type="text/javascript", headers=headers)


def _wants_page(request: Request) -> bool:
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


def _answer(request: Request, status: int, detail: object) -> Response:
    """Return an error as a page where a person asked for one, else as JSON."""
    if _wants_page(request) and isinstance(detail, str):
        return render(request, "error.html", status=status, detail=detail, status_code=status)
    return JSONResponse({"detail": detail}, status)


async def _expected(request: Request, err: Exception) -> Response:
    return _answer(request, 409 if isinstance(err, ConflictError) else 400, str(err))


async def _refused(request: Request, err: Exception) -> Response:
    assert isinstance(err, StarletteHTTPException)
    return _answer(request, err.status_code, err.detail)


async def _invalid(request: Request, err: Exception) -> Response:
    assert isinstance(err, RequestValidationError)
    problems = [f"{'.'.join(map(str, item['loc'][1:]))}: {item['msg']}" for item in err.errors()]
    return _answer(request, 422, "; ".join(problems))
