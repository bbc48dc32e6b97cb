"""Who may change things: a token in a header, or the session that a browser was given for one."""

import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request

from xfel_apps.dashboard.tokens import hashed, owner, read_hashes

COOKIE = "xfelflow_session"
LASTS_S = 7 * 24 * 3600.0
MAX_SESSIONS = 1000
HOW = "sign in with a token; `xfelflow dashboard token` makes one"


@dataclass(frozen=True)
class Session:
    """One browser that has shown a token.

    Attributes
    ----------
    name, token_hash : whose token it was
    ends_s : when the browser has to show it again [s, monotonic clock]
    """

    name: str
    token_hash: str
    ends_s: float


@dataclass
class Sessions:
    """Browsers that are signed in; they are forgotten when the server ends.

    Parameters
    ----------
    results : folder of all trials' results, which the tokens are for
    """

    results: Path
    _found: dict[str, Session] = field(default_factory=dict)

    def open(self, token: str) -> str | None:
        """Return the secret of a new session; None if the token is nobody's."""
        name = owner(self.results, token)
        if name is None:
            return None
        if len(self._found) >= MAX_SESSIONS:
            self._found.pop(next(iter(self._found)))
        secret = secrets.token_urlsafe(32)
        self._found[secret] = Session(name, hashed(token), time.monotonic() + LASTS_S)
        return secret

    def who(self, secret: str | None) -> str | None:
        """Return whose session this is, as long as the token that it began with is taken."""
        session = self._found.get(secret or "")
        if session is None:
            return None
        is_taken = read_hashes(self.results).get(session.name) == session.token_hash
        if not is_taken or time.monotonic() > session.ends_s:
            self._found.pop(secret or "", None)
            return None
        return session.name

    def close(self, secret: str | None) -> None:
        """Forget a session."""
        self._found.pop(secret or "", None)


def sessions_of(request: Request) -> Sessions:
    """Return the sessions of the server that got a request."""
    found: Sessions = request.app.state.sessions
    return found


def viewer(request: Request) -> str | None:
    """Return who is signed in; None: may only look."""
    return sessions_of(request).who(request.cookies.get(COOKIE))


def editor(request: Request) -> str:
    """Return who makes a change, or refuse it.

    A token comes as `Authorization: Bearer TOKEN`, which no other site can make a browser send. A
    session's cookie is sent to this site only (SameSite=Strict), and where it counts, the page that
    asks must be one of ours (Origin).
    """
    _same_origin(request)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme:
        name = owner(request.app.state.sessions.results, token) if scheme == "Bearer" else None
        if name is None:
            raise HTTPException(401, f"this token is not known here; {HOW}")
        return name
    name = viewer(request)
    if name is None:
        raise HTTPException(401, f"changes need a token: {HOW}")
    if "origin" not in request.headers:
        raise HTTPException(403, "a change by cookie must say which page it comes from (Origin)")
    return name


def _same_origin(request: Request) -> None:
    """Refuse a request that another site's page makes."""
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if foreign or request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise HTTPException(403, "the change comes from a page of another site")


def same_origin(request: Request) -> None:
    """Refuse a request that another site's page makes (a dependency)."""
    _same_origin(request)


Viewer = Annotated[str | None, Depends(viewer)]
Editor = Annotated[str, Depends(editor)]
