"""Open a catalog: connections, transactions, and what is said when the database does not answer."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, NullPool, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from xfel_apps.catalog.schema import (
    check_ours,
    check_schema,
    current,
    newest,
    prepare_empty,
    upgrade,
)
from xfel_apps.catalog.secret import db_password
from xfel_apps.catalog.url import checked_url
from xfel_apps.errors import CatalogAwayError, CatalogError

T = TypeVar("T")

BUSY_MS = 30_000
"""A writer of SQLite waits so long for another one [ms]."""
CONNECT_S = 5
ATTEMPTS = 6
FIRST_WAIT_S = 0.05
WRITES = "xfelflow_writes"
"""Option of a connection that is going to write: SQLite locks at once, so that it need not fail."""

TRANSIENT_CODES = frozenset({1205, 1213, 2006, 2013, 2014, 2055})
"""MariaDB/MySQL: lock wait, deadlock, server gone, connection lost."""
TRANSIENT_STATES = frozenset({"40001", "40P01", "55P03", "57P01", "57P02", "57P03", "08006"})
"""PostgreSQL: serialization, deadlock, lock wait, server going down or coming up, lost."""


class Catalog:
    """An open catalog.

    Parameters
    ----------
    url : checked, without a password
    pool_size : connections that are kept, at most; 0: none, each is closed after its use
    """

    def __init__(self, url: URL, pool_size: int = 0) -> None:
        self.url = url
        self.engine = _engine(url, pool_size)

    def __repr__(self) -> str:
        return f"Catalog({self.url})"

    @property
    def is_sqlite(self) -> bool:
        """Whether it is one file on this machine."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a session to read with."""
        with self._said(), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """Give a connection in a transaction that is committed at the end."""
        engine = self.engine.execution_options(**{WRITES: True})
        with self._said(), engine.begin() as connection:
            yield connection

    def change(self, work: Callable[[Session], T]) -> T:
        """Return what `work` returns; all that it changes is one transaction.

        It is done again when the database could not serve it just now (a deadlock, a lost
        connection), so it must change nothing but the catalog.
        """
        engine = self.engine.execution_options(**{WRITES: True})

        def attempt() -> T:
            with Session(engine, expire_on_commit=False) as session, session.begin():
                return work(session)

        with self._said():
            return retried(attempt)

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Turn an error of the database into one line that names the catalog."""
        try:
            yield
        except SQLAlchemyError as err:
            raise CatalogAwayError(f"catalog {self.url}: {said(err)}") from None

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_catalog(url: str, pool_size: int = 0, *, must_exist: bool = False) -> Catalog:
    """Return the catalog at a URL, or of a file; an SQLite file that is not there is made.

    Parameters
    ----------
    url : such as `sqlite:///catalog.db` or `postgresql://user@host/database`; no password
    pool_size : connections that are kept, at most; 0: none
    must_exist : do not make a file

    Raises
    ------
    SettingsError : the URL or the password is wrong
    CatalogError : the database does not answer, or its schema is older or newer than this code's
    """
    catalog = Catalog(checked_url(url), pool_size)
    if catalog.is_sqlite and must_exist and not Path(str(catalog.url.database)).is_file():
        raise CatalogError(
            f"catalog {catalog.url}: there is none; `xfelflow catalog import EXPERIMENT.yaml` or "
            "`xfelflow run add` makes one, --catalog or $XFELFLOW_CATALOG names another"
        )
    with catalog._said():
        if catalog.is_sqlite:
            prepare_empty(catalog.engine, WRITES)
        with catalog.engine.connect() as connection:
            check_schema(connection, str(catalog.url))
    return catalog


def retried(attempt: Callable[[], T], attempts: int = ATTEMPTS) -> T:
    """Return what `attempt` returns, tried again with growing waits after transient errors."""
    for number in range(attempts - 1):
        try:
            return attempt()
        except DBAPIError as err:
            if not is_transient(err):
                raise
            time.sleep(FIRST_WAIT_S * 2**number * random.uniform(0.5, 1.5))
    return attempt()


def is_transient(err: BaseException) -> bool:
    """Return whether the same statement may succeed later: a deadlock, a lost connection."""
    if not isinstance(err, DBAPIError):
        return False
    if err.connection_invalidated:
        return True
    origin: Any = err.orig
    if getattr(origin, "sqlstate", None) in TRANSIENT_STATES:
        return True
    arguments = getattr(origin, "args", ())
    if arguments and arguments[0] in TRANSIENT_CODES:
        return True
    return "database is locked" in str(origin)


def said(err: SQLAlchemyError) -> str:
    """Return what a database says, in one line, without statement and data."""
    origin: Any = getattr(err, "orig", None) or err
    return " ".join(str(origin).split())[:300]


def _engine(url: URL, pool_size: int) -> Engine:
    options: dict[str, Any] = {"hide_parameters": True}
    if pool_size:
        options |= {"poolclass": QueuePool, "pool_size": pool_size, "max_overflow": 0}
        options |= {"pool_pre_ping": True, "pool_recycle": 600}
    else:
        options["poolclass"] = NullPool
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, options)
    options["isolation_level"] = "READ COMMITTED"
    options["connect_args"] = {"connect_timeout": CONNECT_S}
    engine = create_engine(url, **options)

    @event.listens_for(engine, "do_connect")
    def _give_password(_dialect: Any, _record: Any, _args: Any, parameters: Any) -> None:
        if (password := db_password()) is not None:
            parameters["password"] = password

    return engine


def _sqlite_engine(url: URL, options: dict[str, Any]) -> Engine:
    folder = Path(str(url.database)).parent
    if not folder.is_dir():
        raise CatalogError(f"catalog {url}: there is no folder {folder}")
    options["connect_args"] = {"timeout": BUSY_MS / 1000, "check_same_thread": False}
    engine = create_engine(url, **options)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def upgrade_catalog(url: str) -> tuple[str | None, str]:
    """Bring the schema of a catalog up to date; its data stay. An empty database gets tables.

    Returns
    -------
    the revision that it had (None: it was empty), and the one that it has now
    """
    catalog = Catalog(checked_url(url))
    with catalog.connected() as connection:
        check_ours(connection, str(catalog.url))
        before = current(connection)
        upgrade(connection)
    return before, newest()
