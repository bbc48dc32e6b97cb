"""The verb `catalog`: the database itself."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from xfel_apps.catalog.commands.options import (
    EXPERIMENT,
    URL,
    AsJson,
    Guard,
    Name,
    Url,
    editor,
    group,
    print_json,
    print_table,
)

HELP = """Make, look at and fill the catalog: the database of runs, tags, trials and datasets.

Example: xfelflow catalog upgrade postgresql://xfel@db.facility.org/exp1
"""


def catalog_app(guarded: Guard) -> typer.Typer:
    """Return the verb with its commands."""
    app = group(HELP)
    app.command("upgrade")(guarded(upgrade))
    app.command("show")(guarded(show))
    app.command("import")(guarded(import_experiment))
    app.command("sync")(guarded(sync))
    return app


def upgrade(
    url: Annotated[str, typer.Argument(metavar="URL", envvar="XFELFLOW_CATALOG")] = URL,
) -> None:
    """Bring a catalog's tables up to date, or make them in an empty database; data stay.

    Example: xfelflow catalog upgrade mariadb://xfel@db.facility.org/exp1
    """
    from xfel_apps.catalog.engine import upgrade_catalog

    before, now = upgrade_catalog(url)
    said = "was empty" if before is None else f"was {before}" if before != now else "was so already"
    print(f"schema {now} ({said})")


def show(url: Url = URL, as_json: AsJson = False) -> None:
    """Say what a catalog holds: its schema, experiments, runs and trials.

    Example: xfelflow catalog show --catalog results/../catalog.db
    """
    from xfel_apps.catalog import queries
    from xfel_apps.catalog.engine import open_catalog
    from xfel_apps.catalog.schema import newest

    catalog = open_catalog(url, must_exist=True)
    with catalog.reading() as session:
        found = queries.experiments(session)
    if as_json:
        experiments = [vars(row) for row in found]
        print_json({"url": str(catalog.url), "schema": newest(), "experiments": experiments})
        return
    print(f"{catalog.url}, schema {newest()}")
    rows = [(row.name, row.results, row.n_runs, row.n_trials) for row in found]
    print_table(["experiment", "results", "runs#", "trials#"], rows)


def import_experiment(
    config: Annotated[Path, typer.Argument(metavar="EXPERIMENT.yaml", help="experiment file")],
    url: Url = URL,
    experiment: Name = EXPERIMENT,
) -> None:
    """Put the runs, settings and datasets of an experiment file into the catalog.

    The trial keeps its name; a dataset becomes that of the runs which have a tag of its name.

    Example: xfelflow catalog import experiment.yaml
    """
    from xfel_apps.catalog.edits.whole import put_experiment
    from xfel_apps.config import read_yaml
    from xfel_apps.experiment import Experiment

    put_experiment(editor(url, experiment), Experiment.checked(read_yaml(config)))


def sync(
    source: Annotated[
        Path, typer.Argument(metavar="EXPERIMENT.yaml|RESULTS", help="experiment file, or folder")
    ] = Path("results"),
    url: Url = URL,
    experiment: Name = EXPERIMENT,
    as_json: AsJson = False,
) -> None:
    """Bring into the catalog what containers and merged data have and it has not; repeat at will.

    An experiment file names catalog, experiment and results itself. With a folder of results all
    its trials are looked at, also from nothing.

    Example: xfelflow catalog sync experiment.yaml

    Example: xfelflow catalog sync results --catalog postgresql://xfel@db.facility.org/exp1
    """
    from xfel_apps.catalog.catch_up import catch_up

    done = catch_up(source, url, experiment)
    print_json(asdict(done)) if as_json else print(done.text)
