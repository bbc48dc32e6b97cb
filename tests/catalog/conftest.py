"""One server of each kind for all tests of this folder, and a fresh database for each test."""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.catalog.servers import SERVERS, Server, install

NUMBERS = itertools.count(1)
PASSWORD = "XFELFLOW_DB_PASSWORD"


@pytest.fixture(scope="session")
def server_of() -> Iterator[Callable[[str], Server]]:
    """Return what gives the running server of a kind; it is started when first asked for.

    Skip where that is impossible, install what is missing where CI should have it.
    """
    running: dict[str, Server] = {}
    with ExitStack() as stack:

        def give(kind: str) -> Server:
            if kind not in running:
                running[kind] = stack.enter_context(_server(kind))
            return running[kind]

        yield give


def _server(kind: str) -> Server:
    found = SERVERS[kind]
    if found.reason_against() and os.environ.get("CI") == "true" and os.geteuid() == 0:
        install()
    if reason := found.reason_against():
        pytest.skip(f"no {kind} server: {reason}")
    return found()


@pytest.fixture
def database_of(
    server_of: Callable[[str], Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], str]]:
    """Return what makes an empty database of a kind and gives its URL; it is removed afterwards.

    The server's password is in the environment, as a user gives it.
    """
    made: list[tuple[Server, str]] = []

    def make(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path / 'catalog.sqlite'}"
        server, name = server_of(kind), f"t{os.getpid()}_{next(NUMBERS)}"
        monkeypatch.setenv(PASSWORD, server.password)
        made.append((server, name))
        return server.create(name)

    yield make
    for server, name in made:
        server.drop(name)


@pytest.fixture(params=["sqlite", *SERVERS])
def catalog_url(request: pytest.FixtureRequest, database_of: Callable[[str], str]) -> str:
    """URL of an empty database of each kind, without password."""
    return database_of(request.param)
