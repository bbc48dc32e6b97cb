"""catalog: runs, tags, trials, datasets, jobs and results of an experiment that many people share.

A database: SQLite by default, MariaDB/MySQL or PostgreSQL by URL. It only repeats what containers
and manifests say, and adds what people decide; analysis goes on without it.
"""

from xfel_apps.catalog.engine import Catalog, open_catalog, upgrade_catalog
from xfel_apps.errors import CatalogError, ConflictError

__all__ = ["Catalog", "CatalogError", "ConflictError", "open_catalog", "upgrade_catalog"]
