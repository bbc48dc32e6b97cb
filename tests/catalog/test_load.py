"""64 writers and 20 people who look, on a million rows: nothing is lost, everything answers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.catalog import load
from xfel_apps.catalog import open_catalog, upgrade_catalog
from xfel_apps.dashboard.pages import pages

SECONDS = 20.0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "mariadb", "postgresql"])
def test_nothing_is_lost_under_load(
    kind: str, database_of: Callable[[str], str], tmp_path: Path, capsys
) -> None:
    url, results = database_of(kind), tmp_path / "results"
    results.mkdir()
    upgrade_catalog(url)
    catalog = open_catalog(url)
    n_rows = load.fill(catalog)
    assert n_rows == 1_000_000
    paths = [f"/{page.name}" for page in pages()] + ["/now/rates"]
    with load.dashboard(url, results) as port:
        writers = load.start_writers(url, 64, SECONDS)
        views = load.view(port, paths, SECONDS)
        written = [json.loads(writer.communicate(timeout=120)[0])["rows"] for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * load.N_PROCESSES
    assert sum(written) > 64 * load.ROWS_A_WRITE
    assert views.refused == []
    assert load.n_events(catalog) == n_rows + sum(written)
    catalog.close()
    with capsys.disabled():
        times = ", ".join(f"{path} {max(s):.2f}" for path, s in views.seconds.items())
        print(f"\n{kind}: half {views.quantile(0.5):.3f} s, 95 % {views.quantile(0.95):.3f} s")
        print(f"slowest [s]: {times}; {sum(written)} rows written meanwhile")
