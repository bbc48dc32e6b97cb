"""Options that the catalog's verbs share, and how they print."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from xfel_apps.catalog.edits import Editor

Guard = Callable[[Callable[..., None]], Callable[..., None]]
"""Turns expected errors of a command into one line on stderr."""

Url = Annotated[
    str,
    typer.Option(
        "--catalog",
        envvar="XFELFLOW_CATALOG",
        metavar="URL",
        help="database: a file, or mariadb://user@host/db, postgresql://user@host/db; its password "
        "comes from $XFELFLOW_DB_PASSWORD or a file of mode 600, $XFELFLOW_DB_PASSWORD_FILE",
    ),
]
Name = Annotated[
    str,
    typer.Option("--experiment", envvar="XFELFLOW_EXPERIMENT", help="name in the catalog"),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table")]
InTrial = Annotated[str, typer.Option("--trial", help="name or number of the trial")]
Revision = Annotated[
    int | None,
    typer.Option(
        min=1, help="refuse if somebody has changed it since it had this revision (see --json)"
    ),
]

URL = "catalog.db"
EXPERIMENT = "main"


def group(help_text: str) -> typer.Typer:
    """Return a verb that has verbs below it."""
    return typer.Typer(rich_markup_mode="markdown", no_args_is_help=True, help=help_text)


@contextmanager
def asked(url: str) -> Iterator["Session"]:
    """Give a session to ask with."""
    from xfel_apps.catalog.engine import open_catalog

    with open_catalog(url, must_exist=True).reading() as session:
        yield session


def editor(url: str, experiment: str) -> "Editor":
    """Return who edits: the user of this process."""
    import getpass

    from xfel_apps.catalog.edits import Editor
    from xfel_apps.catalog.engine import open_catalog

    return Editor(open_catalog(url), experiment, getpass.getuser())


def print_json(rows: Any) -> None:
    """Print records, or a mapping of them, as JSON."""
    print(json.dumps(_plain(rows), indent=1))


def _plain(rows: Any) -> Any:
    if hasattr(rows, "__dataclass_fields__"):
        return asdict(rows)
    if isinstance(rows, dict):
        return {name: _plain(row) for name, row in rows.items()}
    return [_plain(row) for row in rows] if isinstance(rows, list | tuple) else rows


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as a table; columns whose name ends in `#` are numbers."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        is_number = name.endswith("#")
        table.add_column(name.removesuffix("#"), justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*(Text("" if value is None else str(value)) for value in row))
    Console().print(table)


def percent(share: float | None) -> str:
    """Return a share as text.

    >>> percent(0.1234)
    '12.3 %'
    """
    return "" if share is None else f"{100 * share:.1f} %"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number as text with so many digits; empty where it is not known."""
    return "" if value is None else f"{value:.{digits}g}"
