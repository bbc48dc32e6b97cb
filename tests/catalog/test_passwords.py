"""A password is in no file, line, URL or process list."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tests.catalog.servers import SERVERS, Server
from xfel_apps.catalog import open_catalog, upgrade_catalog
from xfel_apps.catalog.follow import Follow
from xfel_apps.catalog.follower import Follower
from xfel_apps.catalog.sync import Source
from xfel_apps.cli import app
from xfel_apps.config import SettingsError
from xfel_apps.experiment import Experiment

SECRET = "s3cr3t-w0rd"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@host/db",
        f"mysql+pymysql://me:{SECRET}@host/db",
        f"postgresql://me@host/db?password={SECRET}",
    ],
)
def test_an_experiment_file_with_a_password_is_refused_without_showing_it(
    url: str, tmp_path: Path
) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump({"catalog": url}))
    done = CliRunner().invoke(app, ["catalog", "sync", str(path)])
    assert done.exit_code == 1
    assert SECRET not in done.output
    assert "XFELFLOW_DB_PASSWORD" in done.output
    with pytest.raises(SettingsError) as refused:
        Experiment.checked({"catalog": url})
    assert SECRET not in str(refused.value)


def test_nothing_of_a_process_that_follows_shows_the_password(
    database_of: Callable[[str], str],
    server_of: Callable[[str], Server],
    tiny_trial: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    url, server = database_of("mariadb"), server_of("mariadb")
    upgrade_catalog(url)
    results = tiny_trial.parent
    experiment = Experiment.checked({"catalog": url, "results": str(results)})
    follower = Follower([experiment])
    follower.start()
    assert follower.process is not None
    command = Path(f"/proc/{follower.process.pid}/cmdline").read_bytes()
    follower.end()
    assert server.password not in command.decode()
    catalog = open_catalog(url, pool_size=1)
    assert server.password not in f"{catalog} {catalog.url} {catalog.engine}"
    shown = CliRunner().invoke(app, ["catalog", "show", "--catalog", url])
    assert "main" in shown.output  # the follower has brought it in
    assert server.password not in shown.output
    catalog.close()
    said = capfd.readouterr()
    assert server.password not in said.err + said.out
    for path in tiny_trial.parents[1].rglob("*"):
        if path.is_file():
            assert server.password.encode() not in path.read_bytes()


@pytest.mark.parametrize("kind", SERVERS)
def test_a_wrong_password_is_refused_and_not_shown(
    kind: str, database_of: Callable[[str], str], tiny_trial: Path, monkeypatch
) -> None:
    url = database_of(kind)
    monkeypatch.setenv("XFELFLOW_DB_PASSWORD", SECRET)
    done = CliRunner().invoke(app, ["catalog", "sync", str(tiny_trial.parent), "--catalog", url])
    assert done.exit_code == 1
    assert done.output.startswith("error: catalog ")
    assert SECRET not in done.output


def test_a_password_file_that_others_can_read_stops_nothing_but_the_catalog(
    tiny_trial: Path, monkeypatch, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o644)
    monkeypatch.delenv("XFELFLOW_DB_PASSWORD", raising=False)
    monkeypatch.setenv("XFELFLOW_DB_PASSWORD_FILE", str(secret))
    said: list[str] = []
    follow = Follow("mariadb://me@127.0.0.1/db", Source("e", tiny_trial.parent, {}), said.append)
    assert not follow.until(lambda: True, lambda _s: None)
    assert f"chmod 600 {secret}" in said[0]
    assert SECRET not in " ".join(said)
