"""Merged data by version: statistics against resolution, and how they grew with the crystals."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xfel_apps.containers.merged import MergedManifest
from xfel_apps.errors import ContainerError
from xfel_apps.plots.chart import Chart, grid_of, heading, numbers
from xfel_apps.plots.merging import Shells, shells
from xfel_apps.plots.style import BLUE, figure, grid, styled

PANELS = (
    ("CC½", "cc_half"),
    ("Rsplit", "r_split"),
    ("completeness", "completeness"),
    ("observations a reflection", "multiplicity"),
    ("mean I/σ of merged", "mean_i_over_sigma"),
)
MOST_VERSIONS = 8
"""Of more versions the first, the last and some between are drawn."""


@dataclass(frozen=True)
class Version:
    """One version of one dataset.

    Attributes
    ----------
    name : dataset and version
    n_crystals : merged in it
    shells : its statistics by shell
    cc_half, cc_star : overall; NaN where undefined
    """

    name: str
    n_crystals: int
    shells: Shells
    cc_half: float
    cc_star: float


@dataclass(frozen=True)
class Versions:
    """Versions of datasets in order of making.

    Attributes
    ----------
    all : every version
    drawn : those whose curves are drawn
    """

    all: tuple[Version, ...]
    drawn: tuple[Version, ...]

    @property
    def n_crystals(self) -> NDArray[np.float64]:
        """Crystals in each version (n,)."""
        return np.array([item.n_crystals for item in self.all], dtype=float)


def versions(manifests: Sequence[tuple[str, MergedManifest]]) -> Versions:
    """Return versions as they are drawn, from (name, manifest) of each in order."""
    if not manifests:
        raise ContainerError("nothing has been merged yet; run `xfelflow merge` (or the workflow)")
    found = []
    for name, manifest in manifests:
        overall = manifest.statistics["overall"]
        halves = (_known(overall.get(key)) for key in ("cc_half", "cc_star"))
        n_crystals = manifest.n_crystals
        found.append(Version(name, n_crystals, shells(manifest.statistics), *halves))
    chosen = np.unique(np.linspace(0, len(found) - 1, MOST_VERSIONS).round().astype(int))
    return Versions(tuple(found), tuple(found[i] for i in chosen))


def _known(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def merged_below(folder: Path) -> list[tuple[str, MergedManifest]]:
    """Return (name, manifest) of the versions in a dataset, a trial, or results, in order."""
    if not folder.is_dir():
        raise ContainerError(f"{folder}: no such folder; give a dataset, a trial or merged data")
    patterns = ["merged.json", "v*/merged.json", "datasets/*/v*/merged.json"]
    patterns += ["*/datasets/*/v*/merged.json"]
    paths = [path for pattern in patterns for path in folder.glob(pattern)]
    paths.sort(key=lambda path: (path.parents[1], _number(path.parent.name)))
    if not paths:
        raise ContainerError(f"{folder}: no merged data here; run `xfelflow merge` first")
    several = len({path.parents[1] for path in paths}) > 1
    names = [(path.parents[1].name + " ") * several + path.parent.name for path in paths]
    return [(name, MergedManifest.read(path)) for name, path in zip(names, paths, strict=True)]


def _number(version: str) -> int:
    return int(version[1:]) if version[1:].isdecimal() else 0


def _colours(n: int) -> list[str]:
    """Return colours from light to dark, the last version the darkest."""
    if n == 1:
        return [BLUE]
    return [to_hex(mpl.colormaps["viridis_r"](x)) for x in np.linspace(0.12, 0.95, n)]


@styled
def draw(data: Versions) -> Figure:
    """Return the curves of each version, and CC1/2 against the number of crystals."""
    result = figure(10.2, 5.2)
    panels = result.subplots(2, 3).ravel()
    for axes, (title, key) in zip(panels, PANELS, strict=False):
        for item, colour in zip(data.drawn, _colours(len(data.drawn)), strict=True):
            style = {"markersize": 2.5, "color": colour, "label": item.name}
            axes.plot(item.shells.middle_invang2, item.shells.values[key], "o-", **style)
        axes.set_xticks(*data.drawn[-1].shells.ticks)
        axes.set_xlabel("d [Å]")
        axes.set_title(title)
        axes.set_ylim(bottom=0.0, top=1.03 if key in ("cc_half", "completeness") else None)
        grid(axes)
    _growth(panels[-1], data)
    if len(data.drawn) > 1:
        handles, labels = panels[0].get_legend_handles_labels()
        result.legend(handles, labels, loc="outside upper left", ncols=8)
    return result


def _growth(axes: Axes, data: Versions) -> None:
    cc_half = [item.cc_half for item in data.all]
    axes.plot(data.n_crystals, cc_half, "o", markersize=4, color=BLUE)
    axes.set_ylim(0.0, 1.03)
    axes.set_xlim(0, 1.08 * data.n_crystals.max())
    axes.set_title("CC½ overall")
    axes.set_xlabel("crystals")
    axes.locator_params(axis="x", nbins=5)
    grid(axes)


def chart(data: Versions) -> Chart:
    """Return the same for a browser."""
    traces: list[Chart] = []
    axes = grid_of(len(PANELS) + 1, 3)
    places, texts = data.drawn[-1].shells.ticks
    for place, (_, key) in enumerate(PANELS):
        number = "" if place == 0 else str(place + 1)
        for item, colour in zip(data.drawn, _colours(len(data.drawn)), strict=True):
            found = item.shells
            d_ang = [f"{middle**-0.5:.2f} Å" for middle in found.middle_invang2]
            traces.append(
                {"type": "scatter", "mode": "lines+markers", "name": item.name, "text": d_ang}
                | {"x": numbers(found.middle_invang2), "y": numbers(found.values[key], 4)}
                | {"line": {"color": colour}, "marker": {"size": 4}, "legendgroup": item.name}
                | {"xaxis": f"x{number}", "yaxis": f"y{number}", "showlegend": place == 0}
                | {"hovertemplate": "%{text}: %{y}"}
            )
        axes[f"xaxis{number}"] |= {"tickvals": places, "ticktext": texts}
        axes[f"xaxis{number}"] |= {"title": {"text": "d [Å]"}}
        axes[f"yaxis{number}"] |= {"rangemode": "tozero"}
    last = len(PANELS) + 1
    traces.append(
        {"type": "scatter", "mode": "markers", "showlegend": False, "hoverinfo": "text+x+y"}
        | {"x": numbers(data.n_crystals), "y": numbers([item.cc_half for item in data.all])}
        | {"text": [item.name for item in data.all], "marker": {"size": 8, "color": BLUE}}
        | {"xaxis": f"x{last}", "yaxis": f"y{last}"}
    )
    axes[f"xaxis{last}"] |= {"title": {"text": "crystals"}, "rangemode": "tozero"}
    axes[f"yaxis{last}"] |= {"range": [0, 1.03]}
    titles = [title for title, _ in PANELS] + ["CC½ overall"]
    notes = [heading(title, place) for place, title in enumerate(titles)]
    legend = {"orientation": "h", "y": 1.07, "yanchor": "bottom", "x": 0}
    return {"data": traces, "layout": {**axes, "annotations": notes, "legend": legend}}
