"""Many rows at once: the fastest way into each database, all of it in the caller's transaction."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Table, insert
from sqlalchemy.exc import DBAPIError

Row = tuple[Any, ...]

STATEMENT_ROWS = 5_000
"""Rows of one statement of MariaDB/MySQL: about 1 MB, far below any server's limit."""


def insert_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows, with a value for each column of the table, in their order."""
    if not rows:
        return
    ways: dict[str, Callable[[Connection, Table, Sequence[Row]], None]] = {
        "postgresql": _copy,
        "mysql": _long_statements,
        "mariadb": _long_statements,
    }
    ways.get(connection.dialect.name, _one_by_one)(connection, table, rows)


def _one_by_one(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Run one statement for each row; where no server is asked, that is fast."""
    statement = str(insert(table).compile(dialect=connection.dialect))
    connection.exec_driver_sql(statement, list(rows))


def _copy(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Send rows as PostgreSQL's COPY does."""
    driver: Any = connection.connection.driver_connection
    copy = f"COPY {_into(connection, table)} FROM STDIN"
    errors: Any = connection.dialect.loaded_dbapi.Error
    try:
        with driver.cursor() as cursor, cursor.copy(copy) as to:
            for row in rows:
                to.write_row(row)
    except errors as err:
        is_lost = connection.dialect.is_disconnect(err, driver, None)
        raise DBAPIError.instance(
            copy, None, err, errors, hide_parameters=True, connection_invalidated=is_lost
        ) from err


def _long_statements(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert thousands of rows with each statement; only texts need the driver's quoting."""
    driver: Any = connection.connection.driver_connection
    head = f"INSERT INTO {_into(connection, table)} VALUES "
    plain = {"no_parameters": True}
    for start in range(0, len(rows), STATEMENT_ROWS):
        values = ",".join(_literals(rows[start : start + STATEMENT_ROWS], driver.escape))
        connection.exec_driver_sql(head + values, execution_options=plain)


def _literals(rows: Sequence[Row], quoted: Callable[[Any], str]) -> Iterator[str]:
    """Yield rows as SQL; texts that were quoted before are known."""
    known: dict[Any, str] = {}
    for row in rows:
        texts = []
        for value in row:
            if type(value) is int or type(value) is float:
                texts.append(repr(value))
            else:
                if value not in known:
                    known[value] = quoted(value)
                texts.append(known[value])
        yield f"({','.join(texts)})"


def _into(connection: Connection, table: Table) -> str:
    quote = connection.dialect.identifier_preparer.quote
    return f"{quote(table.name)} ({', '.join(quote(column.name) for column in table.columns)})"
