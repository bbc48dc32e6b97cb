"""The page: figures and tables of a trial put into the template."""

import datetime
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jinja2

from xfel_apps import __version__
from xfel_apps.containers.manifest import write_text
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.spots import SPOTS
from xfel_apps.latency import curves as latency_curves
from xfel_apps.latency import draw as draw_latency
from xfel_apps.plots import (
    cells,
    histograms,
    orientation,
    powder,
    resolution,
    weather,
    weather_draw,
)
from xfel_apps.plots.factors import progress
from xfel_apps.plots.lattices import lattices
from xfel_apps.plots.merging import curves
from xfel_apps.plots.style import photo_uri, svg_uri
from xfel_apps.plots.timing import timings
from xfel_apps.report import factors, latency, merging, pixels, tables
from xfel_apps.report.pictures import pictures
from xfel_apps.report.tables import counts, percent
from xfel_apps.report.trial import MergedData, Trial

N_POWDERS = 4
PACKAGES = ("numpy", "h5py", "gemmi", "mpi4py", "pandas", "scipy", "hdf5plugin")


@dataclass(frozen=True)
class Drawing:
    """A figure of the page: `data:` address, what it shows, and how wide it may be."""

    uri: str
    caption: str
    wide: bool = False


def write_report(trial: Path, out: Path | None = None) -> Path:
    """Write the page on a trial and return where it is.

    Parameters
    ----------
    trial : folder of the trial (or of one run)
    out : page to write; default: `report.html` in the trial's folder
    """
    path = out or trial / "report.html"
    opened = Trial.open(trial)
    try:
        text = render(opened)
    finally:
        opened.close()
    write_text(path, text)
    return path


def render(trial: Trial) -> str:
    """Return the page as HTML with nothing outside it."""
    source = resources.files("xfel_apps.report").joinpath("report.html.j2").read_text()
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source).render(
        trial=trial,
        title=trial.folder.resolve().name,
        folder=trial.folder.resolve(),
        written=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        headlines=headlines(trial),
        runs=tables.run_table(trial),
        hit_drawings=hit_drawings(trial),
        crystal_drawings=crystal_drawings(trial),
        shots=pictures(trial),
        powders=powders(trial),
        merged=[merged_section(item) for item in trial.merged],
        dominating=tables.dominating(trial),
        times=tables.time_table(trial),
        rates=tables.rate_table(trial),
        weather=weather_drawing(trial),
        latency=latency_section(trial),
        reasons=tables.reason_table(trial),
        settings=settings_used(trial),
        versions=versions(trial),
    )


def headlines(trial: Trial) -> list[tuple[str, str]]:
    """Return the few numbers that sum the trial up: (number, what it is)."""
    found = counts(trial.outcomes["outcome"])
    hits = sum(found[item] for item in tables.HITS)
    indexed = found[Outcome.INDEXED] + found[Outcome.INTEGRATED]
    result = [
        (f"{len(trial.outcomes):,}", "shots"),
        (percent(hits, hits + found[Outcome.MISS]), "hit rate"),
        (percent(indexed, hits), "indexing rate"),
        (f"{len(trial.crystals):,}", "lattices"),
    ]
    if len(trial.crystals) and "n_reflections" in trial.crystals:
        result.append((f"{int(trial.crystals['n_reflections'].sum()):,}", "reflections"))
    if trial.merged:
        overall = trial.merged[0].manifest.statistics["overall"]
        result.append((f"{overall['d_min_ang']:.2f} Å", "merged to"))
        result.append((f"{overall['completeness']:.1%}".replace("%", " %"), "complete"))
        if overall["cc_half"] is not None:
            result.append((f"{overall['cc_half']:.3f}", "CC½"))
    return result


def hit_drawings(trial: Trial) -> list[Drawing]:
    """Return the histograms of spots and of their resolution."""
    shots = trial.shots(SPOTS)
    if not len(shots):
        return []
    looked_at = shots[shots["final"] != Outcome.FAILED]
    return [
        Drawing(
            svg_uri(histograms.spots_per_shot(looked_at)),
            "Spots found a shot, by what became of the shot.",
        ),
        Drawing(
            svg_uri(resolution.draw(resolution.resolution(trial.runs, lattices(trial.runs)))),
            "Resolution of hits (outermost believable spots) and of lattices.",
        ),
    ]


def _is_hit(shots: Any) -> Any:
    return shots["final"].isin([str(item) for item in tables.HITS])


def crystal_drawings(trial: Trial) -> list[Drawing]:
    """Return the figures on lattices: cell, orientation, lattices a shot, mosaicity."""
    found = lattices(trial.runs)
    if not len(found):
        return []
    cell, oriented = cells.cells(found), orientation.orientations(found)
    note = f" {cell.n_others} lattices of other space groups are left out." if cell.n_others else ""
    return [
        Drawing(
            svg_uri(cells.draw(cell)),
            f"Cell in {cell.space_group}; line: median; sd: half the width of the central 68 %. "
            f"Parameters that symmetry fixes are not drawn.{note}",
        ),
        Drawing(
            svg_uri(histograms.whole_numbers(found.per_shot, "lattices a shot")), "Lattices a shot."
        ),
        Drawing(svg_uri(orientation.draw(oriented.coverage)), orientation.caption(oriented)),
        Drawing(
            svg_uri(histograms.simple(found.mosaicity_deg, "mosaic spread, full width [°]")),
            "Mosaic spread of each lattice.",
        ),
    ]


def powders(trial: Trial) -> list[Drawing]:
    """Return the powder patterns of the runs with most hits."""
    made = [(run, found) for run in trial.runs if (found := powder.of_run(run)) is not None]
    made.sort(key=lambda item: (-item[1].n_hits, item[0].name))
    result = []
    for run, _ in made[:N_POWDERS]:
        data = powder.powder(run)
        result.append(Drawing(photo_uri(powder.draw(data), dpi=120), data.caption, wide=True))
    return result


def merged_section(item: MergedData) -> dict[str, Any]:
    """Return what the page says of one merged dataset."""
    statistics = item.manifest.statistics
    return {
        "name": item.name,
        "manifest": item.manifest,
        "table": merging.shell_table(statistics),
        "resolution": merging.resolution(statistics),
        "curves": Drawing(svg_uri(curves(statistics)), "Statistics by resolution.", True),
        "pixels": pixels_section(item),
        "factors": factors_section(item),
    }


def pixels_section(item: MergedData) -> dict[str, Any] | None:
    """Return what the page says of shots refined from merged data; None if none was."""
    rows = pixels.of_merged(item)
    if not len(rows):
        return None
    drawing = Drawing(svg_uri(pixels.draw(rows)), pixels.DRAWN, True)
    return {"table": pixels.table(rows), "drawing": drawing}


def factors_section(item: MergedData) -> dict[str, Any] | None:
    """Return what the page says of structure factors refined from merged data; None if none."""
    manifest = factors.of_merged(item)
    if manifest is None:
        return None
    return {
        "summary": factors.summary(manifest),
        "table": factors.table(manifest),
        "drawing": Drawing(svg_uri(progress(manifest)), factors.DRAWN, True),
    }


def weather_drawing(trial: Trial) -> Drawing | None:
    """Return the weather plot of all stages that work shot by shot."""
    times = timings(trial.runs)
    if not len(times):
        return None
    return Drawing(
        photo_uri(weather_draw.draw(weather.weather(times)), dpi=130),
        "Weather: each line is a shot on its rank, coloured by stage; what of it was not spent on "
        "the processor comes first. White is time without a shot: waiting, starting up or shut "
        "down; long lines are slow shots. Dotted: long idle time that was cut out.",
        wide=True,
    )


def latency_section(trial: Trial) -> dict[str, Any] | None:
    """Return what the page says of how soon results came; None without live processing."""
    found = latency.of_trial(trial)
    if found is None:
        return None
    caption = "Left: how many shots had their results after how long. Right: how that went."
    return {
        "table": latency.table(found),
        "drawing": Drawing(svg_uri(draw_latency(latency_curves(found))), caption, wide=True),
    }


def settings_used(trial: Trial) -> list[tuple[str, Mapping[str, Any], str]]:
    """Return (stage, settings, runs with it) for every different set of settings."""
    seen: dict[tuple[str, str], tuple[Mapping[str, Any], list[str]]] = {}
    for run in trial.runs:
        for manifest in run.manifests.values():
            key = manifest.stage, repr(sorted(manifest.settings.items()))
            seen.setdefault(key, (manifest.settings, []))[1].append(run.name)
    for item in trial.merged:
        seen["merge", item.name] = item.manifest.settings, [item.name]
    used = [(stage, values, ", ".join(runs)) for (stage, _), (values, runs) in seen.items()]
    return sorted(used, key=lambda item: ("ingest", *tables.STAGES, "merge").index(item[0]))


def versions(trial: Trial) -> list[tuple[str, str]]:
    """Return (what, version) of the code that made the products and of what it stands on."""
    made = {m.code_version for run in trial.runs for m in run.manifests.values()}
    result = [("xfelflow (products)", ", ".join(sorted(made))), ("xfelflow (report)", __version__)]
    result += [("Python", platform.python_version())]
    return result + [(name, metadata.version(name)) for name in PACKAGES]
