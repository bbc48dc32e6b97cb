"""The command `xfelflow plot`: one verb a plot."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="a run, a trial or all results")]
Out = Annotated[Path, typer.Option("-o", "--out", help="file to write: .png, .svg or .html")]

HELP = (
    "Draw a plot of runs from their containers alone: no database, no server, while they are "
    "processed or after.\n\nThe name of --out chooses: .png or .svg for a picture, .html for a "
    "page that can be zoomed and stands alone (4.5 MB, works offline). The report and the "
    "dashboard show the same plots.\n\nExample: `xfelflow plot weather results/000 --out w.html`"
)


def plot_app(guarded: Callable[[Callable[..., None]], Callable[..., None]]) -> typer.Typer:
    """Return the command and its subcommands.

    Parameters
    ----------
    guarded : turns expected errors of a command into one line on stderr
    """
    app = typer.Typer(rich_markup_mode="markdown", no_args_is_help=True, help=HELP)
    for command in (weather, rates, cells, orientation, resolution, latency, merge, powder):
        app.command()(guarded(command))
    return app


def weather(folder: Folder, out: Out = Path("weather.png")) -> None:
    """Draw which rank did what when, and say what cost time.

    A row a rank, a line a shot, coloured by stage; what of a shot's time was not spent on the
    processor (reading, waiting for the disk or a shared core) comes first, in pink. Blank is
    waiting for work. Numbers mark what stands out, and say it below:

    * I/O stall: half of the ranks stand still together
    * I/O or shared cores: shots are mostly off the processor
    * starved ranks, waiting for work, late start: ranks without shots
    * one slow shot: others may have waited for it

    They are printed too. `xfelflow view RUN SHOT` shows a slow shot.

    Example: xfelflow plot weather results/000/r0014 --out weather.html
    """
    from xfel_apps.containers.results import runs_below
    from xfel_apps.figures.files import checked, write
    from xfel_apps.plots import weather_draw
    from xfel_apps.plots.timing import timings
    from xfel_apps.plots.weather import weather as find

    checked(out)
    with runs_below(folder) as runs:
        data = find(timings(runs))
    notes = weather_draw.notes(data)
    write(data, out, (weather_draw.draw, weather_draw.chart), f"Weather of {folder}", notes)
    print("\n".join([str(out), *notes]))


def rates(folder: Folder, out: Out = Path("rates.png")) -> None:
    """Draw shots a second against time, and shares of hits, indexed and integrated shots.

    Above: how many shots a second each stage did, by the wall clock, long breaks cut out.
    Below: of blocks of shots in the order they were taken, how many were hit, indexed and
    integrated: a jet that drifts or a sample that changes shows here.

    Example: xfelflow plot rates results/000 --out rates.png
    """
    from xfel_apps.containers.results import runs_below
    from xfel_apps.figures.files import checked, write
    from xfel_apps.plots import rates as figure
    from xfel_apps.plots.timing import timings

    checked(out)
    with runs_below(folder) as runs:
        data = figure.rates(timings(runs))
    write(data, out, (figure.draw, figure.chart), f"Rates of {folder}")
    print(out)


def cells(folder: Folder, out: Out = Path("cells.png")) -> None:
    """Draw histograms of the unit cell, coloured by cluster.

    Two clusters are two isoforms or phases, or a wrong lattice: a cell twice too large, a smeared
    angle. Of the commonest space group; what symmetry fixes is not drawn. One cluster: cells that
    reach each other in steps of less than 1 %.

    Example: xfelflow plot cells results/000 --out cells.html
    """
    from xfel_apps.containers.results import runs_below
    from xfel_apps.figures.files import checked, write
    from xfel_apps.plots import cells as figure
    from xfel_apps.plots.lattices import lattices

    checked(out)
    with runs_below(folder) as runs:
        data = figure.cells(lattices(runs))
    write(data, out, (figure.draw, figure.chart), f"Cells of {folder} in {data.space_group}")
    print("\n".join([str(out), *figure.told(data)]))


def orientation(folder: Folder, out: Out = Path("orientation.png")) -> None:
    """Draw from which sides the crystals were seen: directions of the beam in them.

    A map of the upper half sphere with equal areas, c* up. Crystals that lie flat leave holes that
    no number of shots fills.

    Example: xfelflow plot orientation results/000 --out orientation.png
    """
    from xfel_apps.containers.results import runs_below
    from xfel_apps.figures.files import checked, write
    from xfel_apps.plots import orientation as figure
    from xfel_apps.plots.lattices import lattices

    checked(out)
    with runs_below(folder) as runs:
        data = figure.orientations(lattices(runs))
    title = f"Orientations of {folder}"
    write(data, out, (lambda d: figure.draw(d.coverage), figure.chart), title)
    print(f"{out}\n{figure.caption(data)}")


def resolution(folder: Folder, out: Out = Path("resolution.png")) -> None:
    """Draw how far out hits and lattices go: histograms of resolution.

    Example: xfelflow plot resolution results/000 --out resolution.png
    """
    from xfel_apps.containers.results import runs_below
    from xfel_apps.figures.files import checked, write
    from xfel_apps.plots import resolution as figure
    from xfel_apps.plots.lattices import lattices

    checked(out)
    with runs_below(folder) as runs:
        data = figure.resolution(runs, lattices(runs))
    write(data, out, (figure.draw, figure.chart), f"Resolution of {folder}")
    print(out)


def latency(folder: Folder, out: Out = Path("latency.png")) -> None:
    """Draw how long after its frame was complete a shot had its results, by stage.

    Left: how many shots after how long. Right: the median during the beam time. The numbers:
    xfelflow latency DIR.

    Example: xfelflow plot latency results/000/r0014 --out latency.html
    """
    from xfel_apps.figures.files import checked, write
    from xfel_apps.latency import chart, curves, draw, latencies

    checked(out)
    data = curves(latencies(folder))
    write(data, out, (draw, chart), f"Latency of {folder}")
    print(out)


def merge(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a dataset, or a trial")],
    out: Out = Path("merge.png"),
) -> None:
    """Draw merged data against resolution, by version: is more data needed.

    CC1/2, Rsplit, completeness, multiplicity and I/sigma, a curve a version, and CC1/2 overall
    against the number of crystals.

    Example: xfelflow plot merge results/000/datasets/lysozyme --out merge.html
    """
    from xfel_apps.figures.files import checked, write
    from xfel_apps.plots import versions as figure

    checked(out)
    data = figure.versions(figure.merged_below(folder))
    write(data, out, (figure.draw, figure.chart), f"Merged data of {folder}")
    print(out)


def powder(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="folder of a run")],
    out: Out = Path("powder.png"),
) -> None:
    """Draw mean and highest value of every pixel over the hits, panels where they lie.

    Shows whether the geometry is right (rings are round about the beam), ice, salt, shadows and
    bad pixels.

    Example: xfelflow plot powder results/000/r0014 --out powder.html
    """
    from xfel_apps.containers.results import runs_below
    from xfel_apps.errors import ContainerError
    from xfel_apps.figures.files import checked, write
    from xfel_apps.plots import powder as figure

    checked(out)
    with runs_below(run) as runs:
        if len(runs) > 1:
            names = ", ".join(item.name for item in runs[:6])
            raise ContainerError(f"{run}: holds several runs ({names}); give one of them")
        data = figure.powder(runs[0])
    write(data, out, (figure.draw, figure.chart), data.caption)
    print(out)
