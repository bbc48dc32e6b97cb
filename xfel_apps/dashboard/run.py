"""Run the dashboard's server until it is stopped."""

import socket
import sys

import uvicorn

from xfel_apps.catalog.follower import Follower
from xfel_apps.catalog.url import checked_url
from xfel_apps.dashboard.jobs import profile_of
from xfel_apps.dashboard.room import url_of
from xfel_apps.dashboard.server import create_app
from xfel_apps.dashboard.settings import DashboardSettings
from xfel_apps.errors import SettingsError

EXPERIMENT = "main"
"""Name of the experiment in a catalog where none is given, as in experiment files."""
END_S = 10.0


def run_server(settings: DashboardSettings) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    if not settings.results.is_dir():
        raise SettingsError(f"{settings.results}: no such folder; give it with --results")
    checked_url(url_of(settings))
    profile_of(settings)
    with _listen(settings) as listener:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"dashboard: http://{shown}:{port}", flush=True)
        if settings.host not in ("127.0.0.1", "::1", "localhost"):
            print("others on the network can read it; changes need a token", file=sys.stderr)
        config = uvicorn.Config(
            create_app(settings),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            limit_concurrency=1000,
        )
        follower = Follower()
        if settings.follow:
            follower.start_on(url_of(settings), settings.experiment or EXPERIMENT, settings.results)
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            follower.end(END_S)


def _listen(settings: DashboardSettings) -> socket.socket:
    """Return a socket that listens, or say in one line why there is none."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)  # who comes before the server is up waits
    except OSError as err:
        raise SettingsError(
            f"cannot listen on {settings.host} port {settings.port} ({err.strerror or err}); "
            "choose another with --host and --port"
        ) from err
    return listener
