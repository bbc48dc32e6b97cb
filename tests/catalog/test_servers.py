"""The servers that tests run against ask for their password."""

import os
from collections.abc import Callable

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from tests.catalog.servers import SERVERS, Server


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_wants_its_password(kind: str, database_of: Callable[[str], str]) -> None:
    url = make_url(database_of(kind))
    refused = create_engine(url.set(password="wrong"))
    with pytest.raises(OperationalError):
        refused.connect()
    engine = create_engine(url.set(password=os.environ["XFELFLOW_DB_PASSWORD"]))
    with engine.connect() as connection:
        assert connection.execute(text("select 1")).scalar() == 1
    engine.dispose()


@pytest.mark.parametrize("kind", SERVERS)
def test_what_was_committed_outlives_a_kill(
    kind: str, database_of: Callable[[str], str], server_of: Callable[[str], Server]
) -> None:
    server = server_of(kind)
    url = make_url(database_of(kind)).set(password=server.password)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("create table t (i integer)"))
        connection.execute(text("insert into t values (7)"))
    engine.dispose()
    server.kill()
    with pytest.raises(OperationalError):
        create_engine(url).connect()
    server.start()
    with engine.connect() as connection:
        assert connection.execute(text("select i from t")).scalar() == 7
        assert server.connections() == 1
    engine.dispose()
