"""What every request and every answer goes through: limits, and headers that browsers obey."""

from collections.abc import Set
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_URL_BYTES = 2048
"""Longest address that is taken [bytes]."""
SAFE = ("GET", "HEAD")
HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self' 'unsafe-inline'",  # Plotly sets the style of what it draws
            "img-src 'self' data: blob:",
            "connect-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Refuse what is too large or no JSON, and put the headers on every answer.

    Parameters
    ----------
    app : what gets the requests that pass
    hosts : names of this server; any other is a foreign site that points here (DNS rebinding)
    max_body_bytes : largest body that is taken
    """

    def __init__(self, app: ASGIApp, hosts: Set[str], max_body_bytes: int) -> None:
        self.app = app
        self.hosts = hosts
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        send = _with_headers(send)
        if refusal := self._refusal(scope):
            await refusal(scope, receive, send)
        else:
            await self.app(scope, _limited(receive, self.max_body_bytes), send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        if _host(headers.get("host", "")) not in self.hosts:
            return _refuse(400, "not a name of this server; `--allow-host NAME` allows one more")
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_URL_BYTES:
            return _refuse(414, f"the address is longer than {MAX_URL_BYTES} bytes")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.max_body_bytes:
            return _refuse(413, f"the request is larger than {self.max_body_bytes} bytes")
        if scope["method"] in SAFE or scope["method"] == "OPTIONS":
            return None
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return _refuse(415, "a change must be JSON (Content-Type: application/json)")
        return None


def _host(header: str) -> str | None:
    """Return the name in a Host header, without its port."""
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:
        return None


def _refuse(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status)


def _limited(receive: Receive, max_bytes: int) -> Receive:
    """Return `receive` that stops a body that is larger than it said."""
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > max_bytes:
            raise HTTPException(413, f"the request is larger than {max_bytes} bytes")
        return message

    return limited


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-cache")
        await send(message)

    return sending
