"""`xfelflow dashboard` as people start and stop it."""

import os
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress

import pytest
from typer.testing import CliRunner

from xfel_apps.app import EXIT_AGAIN
from xfel_apps.cli import app

LIMIT_S = 90.0
COMMAND = [sys.executable, "-c", "from xfel_apps.cli import main; main()", "dashboard"]


def run(*arguments):
    return CliRunner().invoke(app, ["dashboard", *map(str, arguments)])


def test_it_starts_serves_follows_the_results_and_stops(results, tmp_path):
    (results / "000" / "r0001" / "events").mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if "XFELFLOW" not in name}
    command = [*COMMAND, "--results", str(results), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        url = server.stdout.readline().split()[-1]
        end_s = time.monotonic() + LIMIT_S
        page = ""
        while "r0001" not in page and time.monotonic() < end_s:
            with suppress(urllib.error.HTTPError):  # the catalog has no experiment yet
                page = urllib.request.urlopen(f"{url}/runs", timeout=LIMIT_S).read().decode()
            time.sleep(0.3)
        assert "r0001" in page
        server.send_signal(signal.SIGINT)
        assert server.wait(LIMIT_S) == EXIT_AGAIN  # as all that is stopped by a signal


def test_a_token_is_made_and_only_where_it_is_is_shown(results, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    result = run("token", "--results", results, "--name", "carol")
    path = tmp_path / ".config" / "xfelflow" / "dashboard-carol.token"
    assert result.output.strip() == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--results", "nowhere"], "no such folder"),
        (["token", "--results", "nowhere"], "no such folder"),
        (["--results", ".", "--host", "no.such.host.invalid"], "cannot listen"),
        (["--results", ".", "--catalog", "mysql://u:secret@h/d"], "password"),
        (["--results", ".", "--catalog", "oracle://h/d"], "oracle"),
        (["--results", ".", "--profile", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(arguments, said):
    result = run(*arguments)
    assert result.exit_code == 1
    assert said in result.output
    assert "secret" not in result.output
