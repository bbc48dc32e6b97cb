"""The verb `dashboard` of the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

Results = Annotated[Path, typer.Option(help="folder of all trials' results")]


def dashboard_app(guarded: Callable[[Callable[..., None]], Callable[..., None]]) -> typer.Typer:
    """Return the command and its subcommand.

    Parameters
    ----------
    guarded : turns expected errors of a command into one line on stderr
    """
    app = typer.Typer(rich_markup_mode="markdown")
    app.callback(invoke_without_command=True)(guarded(serve))
    app.command()(guarded(token))
    return app


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="port; 0: a free one")] = 8765,
    results: Results = Path("results"),
    catalog: Annotated[
        str,
        typer.Option(
            metavar="URL",
            envvar="XFELFLOW_CATALOG",
            help="of the catalog [default: catalog.db beside the results]",
        ),
    ] = "",
    experiment: Annotated[
        str,
        typer.Option(
            envvar="XFELFLOW_EXPERIMENT",
            help="in the catalog [default: that with these results, or the only one]",
        ),
    ] = "",
    follow: Annotated[
        bool, typer.Option(help="bring what appears in the results into the catalog meanwhile")
    ] = True,
    cores: Annotated[
        int, typer.Option(min=1, help="cores of this machine for each job started from a page")
    ] = 2,
    profile: Annotated[
        str, typer.Option(help="Snakemake profile of those jobs: local, slurm, ... or a folder")
    ] = "local",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="a name that browsers call this machine by; repeatable"),
    ] = None,
) -> None:
    """Serve the control room's web page: runs, rates, trials, datasets, jobs, live.

    Who opens it may look; who has a token (`xfelflow dashboard token`) may change tags, trials,
    datasets and jobs. It listens on this machine only: from elsewhere, forward its port
    (`ssh -L 8765:localhost:8765 HOST`).

    Example: xfelflow dashboard --results results
    """
    if context.invoked_subcommand is not None:
        return
    from xfel_apps.dashboard.run import run_server
    from xfel_apps.dashboard.settings import DashboardSettings

    given = {"host": host, "port": port, "results": results, "catalog": catalog}
    given |= {"cores": cores, "profile": profile, "follow": follow}
    given |= {"experiment": experiment, "hosts": tuple(allow_host or ())}
    run_server(DashboardSettings.checked(given))


def token(
    results: Results = Path("results"),
    name: Annotated[
        str | None, typer.Option(help="whose it is, for the list of changes [default: you]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="file to write [default: ~/.config/xfelflow/dashboard-NAME.token]"),
    ] = None,
) -> None:
    """Make a token that allows changes, and say which file (of mode 600) it is in.

    The server keeps its hash only. A token that NAME had before is no longer taken.

    Example: xfelflow dashboard token --results results --name alice
    """
    import getpass

    from xfel_apps.dashboard.tokens import make_token

    print(make_token(results, name or getpass.getuser(), out))
