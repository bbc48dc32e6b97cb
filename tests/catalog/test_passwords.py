"""A password is in no file, line, URL or process list."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tests.catalog.servers import SERVERS, Server
from xfel_apps.catalog import open_catalog, upgrade_catalog
from xfel_apps.catalog.follower import Follower
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


@pytest.mark.parametrize("kind", SERVERS)
def test_nothing_of_a_process_that_follows_shows_the_password(
    kind: str,
    database_of: Callable[[str], str],
    server_of: Callable[[str], Server],
    tiny_trial: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    url, server = database_of(kind), server_of(kind)
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
    monkeypatch.setenv("XFELFLOW_DB_PASSWORD", SECRET)
    refused = CliRunner().invoke(app, ["catalog", "sync", str(results), "--catalog", url])
    assert refused.exit_code == 1
    catalog.close()
    said = capfd.readouterr()
    assert SECRET not in refused.output + said.err + said.out
    for path in tiny_trial.parents[1].rglob("*"):
        if path.is_file():
            assert server.password.encode() not in path.read_bytes()


def test_a_password_file_that_others_can_read_stops_nothing_but_the_catalog(
    database_of: Callable[[str], str], tiny_trial: Path, monkeypatch, capfd, tmp_path: Path
) -> None:
    url = database_of("mariadb")
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o644)
    monkeypatch.delenv("XFELFLOW_DB_PASSWORD")
    monkeypatch.setenv("XFELFLOW_DB_PASSWORD_FILE", str(secret))
    experiment = Experiment.checked({"catalog": url, "results": str(tiny_trial.parent)})
    follower = Follower([experiment])
    follower.start()
    follower.end()
    said = capfd.readouterr().err
    assert f"chmod 600 {secret}" in said
    assert SECRET not in said
