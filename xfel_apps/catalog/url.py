"""URLs of databases: which are served, and that no password stands in them."""

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from xfel_apps.catalog.secret import PASSWORD, PASSWORD_FILE
from xfel_apps.errors import SettingsError

DRIVERS = {
    "sqlite": "sqlite",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}
EXAMPLES = "sqlite:///catalog.db, mariadb://user@host/database, postgresql://user@host/database"
FILE_NAME = "catalog.db"


def default_url(results: Path) -> str:
    """Return the URL of the catalog beside a folder of results.

    >>> default_url(Path("/exp/results"))
    'sqlite:////exp/catalog.db'
    """
    return f"sqlite:///{results.absolute().parent / FILE_NAME}"


def checked_url(text: str) -> URL:
    """Return the URL with its driver; a path of a file becomes that of an SQLite database.

    Raises
    ------
    SettingsError : not served, not a URL, or with a password in it (which is not shown)
    """
    if not text.strip():
        raise SettingsError(f"catalog: no URL is given; examples: {EXAMPLES}")
    if "://" not in text:
        return _sqlite(Path(text))
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise SettingsError(f"catalog: not a URL of a database; examples: {EXAMPLES}") from None
    backend = url.get_backend_name()
    if url.password is not None or {"password", "passwd", "pwd"} & {*url.query}:
        raise SettingsError(
            f"catalog: a password stands in the URL of the {backend} server; take it out and put "
            f"it into ${PASSWORD}, or into a file of mode 600 that ${PASSWORD_FILE} names"
        )
    if backend not in DRIVERS:
        raise SettingsError(
            f"catalog: {backend} is not served; known: {', '.join(DRIVERS)}; examples: {EXAMPLES}"
        )
    if backend == "sqlite":
        return _sqlite(Path(url.database or FILE_NAME))
    if not url.database:
        raise SettingsError(f"catalog: {url} names no database; examples: {EXAMPLES}")
    return url.set(drivername=DRIVERS[backend])


def _sqlite(path: Path) -> URL:
    return URL.create("sqlite", database=str(path.expanduser().absolute()))
