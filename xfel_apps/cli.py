"""The command `xfelflow`: one verb a stage, and what people reach for first.

Commands import what they need when they run, so that `--help` is instant.
"""

import json
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer

from xfel_apps import __version__
from xfel_apps.app import EXIT_AGAIN, EXIT_CODES, EXIT_ERROR
from xfel_apps.catalog.commands import VERBS as CATALOG_VERBS
from xfel_apps.dashboard.command import dashboard_app
from xfel_apps.errors import StoppedError, XfelError
from xfel_apps.figures.command import plot_app
from xfel_apps.live.command import live
from xfel_apps.status.command import status

P = ParamSpec("P")

app = typer.Typer(
    name="xfelflow",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Raw frames of an X-ray free-electron laser to structure factors.\n\n"
    "First steps: `xfelflow demo`, or on your own images\n\n"
    '`xfelflow process IMAGES --cell "79.2 79.2 38 90 90 90" --space-group P43212 --out DIR`\n\n'
    f"{EXIT_CODES}; 2 the command line is wrong.",
)

Workers = Annotated[int, typer.Option("-n", "--ranks", min=1, help="MPI ranks that do the work")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="a setting; may be repeated"),
]
Config = Annotated[
    Path | None, typer.Option("--config", help="experiment file (YAML) to take settings from")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="folder of a run's products")]
Cell = Annotated[
    str | None,
    typer.Option(help='target cell, "a b c alpha beta gamma" in Angstrom and degrees'),
]
SpaceGroup = Annotated[str | None, typer.Option(help="Hermann-Mauguin symbol, such as P43212")]
DMin = Annotated[float | None, typer.Option(help="resolution limit for merging [Angstrom]")]


class TableName(StrEnum):
    """Products that can be shown as a table."""

    EVENTS = "events"
    SPOTS = "spots"
    CRYSTALS = "crystals"
    REFLECTIONS = "reflections"


class Target(StrEnum):
    """Programs that results can be written for."""

    DIALS = "dials"
    CRYSTFEL = "crystfel"


CORES = len(os.sched_getaffinity(0))


def expected_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Turn an expected error into one line on stderr and its exit code."""

    @wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        from xfel_apps.launch import StageFailedError

        try:
            command(*args, **kwargs)
        except StoppedError as err:
            print(f"stopped: {err}", file=sys.stderr)
            raise typer.Exit(EXIT_AGAIN) from None
        except KeyboardInterrupt:
            print("stopped: run the same command to go on", file=sys.stderr)
            raise typer.Exit(EXIT_AGAIN) from None
        except StageFailedError:
            raise typer.Exit(EXIT_ERROR) from None
        except XfelError as err:
            print(f"error: {err}", file=sys.stderr)
            raise typer.Exit(EXIT_ERROR) from None

    return guarded


def _version(wanted: bool) -> None:
    if wanted:
        print(f"xfelflow {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="say which version")
    ] = False,
) -> None:
    """Take the options that come before a verb."""


def _settings(
    stage: str, config: Path | None, assignments: list[str] | None, extra: dict[str, Any]
) -> list[str]:
    """Return the app's arguments that carry a stage's settings, checked before any work."""
    from xfel_apps.config import override, read_yaml
    from xfel_apps.experiment import Experiment

    data = override(read_yaml(config) if config else {}, assignments or [])
    data.setdefault(stage, {}).update(extra)
    experiment = Experiment.checked(data)
    arguments = ["--settings", experiment.section(stage).canonical()]
    if stage in ("spotfind", "index", "integrate", "diffbragg"):
        arguments += ["--worker", experiment.worker.canonical()]
    return arguments


def _given(**values: Any) -> dict[str, Any]:
    """Return the options that the user gave."""
    return {name: value for name, value in values.items() if value is not None}


def _per_shot(stage: str, run: Path, ranks: int, settings: list[str]) -> None:
    """Run a per-shot stage on a run's folder and say what came out."""
    from xfel_apps.launch import launch
    from xfel_apps.process.chain import PER_SHOT

    inputs, output = next((i, o) for name, i, o in PER_SHOT if name == stage)
    files = [x for name in (*inputs, output) for x in (f"--{name}", str(run / f"{name}.json"))]
    launch(stage, [*files, *settings], ranks)


@app.command()
@expected_errors
def process(
    paths: Annotated[list[str], typer.Argument(help="raw files, folders, globs or lists of files")],
    out: Annotated[Path, typer.Option(help="folder for everything that is written")],
    cell: Cell = None,
    space_group: SpaceGroup = None,
    ranks: Workers = CORES,
    merge: Annotated[bool, typer.Option("--merge", help="merge to structure factors")] = False,
    d_min: DMin = None,
    geometry: Annotated[
        Path | None, typer.Option(help="CrystFEL .geom for images without geometry")
    ] = None,
    config: Config = None,
    assignments: Sets = None,
) -> None:
    """Take any images through every stage in one go, without a configuration file.

    Without --cell the cell is found from the images. What is written is what the workflow
    writes, with the settings in DIR/experiment.yaml.

    Example: xfelflow process run14/*.cbf --cell "93.2 93.2 130.7 90 90 120"
    --space-group P6122 --out thermolysin --merge --d-min 2.0
    """
    from xfel_apps.config import read_yaml
    from xfel_apps.process import Request
    from xfel_apps.process import process as run_stages

    settings = read_yaml(config) if config else {}
    for section, values in {
        "index": _given(cell=cell, space_group=space_group),
        "merge": _given(d_min_ang=d_min),
        "ingest": _given(geometry=str(geometry.resolve()) if geometry else None),
    }.items():
        settings[section] = {**(settings.get(section) or {}), **values}
    request = Request(paths, out, ranks, merge, settings, assignments or ())
    run_stages(request)


@app.command()
@expected_errors
def ingest(
    paths: Annotated[list[str], typer.Argument(help="raw files, folders, globs or lists of files")],
    out: Annotated[Path, typer.Option(help="folder of the run; events.json goes there")],
    run: Annotated[str, typer.Option(help="name of the run [default: the folder's]")] = "",
    config: Config = None,
    assignments: Sets = None,
) -> None:
    """List the shots of a run: where each frame lies, its wavelength and scalars.

    Example: xfelflow ingest data/run14 --out results/000/r0014
    --set 'ingest.filter=pulse_energy_mj > 0.5 and laser_on'
    """
    from xfel_apps.launch import launch

    files = [*paths, "--run", run or out.resolve().name, "--events", str(out / "events.json")]
    launch("ingest", [*files, *_settings("ingest", config, assignments, {})])


@app.command()
@expected_errors
def spotfind(
    run: RunFolder, ranks: Workers = CORES, config: Config = None, assignments: Sets = None
) -> None:
    """Find Bragg spots on every shot of a run and tell hits from misses.

    Example: xfelflow spotfind results/000/r0014 -n 8 --set spotfind.min_spots=15
    """
    _per_shot("spotfind", run, ranks, _settings("spotfind", config, assignments, {}))


@app.command()
@expected_errors
def index(
    run: RunFolder,
    cell: Cell = None,
    space_group: SpaceGroup = None,
    ranks: Workers = CORES,
    config: Config = None,
    assignments: Sets = None,
) -> None:
    """Find the lattices of a run's hits and refine orientation and cell.

    Example: xfelflow index results/000/r0014 --cell "79.2 79.2 38 90 90 90" --space-group P43212
    """
    extra = _given(cell=cell, space_group=space_group)
    _per_shot("index", run, ranks, _settings("index", config, assignments, extra))


@app.command()
@expected_errors
def integrate(
    run: RunFolder, ranks: Workers = CORES, config: Config = None, assignments: Sets = None
) -> None:
    """Predict and integrate the reflections of a run's lattices.

    Example: xfelflow integrate results/000/r0014
    """
    _per_shot("integrate", run, ranks, _settings("integrate", config, assignments, {}))


@app.command()
@expected_errors
def merge(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="folders of runs")],
    out: Annotated[Path, typer.Option(help="folder for merged.mtz, merged.json and plots")],
    onto: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="folder of merged data: add to them the crystals that they lack"
        ),
    ] = None,
    d_min: DMin = None,
    ranks: Workers = CORES,
    config: Config = None,
    assignments: Sets = None,
) -> None:
    """Scale and merge the reflections of runs to structure factors.

    Example: xfelflow merge results/000/r0014 results/000/r0015 --out merged --d-min 2.3

    One run more, for the work of that run: xfelflow merge results/000/r0016 --onto merged
    --out more --d-min 2.3
    """
    from xfel_apps.launch import launch

    settings = _settings("merge", config, assignments, _given(d_min_ang=d_min))
    inputs = [str(run / "reflections.json") for run in runs]
    files = ["--reflections", *inputs, "--merged", str(out / "merged.json")]
    files += ["--onto", str(onto / "merged.json")] if onto else []
    launch("merge", [*files, *settings], ranks, hands_out=False)


@app.command()
@expected_errors
def refgeom(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="folders of indexed runs")],
    out: Annotated[Path, typer.Option(help="folder for geometry.json, .geom, .nxs and plot")],
    ranks: Workers = CORES,
    config: Config = None,
    assignments: Sets = None,
) -> None:
    """Refine where the detector's panels lie, and its distance, from the crystals of runs.

    Index again with it: a new trial with ingest.panels=OUT/geometry.json.

    Example: xfelflow refgeom results/000/r0014 results/000/r0015 --out results/000/geometry/all
    """
    from xfel_apps.launch import launch

    settings = _settings("refgeom", config, assignments, {})
    inputs = [str(run / "crystals.json") for run in runs]
    files = ["--crystals", *inputs, "--geometry", str(out / "geometry.json")]
    launch("refgeom", [*files, *settings], ranks, hands_out=False)


@app.command("refine-shots")
@expected_errors
def refine_shots(
    run: RunFolder,
    merged: Annotated[Path, typer.Option(help="folder of the merged data: merged.json, .mtz")],
    out: Annotated[
        Path | None, typer.Option(help="manifest to write [default: RUN/refined.json]")
    ] = None,
    ranks: Workers = CORES,
    config: Config = None,
    assignments: Sets = None,
) -> None:
    """Refine each shot's lattices against every pixel near a spot (diffBragg, stage 1).

    Intensities start from the merged data. Settings: section diffbragg.

    Example: xfelflow refine-shots results/000/r0014 --merged results/000/datasets/all/v001
    """
    from xfel_apps.launch import launch

    settings = _settings("diffbragg", config, assignments, {})
    names = ("events", "spots", "crystals", "reflections")
    files = [x for name in names for x in (f"--{name}", str(run / f"{name}.json"))]
    files += ["--merged", str(merged / "merged.json")]
    launch("diffbragg", [*files, "--refined", str(out or run / "refined.json"), *settings], ranks)


@app.command("refine-structure-factors")
@expected_errors
def refine_structure_factors(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="folders of refined runs")],
    merged: Annotated[Path, typer.Option(help="folder of the merged data to start from")],
    out: Annotated[Path, typer.Option(help="folder for factors.json, refined.mtz and plot")],
    reference: Annotated[
        Path | None, typer.Option(help="MTZ or mmCIF to compare with; never refined to")
    ] = None,
    ranks: Workers = CORES,
    config: Config = None,
    assignments: Sets = None,
) -> None:
    """Refine structure factors against the pixels of all shots together (diffBragg, stage 2).

    Runs are those that refine-shots went through. Settings: section factors.

    Example: xfelflow refine-structure-factors results/000/r0014 --merged
    results/000/datasets/all/v001 --out results/000/datasets/all/v001
    """
    from xfel_apps.launch import launch

    given = {} if reference is None else {"reference": str(reference)}
    settings = _settings("factors", config, assignments, given)
    files = ["--merged", str(merged / "merged.json"), "--factors", str(out / "factors.json")]
    for name in ("events", "refined"):
        files += [f"--{name}", *(str(run / f"{name}.json") for run in runs)]
    launch("factors", [*files, *settings], ranks, hands_out=False)


@app.command()
@expected_errors
def simulate(
    out: Annotated[Path, typer.Option(help="folder to write")],
    model: Annotated[
        Path | None,
        typer.Argument(help="PDB, mmCIF or MTZ file [default: a made-up protein]"),
    ] = None,
    shots: Annotated[int | None, typer.Option(min=1, help="shots of the run")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="equal seeds give equal runs")] = None,
    ranks: Workers = CORES,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="a setting; may be repeated"),
    ] = None,
) -> None:
    """Write a simulated NXmx run with its truth beside it.

    Example: xfelflow simulate 2tli.pdb --out tli --shots 500 --set "detector.modules=[4, 2]"
    """
    from xfel_apps.launch import launch

    options = _given(shots=shots, seed=seed)
    arguments = [str(model)] if model else []
    arguments += ["--out", str(out), *(f"--{name}={value}" for name, value in options.items())]
    arguments += [f"--set={text}" for text in assignments or ()]
    launch("simulate", arguments, ranks, hands_out=False)


@app.command()
@expected_errors
def replay(
    run: Annotated[Path, typer.Argument(help="finished NXmx file or master")],
    out: Annotated[Path, typer.Option(help="file to write; it grows while this runs")],
    rate_hz: Annotated[float, typer.Option(min=0.001, help="frames a second")] = 120.0,
    shots: Annotated[
        int | None, typer.Option(min=1, help="frames to write, again from the first if need be")
    ] = None,
    shots_per_file: Annotated[
        int | None, typer.Option(min=1, help="a new file, OUT_000001 ..., after so many frames")
    ] = None,
) -> None:
    """Write a run again, frame by frame at the rate it was taken, for live processing to look at.

    Example: xfelflow replay lyso/run_master.h5 --out raw/r0001.h5 --rate-hz 120
    """
    from xfel_apps.simulate.replay import ReplayPlan
    from xfel_apps.simulate.replay import replay as write_again

    print(write_again(run, out, ReplayPlan(rate_hz, shots, shots_per_file)))


@app.command()
@expected_errors
def report(
    trial: Annotated[Path, typer.Argument(help="folder of a trial, or --out of process")],
    out: Annotated[Path | None, typer.Option(help="[default: TRIAL/report.html]")] = None,
) -> None:
    """Write the self-contained report of a trial.

    Example: xfelflow report results/000
    """
    from xfel_apps.report import write_report

    print(write_report(trial, out))


@app.command()
@expected_errors
def view(
    run: RunFolder,
    shot: Annotated[int, typer.Argument(help="number of the event, from 0")],
    out: Annotated[Path | None, typer.Option(help="[default: RUN-shot-SHOT.png]")] = None,
    region: Annotated[
        str | None, typer.Option(metavar="X,Y,WIDTH", help="draw only this square [mm from beam]")
    ] = None,
    contrast: Annotated[
        float, typer.Option(min=50.0, max=100.0, help="percentile of the pixels that is black")
    ] = 99.9,
    marks: Annotated[bool, typer.Option(help="draw found spots and predictions")] = True,
) -> None:
    """Draw one shot with its spots and predictions, and close-ups of a few spots.

    Example: xfelflow view results/000/r0014 12 --out shot12.png --region 10,-20,5
    """
    from xfel_apps.view import Look, draw_shot, region_mm

    square = region_mm(region) if region else None
    look = Look(percentile=contrast, region_mm=square, marks=marks, predictions=marks)
    print(draw_shot(run, shot, out, look))


app.command()(expected_errors(status))


@app.command()
@expected_errors
def latency(
    folder: Annotated[Path, typer.Argument(help="results, a trial or a run")] = Path("results"),
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png|svg", help="draw them as well")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="quantiles as JSON")] = False,
) -> None:
    """Say how long after its frame was complete a shot had its results; by stage and run.

    Example: xfelflow latency results/000 --plot latency.png
    """
    from rich.console import Console

    from xfel_apps.latency import as_json as quantiles
    from xfel_apps.latency import latencies, save, show_latency, summarize

    found = latencies(folder)
    if plot is not None:
        save(found, plot)
    if as_json:
        print(json.dumps(quantiles(summarize(found)), indent=1))
    else:
        Console().print(show_latency(found))


@app.command()
@expected_errors
def table(
    product: Annotated[TableName, typer.Argument(help="which product")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a run, trial or --out folder")],
    as_csv: Annotated[bool, typer.Option("--csv", help="comma-separated values")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="a JSON list of rows")] = False,
) -> None:
    """Print any product as a table.

    Example: xfelflow table crystals results/000 --csv > crystals.csv
    """
    from xfel_apps.table import read_table, to_csv, to_json, to_text

    write = to_csv if as_csv else to_json if as_json else to_text
    print(write(read_table(folder, product.value)).rstrip("\n"))


@app.command("export")
@expected_errors
def export_runs(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="runs, trials or --out folders")
    ],
    to: Annotated[Target, typer.Option(help="the program that is to go on")],
    out: Annotated[Path, typer.Option("-o", "--out", help="dials: a folder; crystfel: X.stream")],
) -> None:
    """Write results as DIALS (.expt, .refl) or CrystFEL (.stream, .geom) would, to go on there.

    Example: xfelflow export results/000/r0014 --to dials --out r0014-dials

    Example: xfelflow export results/000 --to crystfel --out all.stream
    """
    from xfel_apps.interchange import export

    for path in export(folders, to.value, out):
        print(path)


@app.command("import")
@expected_errors
def import_files(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="a .stream, or .expt files with their .refl"),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="folder of the run to write")],
    space_group: Annotated[
        str | None, typer.Option(help="of a stream's crystals, such as P43212")
    ] = None,
) -> None:
    """Make a run from files of DIALS or CrystFEL, from which the next stage goes on.

    Example: xfelflow import integrated.expt integrated.refl --out theirs
    then xfelflow merge theirs --out theirs/merged --d-min 2.3

    Example: xfelflow import peaks.stream --out peaks
    then xfelflow index peaks --cell "79.2 79.2 38 90 90 90" --space-group P43212
    """
    from xfel_apps.interchange import load

    for manifest in load(files, out, space_group):
        print(manifest.summary())


@app.command()
@expected_errors
def plan(
    start_from: Annotated[
        str, typer.Option("--preset", help="default, p175, p175-filled or p175-gives-way")
    ] = "default",
    nodes: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="sizes of the reservation to compare")
    ] = None,
    within: Annotated[
        float | None, typer.Option("--result-within-min", help="a run should be done by then [min]")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML file with settings that differ from the preset")
    ] = None,
    assignments: Sets = None,
    plot: Annotated[
        Path | None, typer.Option(help="draw waits and node time to this .png or .svg file")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object instead")] = False,
) -> None:
    """Say how many nodes to reserve for a shift, by simulating such shifts.

    Runs come as beam time brings them, changes of sample and new parameters included; what is left
    idle is filled with preemptible work. What the shots cost is to be measured (defaults: make
    bench-stages). Settings and their units: docs/reference/settings.md, section plan.

    Example: xfelflow plan --nodes 4,8,16,32,64 --result-within-min 15 --set beam.shots_hz=500
    --set work.hit_core_s=3.5 --set reservation.cores_per_node=128 --plot plan.png

    Example: xfelflow plan --preset p175 (22 % of the node time used, as published)
    """
    from xfel_apps.plan import PlanRequest, make_plan

    request = PlanRequest(start_from, nodes, within, config, assignments or ())
    make_plan(request, plot, as_json)


app.command()(expected_errors(live))
app.add_typer(dashboard_app(expected_errors), name="dashboard")
for verb, make in CATALOG_VERBS.items():
    app.add_typer(make(expected_errors), name=verb)
app.add_typer(plot_app(expected_errors), name="plot")


@app.command()
@expected_errors
def demo(
    out: Annotated[Path, typer.Option(help="folder for everything that is written")] = Path("demo"),
    shots: Annotated[int, typer.Option(min=20, help="shots to simulate")] = 200,
    ranks: Workers = CORES,
) -> None:
    """Simulate a run, take it through the whole workflow and compare with the truth.

    Example: xfelflow demo --shots 100
    """
    from xfel_apps.demo import run_demo

    run_demo(out, shots, ranks, print)


@app.command("pack-env")
@expected_errors
def pack_environment(
    out: Annotated[Path, typer.Option(help="archive to write: .tar.zst, .tar.lz4 or .tar")] = Path(
        "environment.tar.zst"
    ),
    node_folder: Annotated[
        str, typer.Option(help="folder on each node's own disk or memory; may name $USER")
    ] = "/tmp",
    package: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="pack this importable package as well; repeatable"),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="pack nothing; say what starting Python costs here")
    ] = False,
) -> None:
    """Pack the Python environment in one archive that jobs run from, on their nodes' own disks.

    Thousands of processes that open thousands of files each make a shared file system slow. Beside
    the archive comes a script: a batch script that says `source environment.sh || exit 1` copies
    the archive to all nodes (sbcast), unpacks it there and has its Python first on PATH.
    What xfelflow needs is packed with the interpreter; packages that are installed from a checkout
    (make install) as they are now: pack again after a change.

    Example: xfelflow pack-env --out $SCRATCH/environment.tar.zst

    Compare, in a job, before and after `source`: srun xfelflow pack-env --measure
    """
    from xfel_apps.pack_env import measure_start, pack_env

    if measure:
        print(measure_start().summary())
    else:
        print(pack_env(out, node_folder, package or ()).summary())


def main() -> None:
    """Run the command line."""
    app()
