"""catalog: runs, tags, trials, datasets, jobs and results of an experiment that many people share.

A database: SQLite by default, MariaDB/MySQL or PostgreSQL by URL. It only repeats what containers
and manifests say, and adds what people decide; analysis goes on without it.
"""

from typing import TYPE_CHECKING, Any

from xfel_apps.errors import CatalogError, ConflictError

if TYPE_CHECKING:
    from xfel_apps.catalog.engine import Catalog, open_catalog, upgrade_catalog

__all__ = ["Catalog", "CatalogError", "ConflictError", "open_catalog", "upgrade_catalog"]


def __getattr__(name: str) -> Any:
    """Return what is imported only when asked for, so that commands' help needs no database."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from xfel_apps.catalog import engine

    return getattr(engine, name)
