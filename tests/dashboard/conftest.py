import shutil

import pytest
from fastapi.testclient import TestClient

from tests.dashboard.filled import fill
from xfel_apps.catalog import open_catalog
from xfel_apps.catalog.url import FILE_NAME, default_url
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


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """Return a catalog's file, made once for all tests."""
    results = tmp_path_factory.mktemp("filled") / "results"
    results.mkdir()
    fill(results).close()
    return results.with_name(FILE_NAME)


@pytest.fixture
def catalog(filled, results):
    """Return the catalog of an experiment under way, open."""
    shutil.copy(filled, results.with_name(FILE_NAME))
    catalog = open_catalog(default_url(results))
    yield catalog
    catalog.close()
