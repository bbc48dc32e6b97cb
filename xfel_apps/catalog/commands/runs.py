"""The verb `run`: which runs there are, and their tags."""

from pathlib import Path
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
    percent,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from xfel_apps.catalog.edits import Editor

HELP = """List, add and tag runs of the catalog.

Example: xfelflow run tag 'r001*' apo
"""
Runs = Annotated[str, typer.Argument(metavar="RUN", help="name of a run, or a pattern: 'r001*'")]
Tags = Annotated[list[str], typer.Argument(metavar="TAG...", help="words")]


def run_app(guarded: Guard) -> typer.Typer:
    """Return the verb with its commands."""
    app = group(HELP)
    app.command("list")(guarded(list_runs))
    app.command("show")(guarded(show))
    app.command("add")(guarded(add))
    app.command("tag")(guarded(tag_runs))
    app.command("untag")(guarded(untag_runs))
    app.command("group")(guarded(group_runs))
    return app


def list_runs(
    trial: Annotated[str | None, typer.Option(help="count its hits and lattices")] = None,
    tag: Annotated[str | None, typer.Option(help="only runs that have it")] = None,
    url: Url = URL,
    experiment: Name = EXPERIMENT,
    as_json: AsJson = False,
) -> None:
    """List runs with their tags, and what a trial has made of them.

    Example: xfelflow run list --trial 003 --tag apo
    """
    from xfel_apps.catalog import queries

    with asked(url) as session:
        found = queries.runs(session, experiment, trial)
    found = [run for run in found if tag is None or tag in run.tags]
    if as_json:
        print_json(found)
        return
    columns = [
        "run",
        "state",
        "events#",
        "hits#",
        "hit rate#",
        "indexed#",
        "lattices#",
        "group",
        "tags",
    ]
    print_table(
        columns,
        [
            (
                run.name,
                run.state,
                run.n_events,
                run.n_hits if run.outcomes else None,
                percent(run.hit_rate),
                percent(run.indexed_rate),
                run.n_lattices or None,
                run.group,
                " ".join(run.tags),
            )
            for run in found
        ],
    )


def show(
    run: Annotated[str, typer.Argument(help="name of the run")],
    trial: InTrial,
    url: Url = URL,
    experiment: Name = EXPERIMENT,
    as_json: AsJson = False,
) -> None:
    """Say what a trial made of a run: how events ended, lattices, and why events failed.

    With --json every lattice too: cell, orientation, resolution.

    Example: xfelflow run show r0014 --trial 003
    """
    from xfel_apps.catalog import queries
    from xfel_apps.catalog.find import find_run
    from xfel_apps.containers.outcome import Outcome

    with asked(url) as session:
        name = find_run(session, experiment, run).name
        (found,) = [row for row in queries.runs(session, experiment, trial) if row.name == name]
        failed = queries.events(session, experiment, trial, run, outcome=Outcome.FAILED)
        lattices = queries.crystals(session, experiment, trial, run) if as_json else []
        mean = queries.lattices(session, experiment, trial).get(run)
    if as_json:
        print_json({"run": found, "failed": failed, "crystals": lattices})
        return
    rows: list[tuple[str, object]] = [
        ("tags", " ".join(found.tags)),
        ("group", found.group),
        ("state", found.state),
    ]
    rows += [(name.replace("_", " "), number) for name, number in found.outcomes.items()]
    if mean is not None:
        cell = " ".join(f"{value:.2f}" for value in mean.cell)
        rows += [("lattices", mean.n_lattices), ("mean cell", cell)]
        rows += [("mean resolution [Å]", f"{mean.d_min_ang:.2f}")]
    print_table(["run", name], [row for row in rows if row[1]])
    if failed:
        print()
        print_table(
            ["event#", "stage", "failed"], [(row.event, row.stage, row.error) for row in failed]
        )


def add(
    run: Annotated[str, typer.Argument(help="name of the run")],
    paths: Annotated[list[str], typer.Argument(help="raw files, folders, globs or lists of files")],
    replace: Annotated[
        bool, typer.Option("--replace", help="the run is there: these are its files from now on")
    ] = False,
    url: Url = URL,
    experiment: Name = EXPERIMENT,
) -> None:
    """Add a run with its raw files.

    Example: xfelflow run add r0014 '/data/exp1/r0014_*.h5'
    """
    from xfel_apps.catalog.edits import add_run

    files = [str(Path(path).absolute()) for path in paths]
    add_run(editor(url, experiment), run, files, replace=replace)


def tag_runs(
    runs: Runs,
    tags: Tags,
    url: Url = URL,
    experiment: Name = EXPERIMENT,
    revision: Revision = None,
    as_json: AsJson = False,
) -> None:
    """Put tags on a run, or on all runs of a pattern; datasets that include them become due.

    Example: xfelflow run tag r0014 apo cold
    """
    _edit("tag", runs, tags, editor(url, experiment), revision, as_json)


def untag_runs(
    runs: Runs,
    tags: Tags,
    url: Url = URL,
    experiment: Name = EXPERIMENT,
    revision: Revision = None,
    as_json: AsJson = False,
) -> None:
    """Take tags off a run, or off all runs of a pattern.

    Example: xfelflow run untag r0014 apo
    """
    _edit("untag", runs, tags, editor(url, experiment), revision, as_json)


def group_runs(
    name: Annotated[str, typer.Argument(help="name of the group")],
    first: Annotated[str, typer.Argument(help="first run")],
    last: Annotated[str, typer.Argument(help="last run, in order of the names")],
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="of section ingest; may be repeated"),
    ] = None,
    url: Url = URL,
    experiment: Name = EXPERIMENT,
) -> None:
    """Let runs share geometry and calibration that the trials' settings do not have.

    Example: xfelflow run group monday r0001 r0040 --set distance_mm=120.5
    --set mask=/exp/monday.npz
    """
    from xfel_apps.catalog.edits import new_group
    from xfel_apps.config import override

    new_group(editor(url, experiment), name, (first, last), override({}, assignments or ()))


def _edit(
    what: str, runs: str, tags: list[str], by: "Editor", revision: int | None, as_json: bool
) -> None:
    """Tag or untag all runs that are meant; runs that are so already are left as they are."""
    import fnmatch

    from xfel_apps.catalog import edits, queries

    with by.catalog.reading() as session:
        known = queries.runs(session, by.experiment)
    meant = [run for run in known if fnmatch.fnmatchcase(run.name, runs)]
    names = [run.name for run in meant] or [runs]
    has = {run.name: run.tags for run in meant}
    for name in names:
        seen = revision
        for tag in tags:
            if len(meant) > 1 and (tag in has[name]) == (what == "tag"):
                continue
            edit = edits.tag if what == "tag" else edits.untag
            after = edit(by, name, tag, seen)
            seen = after if seen is not None else None
    with by.catalog.reading() as session:
        changed = [run for run in queries.runs(session, by.experiment) if run.name in names]
    if as_json:
        print_json(changed)
    else:
        print_table(["run", "tags"], [(run.name, " ".join(run.tags)) for run in changed])
