"""`xfelflow catalog sync`: one look after the other until nothing is missing, with a bar."""

from dataclasses import dataclass
from pathlib import Path

from xfel_apps.catalog.engine import open_catalog
from xfel_apps.catalog.sync import Source, Sync
from xfel_apps.config import read_yaml
from xfel_apps.errors import CatalogError
from xfel_apps.experiment import Experiment
from xfel_apps.progress import Progress

LOOKS = 5
"""A second look finds what came during the first, or nothing."""


@dataclass(frozen=True)
class CaughtUp:
    """What a sync came to: the catalog, runs that were looked at, and rows that were new."""

    catalog: str
    n_runs: int
    n_rows: int

    @property
    def text(self) -> str:
        """In words."""
        return f"{self.catalog}: {self.n_runs} runs, {self.n_rows} rows were new"


def catch_up(source: Path, url: str, experiment: str) -> CaughtUp:
    """Bring in what is missing.

    Parameters
    ----------
    source : experiment file, or folder of results
    url, experiment : catalog and experiment, where the experiment file does not name them
    """
    if source.is_dir():
        found = Source(experiment, source.absolute(), {})
    else:
        given = Experiment.checked(read_yaml(source))
        url, name = (given.catalog, given.experiment) if given.catalog else (url, experiment)
        found = Source(name, Path(given.results).absolute(), {given.trial: given})
    if not found.results.is_dir():
        raise CatalogError(f"{found.results}: no such folder; give a folder of results")
    catalog = open_catalog(url, pool_size=1)
    try:
        sync = Sync(catalog, found)
        runs, n_rows = sync.runs(), 0
        for _ in range(LOOKS):
            with Progress("catalog", len(runs), shown=n_rows == 0) as progress:
                more = sync.look(lambda run, _n, bar=progress: bar.report("runs"))  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
            n_rows += more
            if not more:
                break
    finally:
        catalog.close()
    return CaughtUp(str(catalog.url), len(runs), n_rows)
