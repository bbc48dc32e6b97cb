"""Unit cells of lattices: histograms by cluster, and their points to be picked."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xfel_apps.errors import ContainerError
from xfel_apps.plots.chart import Chart, grid_of, heading, numbers
from xfel_apps.plots.clusters import cluster
from xfel_apps.plots.histograms import core, fixed_by_symmetry, spread
from xfel_apps.plots.lattices import Lattices
from xfel_apps.plots.style import BLUE, FAINT, GREEN, INK, ORANGE, PINK, RED, figure, grid, styled

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

NAMES = (("a", "Å"), ("b", "Å"), ("c", "Å"), ("α", "°"), ("β", "°"), ("γ", "°"))
COLOURS = (BLUE, ORANGE, GREEN, PINK, RED, "#56b4e9")
NO_CLUSTER = "#9a9a9a"
N_BINS = 40
MOST_POINTS = 3000


@dataclass(frozen=True)
class Cluster:
    """Cells that belong together: how many, and median and spread of the six parameters."""

    n: int
    median: Array
    spread: Array


@dataclass(frozen=True)
class Histogram:
    """One parameter of the cell.

    Attributes
    ----------
    index : 0 to 5 of a, b, c, alpha, beta, gamma
    edges : (bins + 1,) [Angstrom or degree]
    counts : (clusters + 1, bins); the last row is of cells in no cluster
    n_outside : cells beyond the edges
    """

    index: int
    edges: Array
    counts: IntArray
    n_outside: int


@dataclass(frozen=True)
class Cells:
    """Unit cells of the commonest space group.

    Attributes
    ----------
    space_group : their symbol
    n, n_others : lattices with it, and with any other
    median, spread : (6,) of all cells
    clusters : the largest first
    histograms : of the parameters that symmetry leaves free
    points : the lattices that can be drawn as points, at most `MOST_POINTS`
    point_cluster : cluster of each, -1 for none
    """

    space_group: str
    n: int
    n_others: int
    median: Array
    spread: Array
    clusters: tuple[Cluster, ...]
    histograms: tuple[Histogram, ...]
    points: Lattices
    point_cluster: IntArray


def cells(found: Lattices) -> Cells:
    """Return the cells of lattices as they are drawn."""
    if not len(found):
        raise ContainerError("no lattice has been found yet; cells are those of indexed shots")
    same = found.with_group(found.commonest)
    number = cluster(same.cell)
    free = [i for i, fixed in enumerate(fixed_by_symmetry(found.commonest)) if not fixed]
    known = [same.cell[number == i] for i in range(int(number.max()) + 1)]
    every = same.take(np.linspace(0, len(same) - 1, min(len(same), MOST_POINTS)).astype(np.int64))
    return Cells(
        space_group=found.commonest,
        n=len(same),
        n_others=len(found) - len(same),
        median=np.median(same.cell, axis=0),
        spread=_spreads(same.cell),
        clusters=tuple(Cluster(len(c), np.median(c, axis=0), _spreads(c)) for c in known),
        histograms=tuple(_histogram(same.cell[:, i], number, i) for i in free),
        points=every,
        point_cluster=cluster_of(every, same, number),
    )


def cluster_of(points: Lattices, same: Lattices, number: IntArray) -> IntArray:
    """Return the cluster of `points`, which are evenly spaced among `same`."""
    rows = np.linspace(0, len(same) - 1, len(points)).astype(np.int64)
    return number[rows]


def _spreads(values: Array) -> Array:
    return np.array([spread(values[:, i]) for i in range(6)])


def _histogram(values: Array, number: IntArray, index: int) -> Histogram:
    """Return the histogram of one parameter, wide enough for the core of each cluster."""
    groups = [values[number == i] for i in range(int(number.max()) + 1)] or [values]
    ranges = [core(group) for group in groups]
    edges = np.linspace(min(low for low, _ in ranges), max(high for _, high in ranges), N_BINS + 1)
    counts = [np.histogram(group, edges)[0] for group in groups] if number.max() >= 0 else []
    counts.append(np.histogram(values[number < 0], edges)[0])
    n_outside = int(len(values) - np.sum(counts))
    return Histogram(index, edges, np.array(counts, np.int64), n_outside)


def names(data: Cells) -> list[tuple[str, str]]:
    """Return (name, colour) of each row of the histograms' counts."""
    found = [
        (f"cluster {i + 1}: {item.n:,}", COLOURS[i % len(COLOURS)])
        for i, item in enumerate(data.clusters)
    ]
    if len(found) == 1:
        found = [(f"{data.clusters[0].n:,} alike", COLOURS[0])]
    n_lone = data.n - sum(item.n for item in data.clusters)
    return [*found, (f"in no cluster: {n_lone:,}", NO_CLUSTER)]


def _title(data: Cells, index: int) -> str:
    name, unit = NAMES[index]
    return f"{name} = {data.median[index]:.2f} {unit}, sd {data.spread[index]:.3f}"


def _axis_title(item: Histogram) -> str:
    name, unit = NAMES[item.index]
    return f"{name} [{unit}]" + (f"  ({item.n_outside} outside)" if item.n_outside else "")


@styled
def draw(data: Cells) -> Figure:
    """Return histograms of the free cell parameters with median and standard deviation."""
    n_columns = min(len(data.histograms), 3)
    n_rows = -(-len(data.histograms) // 3)
    shown = [n for n in range(len(data.clusters) + 1) if _is_shown(data, n)]
    result = figure(2.3 * n_columns + 0.2, 2.1 * n_rows + (0.25 if len(shown) > 1 else 0.0))
    for place, item in enumerate(data.histograms):
        axes = result.add_subplot(n_rows, n_columns, place + 1)
        below = np.zeros(len(item.edges) - 1)
        for number in shown:
            name, colour = names(data)[number]
            width = np.diff(item.edges)
            axes.bar(
                item.edges[:-1], item.counts[number], width, below, align="edge", color=colour
            ).set_label(name if place == 0 else "")
            below = below + item.counts[number]
        axes.axvline(float(data.median[item.index]), color=INK, linewidth=0.9)
        axes.set_title(_title(data, item.index))
        axes.set_xlabel(_axis_title(item))
        axes.locator_params(nbins=4)
        axes.ticklabel_format(axis="x", useOffset=False)
        grid(axes)
    if len(shown) > 1:
        result.legend(loc="outside upper left", ncols=3)
    return result


def _is_shown(data: Cells, number: int) -> bool:
    return number < len(data.clusters) or any(item.counts[-1].any() for item in data.histograms)


def chart(data: Cells) -> Chart:
    """Return the histograms for a browser."""
    traces: list[Chart] = []
    n_columns = min(len(data.histograms), 3)
    axes = grid_of(len(data.histograms), n_columns)
    notes, lines = [], []
    for place, item in enumerate(data.histograms):
        number = "" if place == 0 else str(place + 1)
        middle = 0.5 * (item.edges[:-1] + item.edges[1:])
        for row, (name, colour) in enumerate(names(data)):
            if _is_shown(data, row):
                bars = {"type": "bar", "x": numbers(middle, 8), "y": item.counts[row].tolist()}
                look = {"marker": {"color": colour}, "width": float(np.diff(item.edges)[0])}
                where = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
                legend = {"name": name, "legendgroup": name, "showlegend": place == 0}
                traces.append({**bars, **look, **where, **legend})
        axes[f"xaxis{number}"] |= {"title": {"text": _axis_title(item)}}
        notes.append(heading(_title(data, item.index), place))
        middle_line = {"x0": data.median[item.index], "x1": data.median[item.index]}
        frame = {"xref": f"x{number}", "yref": f"y{number} domain"} | middle_line
        lines.append({"type": "line", "y0": 0, "y1": 1, "line": {"color": FAINT}, **frame})
    n_rows = -(-len(data.histograms) // n_columns)
    layout = {**axes, "barmode": "stack", "bargap": 0, "annotations": notes, "shapes": lines}
    legend = {"orientation": "h", "y": 1.12 if n_rows == 1 else 1.08, "yanchor": "bottom", "x": 0}
    return {"data": traces, "layout": {**layout, "legend": legend}}


def scatter(data: Cells) -> Chart:
    """Return the cells as points of the two most different parameters, to be picked."""
    free = [item.index for item in data.histograms]
    lengths = [i for i in free if i < 3] or free
    x, y = (lengths[0], lengths[-1]) if len(lengths) > 1 else (lengths[0], None)
    points, traces = data.points, []
    for number, (name, colour) in enumerate(names(data)):
        mine = data.point_cluster == (number if number < len(data.clusters) else -1)
        if mine.any():
            values = points.cell[mine]
            other = points.d_min_ang[mine] if y is None else values[:, y]
            run, event = points.run[mine].tolist(), points.event[mine].tolist()
            traces.append(
                {"type": "scatter", "mode": "markers", "name": name}
                | {"x": numbers(values[:, x]), "y": numbers(other)}
                | {"marker": {"color": colour, "size": 6, "opacity": 0.7}}
                | {"customdata": [[points.runs[r], e] for r, e in zip(run, event, strict=True)]}
                | {"hovertemplate": "%{customdata[0]} shot %{customdata[1]}<br>%{x}, %{y}"}
            )
    (x_name, x_unit), y_title = NAMES[x], "resolution [Å]"
    if y is not None:
        y_title = f"{NAMES[y][0]} [{NAMES[y][1]}]"
    axes = {
        "xaxis": {"title": {"text": f"{x_name} [{x_unit}]"}},
        "yaxis": {"title": {"text": y_title}},
    }
    return {"data": traces, "layout": {**axes, "hovermode": "closest"}}


def told(data: Cells) -> list[str]:
    """Return a line a cluster: how many, and the median cell."""
    lines = []
    for number, item in enumerate(data.clusters):
        cell = " ".join(f"{x:.2f}" for x in item.median)
        share = f"{item.n / data.n:.0%} of {data.n:,}"
        lines.append(f"cluster {number + 1}: {item.n:,} lattices ({share}), {cell}")
    return lines or [f"no cluster among {data.n:,} lattices: too few, or all different"]
