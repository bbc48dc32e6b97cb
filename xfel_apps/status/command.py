"""The verb `status` of the command line."""

from pathlib import Path
from typing import Annotated

import typer

from xfel_apps.catalog.commands.options import EXPERIMENT, AsJson, Name


def status(
    folder: Annotated[Path, typer.Argument(help="results, a trial or a run")] = Path("results"),
    live: Annotated[
        bool, typer.Option("--live", help="show it again and again; Ctrl-C leaves")
    ] = False,
    url: Annotated[
        str | None,
        typer.Option(
            "--catalog",
            envvar="XFELFLOW_CATALOG",
            metavar="URL",
            help="show its datasets and jobs too [default: catalog.db beside the results, if it "
            "is there]",
        ),
    ] = None,
    experiment: Name = EXPERIMENT,
    as_json: AsJson = False,
) -> None:
    """Say what is done, what is running and what failed; works while apps run.

    With a catalog: also which datasets are merged or due, and which jobs run or failed.

    Example: xfelflow status results --live
    """
    from xfel_apps.status.screen import Screen

    screen = Screen(folder, url, experiment)
    if as_json:
        print(screen.as_json())
    elif live:
        screen.show_until_stopped()
    else:
        screen.show()
