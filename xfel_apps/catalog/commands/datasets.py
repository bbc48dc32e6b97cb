"""The verb `dataset`: runs that are merged together, by their tags."""

from typing import TYPE_CHECKING, Annotated

import typer

from xfel_apps.catalog.commands.options import (
    EXPERIMENT,
    URL,
    AsJson,
    Guard,
    InTrial,
    Name,
    Revision,
    Url,
    asked,
    editor,
    group,
    number,
    percent,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from xfel_apps.catalog.queries import DatasetInfo
    from xfel_apps.catalog.selection import Selection

HELP = """Make and show datasets: runs of a trial that are merged together, chosen by their tags.

Example: xfelflow dataset new apo --trial 003 --any apo --none bad
"""
Dataset = Annotated[str, typer.Argument(help="name of the dataset")]
Any = Annotated[
    list[str] | None, typer.Option("--any", metavar="TAG", help="runs have any of these")
]
All = Annotated[
    list[str] | None, typer.Option("--all", metavar="TAG", help="runs have all of these")
]
None_ = Annotated[
    list[str] | None, typer.Option("--none", metavar="TAG", help="runs have none of these")
]


def dataset_app(guarded: Guard) -> typer.Typer:
    """Return the verb with its commands."""
    app = group(HELP)
    app.command("list")(guarded(list_datasets))
    app.command("new")(guarded(new))
    app.command("change")(guarded(change))
    app.command("show")(guarded(show))
    app.command("versions")(guarded(versions))
    return app


def list_datasets(
    trial: Annotated[str | None, typer.Option(help="only those of this trial")] = None,
    url: Url = URL,
    experiment: Name = EXPERIMENT,
    as_json: AsJson = False,
) -> None:
    """List the datasets.

    Example: xfelflow dataset list --trial 003
    """
    from xfel_apps.catalog import queries

    with asked(url) as session:
        found = queries.datasets(session, experiment, trial)
    _print(found, as_json)


def new(
    name: Dataset,
    trial: InTrial,
    any_of: Any = None,
    all_of: All = None,
    none_of: None_ = None,
    url: Url = URL,
    experiment: Name = EXPERIMENT,
    as_json: AsJson = False,
) -> None:
    """Make a dataset of a trial; without any tag it takes every run.

    Example: xfelflow dataset new apo --trial 003 --any apo --any apo2 --none bad
    """
    from xfel_apps.catalog import queries
    from xfel_apps.catalog.edits import new_dataset

    by = editor(url, experiment)
    new_dataset(by, trial, name, _selection(any_of, all_of, none_of))
    with by.catalog.reading() as session:
        _print([queries.dataset(session, experiment, trial, name)], as_json)


def change(
    name: Dataset,
    trial: InTrial,
    any_of: Any = None,
    all_of: All = None,
    none_of: None_ = None,
    url: Url = URL,
    experiment: Name = EXPERIMENT,
    revision: Revision = None,
    as_json: AsJson = False,
) -> None:
    """Give a dataset these tags instead of those that it has.

    Example: xfelflow dataset change apo --trial 003 --any apo --none bad --none wet
    """
    from xfel_apps.catalog import queries
    from xfel_apps.catalog.edits import change_dataset

    by = editor(url, experiment)
    change_dataset(by, trial, name, _selection(any_of, all_of, none_of), revision)
    with by.catalog.reading() as session:
        _print([queries.dataset(session, experiment, trial, name)], as_json)


def show(
    name: Dataset,
    trial: InTrial,
    url: Url = URL,
    experiment: Name = EXPERIMENT,
    as_json: AsJson = False,
) -> None:
    """Show which tags and runs a dataset has, and whether a merge of them is due.

    Example: xfelflow dataset show apo --trial 003
    """
    from xfel_apps.catalog import queries

    with asked(url) as session:
        _print([queries.dataset(session, experiment, trial, name)], as_json)


def _selection(
    any_of: list[str] | None, all_of: list[str] | None, none_of: list[str] | None
) -> "Selection":
    """Return the tags of the command line."""
    from xfel_apps.catalog.selection import Selection

    return Selection(tuple(any_of or ()), tuple(all_of or ()), tuple(none_of or ()))


def _print(found: "list[DatasetInfo]", as_json: bool) -> None:
    from xfel_apps.catalog.selection import Selection

    if as_json:
        print_json(found)
        return
    rows = [
        (
            d.trial,
            d.name,
            Selection(d.any, d.all, d.none).text,
            " ".join(d.runs),
            f"v{d.made:03d}" if d.made else "",
            "due" if d.is_due else "",
        )
        for d in found
    ]
    print_table(["trial", "dataset", "runs that have", "runs", "merged", ""], rows)


def versions(
    name: Dataset,
    trial: InTrial,
    url: Url = URL,
    experiment: Name = EXPERIMENT,
    as_json: AsJson = False,
) -> None:
    """List the versions of a dataset with their merge statistics.

    Example: xfelflow dataset versions apo --trial 003
    """
    from xfel_apps.catalog import queries

    with asked(url) as session:
        found = queries.versions(session, experiment, trial, name)
    if as_json:
        print_json(found)
        return
    columns = ["", "state", "crystals#", "d [Å]#", "compl.#", "mult.#", "CC1/2#", "Rsplit#", "I/σ#"]
    print_table(
        [*columns, "runs"],
        [
            (
                v.name,
                v.state,
                v.n_crystals,
                number(v.d_min_ang),
                percent(v.overall.completeness) if v.overall else "",
                number(v.overall.multiplicity) if v.overall else "",
                number(v.overall.cc_half) if v.overall else "",
                percent(v.overall.r_split) if v.overall else "",
                number(v.overall.mean_i_over_sigma) if v.overall else "",
                " ".join(v.runs),
            )
            for v in found
        ],
    )
