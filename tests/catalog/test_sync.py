"""The catalog has what the containers have, from whatever state it begins."""

from pathlib import Path

import pytest
from sqlalchemy import select

from tests.tiny_trial import crystal_columns, spots_of
from xfel_apps.catalog import Catalog
from xfel_apps.catalog.models import Crystal, Event, Run
from xfel_apps.catalog.queries import runs
from xfel_apps.catalog.schema import upgrade
from xfel_apps.catalog.sync import Source, Sync
from xfel_apps.catalog.url import checked_url
from xfel_apps.containers.results import RunResults

N_ROWS = 2 * (20 + 18 + 12 + 10)
"""Of two runs of 20 shots: events, spots, crystals, reflections."""


def opened(url: str) -> Catalog:
    """Return the catalog at a URL with all tables."""
    catalog = Catalog(checked_url(url), pool_size=1)
    with catalog.connected() as connection:
        upgrade(connection)
    return catalog


def sync(catalog: Catalog, trial: Path) -> int:
    """Bring in what a trial has, as a process of its own would."""
    return Sync(catalog, Source("exp", trial.parent, {})).look()


def state(catalog: Catalog) -> dict:
    """Return all that a sync writes, without the rows' numbers."""
    with catalog.reading() as session:
        events = session.execute(
            select(Run.name, Event.stage, Event.event, Event.outcome, Event.error, Event.rank)
            .join(Run, Run.id == Event.run_id)
            .order_by(Run.name, Event.stage, Event.event)
        ).all()
        crystals = session.execute(
            select(Run.name, Crystal.event, Crystal.lattice, Crystal.a_ang, Crystal.n_indexed)
            .join(Run, Run.id == Crystal.run_id)
            .order_by(Run.name, Crystal.event)
        ).all()
        return {"events": events, "crystals": crystals, "runs": runs(session, "exp", "000")}


def test_everything_comes_from_nothing_and_once(catalog_url: str, tiny_trial: Path) -> None:
    catalog = opened(catalog_url)
    assert sync(catalog, tiny_trial) == N_ROWS
    first = state(catalog)
    assert sync(catalog, tiny_trial) == 0
    assert state(catalog) == first
    for run in first["runs"]:
        results = RunResults(tiny_trial / run.name)
        wanted = {name: n for name, n in results.last.outcomes.items() if n}
        assert run.outcomes == wanted
        assert run.n_events == 20
        assert run.n_lattices == 10
        results.close()
    by_event = {row[1]: row for row in first["crystals"] if row[0] == "r0001"}
    for event, row in by_event.items():
        columns = crystal_columns(event, len(spots_of(event)))
        assert row[3] == pytest.approx(columns["cell"][0][0])
        assert row[4] == columns["n_indexed"][0]
    catalog.close()
