"""A catalog of an older schema, with data in it, on every database."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Table, inspect, text

from xfel_apps.catalog import CatalogError, open_catalog, queries, upgrade_catalog
from xfel_apps.catalog.engine import Catalog
from xfel_apps.catalog.models import Base
from xfel_apps.catalog.schema import newest, revisions, upgrade
from xfel_apps.catalog.url import checked_url

ROWS = {
    "experiments": {"name": "mfx01"},
    "runs": {"name": "r0001", "paths": '["/data/r0001.h5"]'},
    "tags": {"name": "apo"},
    "trials": {"name": "000", "parameters": '{"merge": {"n_cycles": 5}}'},
    "datasets": {"name": "all"},
    "dataset_tags": {"rule": "any"},
    "run_groups": {"settings": "{}"},
    "versions": {"cell": "", "state": "made", "made_with": "key", "number": 3},
    "merge_bins": {"shell": -1, "completeness": 0.5},
    "events": {"event": 7, "stage": "index", "outcome": 5},
    "crystals": {"event": 7, "a_ang": 79.2},
    "parts": {"stage": "index", "name": "crystals/rank-0001.h5", "n_rows": 1},
    "audit": {"actor": "ann", "was": "null", "became": '["apo"]'},
}
"""Table -> values of one row; what is not given is 1, or the text `x`."""


def put_data(connection: Connection) -> None:
    """Put a row into tables, with the columns that they have now."""
    for table in Base.metadata.sorted_tables:
        columns = {c["name"]: c for c in inspect(connection).get_columns(table.name)}
        row = {name: _value(table, name, ROWS.get(table.name, {})) for name in columns}
        names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
        connection.execute(text(f"insert into {table.name} ({names}) values ({values})"), row)


def _value(table: Table, name: str, given: dict[str, object]) -> object:
    if name in given:
        return given[name]
    return "x" if table.c[name].type.python_type is str else 1


@pytest.mark.parametrize("revision", [name for name, _ in revisions()][:-1])
def test_an_older_schema_is_brought_up_to_date_with_its_data(catalog_url: str, revision: str):
    catalog = Catalog(checked_url(catalog_url))
    with catalog.connected() as connection:
        upgrade(connection, revision)
        put_data(connection)
    with pytest.raises(CatalogError, match=f"its schema is {revision}.*xfelflow catalog upgrade"):
        open_catalog(catalog_url)
    assert upgrade_catalog(catalog_url) == (revision, newest())
    assert upgrade_catalog(catalog_url) == (newest(), newest())
    catalog = open_catalog(catalog_url)
    with catalog.reading() as session:
        (run,) = queries.runs(session, "mfx01", "000")
        assert (run.tags, run.paths) == (("apo",), ("/data/r0001.h5",))
        (dataset,) = queries.datasets(session, "mfx01")
        assert (dataset.name, dataset.any, dataset.made) == ("all", ("apo",), 3)
        (version,) = queries.versions(session, "mfx01", "000", "all")
        assert version.overall is not None
        assert (version.key, version.overall.completeness) == ("key", 0.5)
        (event,) = queries.events(session, "mfx01", "000", "r0001")
        assert (event.event, event.outcome) == (7, "integrated")
        (change,) = queries.audit(session, "mfx01")
        assert (change.actor, change.before, change.after) == ("ann", None, ["apo"])
    with catalog.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
