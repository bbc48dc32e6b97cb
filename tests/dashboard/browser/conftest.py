"""A dashboard on a small analysis, and a real browser that looks at it."""

import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn

from xfel_apps.dashboard.run import _listen
from xfel_apps.dashboard.server import create_app
from xfel_apps.dashboard.settings import DashboardSettings
from xfel_apps.dashboard.tokens import make_token

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
SIZES = {"laptop": (1366, 768, "light"), "wall": (2560, 1440, "dark")}
START_S = 60.0
PATIENCE_MS = 60_000


@dataclass
class Place:
    """A running dashboard: its address, a token that it takes, and its results."""

    url: str
    token: str
    results: Path


def install_chromium() -> None:
    """Install the browser, as CI does where it is missing."""
    for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        subprocess.run(
            ["apt-get", "-o", "DPkg::Lock::Timeout=900", "-qq", *command],
            check=True,
            stdout=sys.stderr,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )


@pytest.fixture(scope="session")
def chromium():
    """Give a headless browser; skip with a reason where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    is_root_in_ci = os.environ.get("CI") == "true" and os.geteuid() == 0
    if not Path(CHROMIUM).exists() and is_root_in_ci and shutil.which("apt-get"):
        install_chromium()
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no browser: {CHROMIUM} is missing (apt-get install chromium)")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """Return what opens a page of a size; at the end no page may have met an error."""
    contexts, problems = [], []

    def open_at(url, size="laptop"):
        width, height, scheme = SIZES[size]
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.append(line.text) if _is_bad(line) else None)
        page.goto(url)
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert not problems


def _is_bad(line) -> bool:
    """Return whether a line of the console is an error other than a refusal that is tested."""
    return line.type == "error" and "409" not in line.text


@pytest.fixture(scope="session")
def shots():
    """Return where screenshots are kept: $XFELFLOW_SCREENSHOTS, or a folder for this run."""
    named = os.environ.get("XFELFLOW_SCREENSHOTS")
    folder = Path(named) if named else Path("build") / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def serve(tmp_path):
    """Return what starts a dashboard on a folder of results."""
    running = []

    def start(results: Path) -> Place:
        token = make_token(results, "alice", tmp_path / "token").read_text().strip()
        settings = DashboardSettings(results=results, port=0, look_s=0.2)
        listener = _listen(settings)
        config = uvicorn.Config(
            create_app(settings), log_level="warning", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        running.append((server, thread, listener))
        end_s = time.monotonic() + START_S
        while not server.started and time.monotonic() < end_s:
            time.sleep(0.05)
        assert server.started
        return Place(f"http://127.0.0.1:{listener.getsockname()[1]}", token, results)

    yield start
    for server, thread, listener in running:
        server.should_exit = True
        thread.join(START_S)
        listener.close()
