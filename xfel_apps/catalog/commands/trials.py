"""The verb `trial`: numbered, frozen sets of settings."""

import time
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
    asked,
    editor,
    group,
    print_json,
    print_table,
)

HELP = """Make, show and compare trials: numbered, frozen sets of settings.

Example: xfelflow trial new --from 003 --set index.tries=2
"""
Trial = Annotated[str, typer.Argument(help="name or number of the trial")]


def trial_app(guarded: Guard) -> typer.Typer:
    """Return the verb with its commands."""
    app = group(HELP)
    app.command("list")(guarded(list_trials))
    app.command("new")(guarded(new))
    app.command("show")(guarded(show))
    app.command("diff")(guarded(diff))
    return app


def list_trials(url: Url = URL, experiment: Name = EXPERIMENT, as_json: AsJson = False) -> None:
    """List the trials.

    Example: xfelflow trial list
    """
    from xfel_apps.catalog import queries

    with asked(url) as session:
        found = queries.trials(session, experiment)
    if as_json:
        print_json(found)
        return
    rows = [(t.name, t.parent, t.actor, _date(t.created_s), t.comment) for t in found]
    print_table(["trial", "from", "by", "made", "comment"], rows)


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def new(
    parent: Annotated[
        str | None, typer.Option("--from", help="trial to start from [default: the defaults]")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="experiment file (YAML) to take settings from")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="a setting; may be repeated"),
    ] = None,
    comment: Annotated[str, typer.Option(help="why")] = "",
    number: Annotated[
        int | None, typer.Option(min=0, help="refuse if the trial would get another number")
    ] = None,
    url: Url = URL,
    experiment: Name = EXPERIMENT,
    as_json: AsJson = False,
) -> None:
    """Make a trial: that of --from, or the defaults, with the settings of --config and --set.

    Example: xfelflow trial new --config experiment.yaml --comment "first settings"

    Example: xfelflow trial new --from 003 --set index.tries=2
    """
    from xfel_apps.catalog import queries
    from xfel_apps.catalog.edits import changed, new_trial
    from xfel_apps.catalog.parameters import Parameters, sections_of
    from xfel_apps.config import override, read_yaml

    by = editor(url, experiment)
    given = sections_of(read_yaml(config)) if config else {}
    if parent is not None:
        parameters = changed(by, parent, given, assignments or ())
    else:
        parameters = Parameters.checked(override(given, assignments or ()))
    name = new_trial(by, parameters, parent, comment, number)
    with by.catalog.reading() as session:
        made = queries.trial(session, experiment, name)
    if as_json:
        print_json(made)
    else:
        print(f"trial {name}")


def show(
    trial: Trial, url: Url = URL, experiment: Name = EXPERIMENT, as_json: AsJson = False
) -> None:
    """Show the settings of a trial, as an experiment file takes them.

    Example: xfelflow trial show 003 > trial-003.yaml
    """
    import yaml

    from xfel_apps.catalog import queries

    with asked(url) as session:
        found = queries.trial(session, experiment, trial)
    if as_json:
        print_json(found)
        return
    made = f"from {found.parent}" if found.parent else "from the defaults"
    print(f"# trial {found.name}, made {made} by {found.actor or 'sync'} {_date(found.created_s)}")
    if found.comment:
        print(f"# {found.comment}")
    print(yaml.safe_dump(dict(found.parameters), sort_keys=False).rstrip())


def diff(
    trial: Trial,
    other: Annotated[str, typer.Argument(help="name or number of the other trial")],
    url: Url = URL,
    experiment: Name = EXPERIMENT,
    as_json: AsJson = False,
) -> None:
    """Show the settings that two trials have differently.

    Example: xfelflow trial diff 002 003
    """
    from xfel_apps.catalog import queries

    with asked(url) as session:
        pair = [queries.trial(session, experiment, name) for name in (trial, other)]
    found = queries.differences(*pair)
    if as_json:
        print_json(found)
    else:
        rows = [(row.key, row.before, row.after) for row in found]
        print_table(["setting", pair[0].name, pair[1].name], rows)
