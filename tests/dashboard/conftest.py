import pytest
from fastapi.testclient import TestClient

from xfel_apps.dashboard.server import create_app
from xfel_apps.dashboard.settings import DashboardSettings
from xfel_apps.dashboard.tokens import make_token

BASE = "http://127.0.0.1"


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    return folder


@pytest.fixture
def client(results):
    app = create_app(DashboardSettings(results=results))
    with TestClient(app, base_url=BASE, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def token(results, tmp_path):
    """Return a token that this server takes."""
    return make_token(results, "alice", tmp_path / "alice.token").read_text().strip()
