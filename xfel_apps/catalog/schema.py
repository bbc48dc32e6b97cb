"""The schema of a catalog and its revisions: made, checked and brought up to date by Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect

from xfel_apps.errors import CatalogError

FOLDER = Path(__file__).parent / "migrations"


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def newest() -> str:
    """Return the revision that this code reads and writes."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def revisions() -> list[tuple[str, str]]:
    """Return revision and what it does, from the first to the newest."""
    found = ScriptDirectory.from_config(_config()).walk_revisions()
    return [(script.revision, script.doc) for script in reversed(list(found))]


def current(connection: Connection) -> str | None:
    """Return the revision of a database; None where it has no catalog yet."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring a database to a revision; its data stay."""
    command.upgrade(_config(connection), revision)


def prepare_empty(engine: Engine, writes: str) -> None:
    """Make the tables of a new database; nothing happens where there are any.

    Parameters
    ----------
    writes : option of connections that write
    """
    with engine.connect() as connection:
        if inspect(connection).get_table_names():
            return
    with engine.connect() as connection, connection.execution_options(**{writes: True}).begin():
        if not inspect(connection).get_table_names():  # another one may have been faster
            upgrade(connection)


def check_schema(connection: Connection, url: str) -> None:
    """Say what to do where a database's schema is not this code's."""
    check_ours(connection, url)
    found = current(connection)
    if found is None:
        raise CatalogError(
            f"catalog {url}: holds no catalog yet; run `xfelflow catalog upgrade {url}`"
        )
    if found != newest():
        raise CatalogError(
            f"catalog {url}: its schema is {found}, this code's is {newest()}; make a copy of it, "
            f"then run `xfelflow catalog upgrade {url}`"
        )


def check_ours(connection: Connection, url: str) -> None:
    """Refuse a database with tables of something else, or of a newer code."""
    found = current(connection)
    if found is None and inspect(connection).get_table_names():
        raise CatalogError(
            f"catalog {url}: holds tables of something else; choose another database"
        )
    if found is not None and found not in (revision for revision, _ in revisions()):
        raise CatalogError(
            f"catalog {url}: its schema {found} is unknown to this code (newest: {newest()}); "
            "a newer xfelflow made it: update this one"
        )
