"""Orientation coverage: where the beam goes through the crystals' own frame."""

from dataclasses import dataclass

import gemmi
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xfel_apps.errors import ContainerError
from xfel_apps.plots.chart import Chart, numbers
from xfel_apps.plots.lattices import Lattices
from xfel_apps.plots.style import BLUE, FAINT, INK, RULE, figure, styled

Array = NDArray[np.float64]

REFERENCE = np.array([0.35, 0.1, 0.93])
"""The equivalent nearest to this direction is kept: for Laue groups of mirrors the triangle of
textbooks between the axes, else a sector of the same size."""

CELL_DEG = 10.0
"""Width of the cells of the sphere that coverage is counted in [degree]."""

MOST_LATTICES = 20_000
"""Of more lattices, evenly spaced ones are taken: coverage of the sphere is full long before."""
MOST_POINTS = 3000


@dataclass(frozen=True)
class Coverage:
    """Directions of the beam in the crystals' Cartesian frame (a along x, c* along z).

    Attributes
    ----------
    reduced : (n, 3) one of each crystal's equivalents, all in one sector
    equivalents : (m, 3) all equivalents on the upper half of the sphere
    covered : share of the sphere's cells with a crystal
    laue : symbol of the Laue group
    """

    reduced: Array
    equivalents: Array
    covered: float
    laue: str


def coverage(a_matrices: Array, cell: Array, space_group: str, beam: Array) -> Coverage:
    """Return the coverage of crystals.

    Parameters
    ----------
    a_matrices : (n, 3, 3) columns a*, b*, c* [1/Angstrom], lab frame
    cell : (6,) of all [Angstrom, degrees]
    space_group : symbol; directions are equivalent under its Laue group
    beam : (3,) direction of the beam in the lab
    """
    frame = np.array(gemmi.UnitCell(*cell).orth.mat)
    directions = np.einsum("nij,i->nj", a_matrices, beam)  # beam on a*, b*, c*
    directions = directions @ frame.T  # to Cartesian: x = sum of (x . a*_i) a_i
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    turns = _turns(space_group, frame)
    every = np.einsum("gij,nj->ngi", turns, directions)
    nearest = np.argmax(every @ REFERENCE, axis=1)
    reduced = every[np.arange(len(every)), nearest]
    upper = every.reshape(-1, 3)
    upper = upper[upper[:, 2] >= 0]
    group = gemmi.find_spacegroup_by_name(space_group)
    return Coverage(reduced, upper, covered_share(upper), group.laue_str() if group else "-1")


def _turns(space_group: str, frame: Array) -> Array:
    """Return the rotations and inversions (m, 3, 3) of the Laue group in the Cartesian frame."""
    group = gemmi.find_spacegroup_by_name(space_group)
    rotations = [np.eye(3)]
    if group is not None:
        rotations = [np.array(op.rot) / op.DEN for op in group.operations().sym_ops]
    back = np.linalg.inv(frame)
    turns = np.array([frame @ rotation @ back for rotation in rotations])
    return np.concatenate([turns, -turns])


def covered_share(upper: Array) -> float:
    """Return the share of cells of the upper half of the sphere with a direction in them.

    Cells have equal heights along z, so equal areas within a ring, and are about as wide.
    """
    n_rings = round(90.0 / CELL_DEG)
    ring = np.minimum((upper[:, 2] * n_rings).astype(int), n_rings - 1)
    n_cells = [
        max(round(360.0 / CELL_DEG * np.sqrt(1.0 - ((i + 0.5) / n_rings) ** 2)), 1)
        for i in range(n_rings)
    ]
    turn = np.mod(np.arctan2(upper[:, 1], upper[:, 0]) / (2.0 * np.pi), 1.0)
    cell = np.minimum((turn * np.array(n_cells)[ring]).astype(int), np.array(n_cells)[ring] - 1)
    n_covered = len(np.unique(np.stack([ring, cell]), axis=1).T)
    return n_covered / float(sum(n_cells))


def lambert(directions: Array) -> Array:
    """Return directions (n, 3) of the upper half on the disc of radius 1, equal areas kept.

    >>> lambert(np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])).round(6).tolist()
    [[0.0, 0.0], [1.0, 0.0]]
    """
    return np.asarray(directions[:, :2] / np.sqrt(1.0 + directions[:, 2:]))


@dataclass(frozen=True)
class Orientations:
    """Orientations of the lattices with the commonest space group.

    Attributes
    ----------
    coverage : of them
    space_group : their symbol
    points : those that are drawn, as many as `coverage.reduced`
    """

    coverage: Coverage
    space_group: str
    points: Lattices


def orientations(found: Lattices) -> Orientations:
    """Return the orientations of lattices as they are drawn."""
    if not len(found):
        raise ContainerError("no lattice has been found yet; orientations are those of lattices")
    same = found.with_group(found.commonest)
    rows = np.linspace(0, len(same) - 1, min(len(same), MOST_LATTICES)).astype(np.int64)
    some = same.take(rows)
    cell = np.median(some.cell, axis=0)
    seen = coverage(some.a_matrix, cell, found.commonest, found.beam)
    return Orientations(seen, found.commonest, some)


def chart(data: Orientations) -> Chart:
    """Return the map for a browser: directions of the upper half, to be picked."""
    upper = np.flatnonzero(data.coverage.reduced[:, 2] >= 0)
    upper = upper[:: max(1, -(-len(upper) // MOST_POINTS))]
    points = data.points.take(upper)
    others = data.coverage.equivalents
    others = others[:: max(1, -(-len(others) // (2 * MOST_POINTS)))]
    traces: list[Chart] = []
    for directions, name, colour, size in (
        (others, "its equivalents", "rgba(140,140,140,0.35)", 3),
        (data.coverage.reduced[upper], "a lattice", BLUE, 6),
    ):
        x, y = lambert(directions).T
        marker = {"color": colour, "size": size}
        traces.append(
            {"type": "scatter", "mode": "markers", "name": name, "marker": marker}
            | {"x": numbers(x, 4), "y": numbers(y, 4), "hoverinfo": "skip"}
        )
    run, event = points.run.tolist(), points.event.tolist()
    picks = [[points.runs[r], e] for r, e in zip(run, event, strict=True)]
    hover = "%{customdata[0]} shot %{customdata[1]}<extra></extra>"
    traces[1] |= Chart(customdata=picks, hovertemplate=hover, hoverinfo="text")
    axis = {"range": [-1.1, 1.1], "visible": False}
    ring = {"type": "circle", "line": {"color": FAINT, "width": 1}}
    radii = [1.0, *(float(np.sqrt(1.0 - np.sin(np.radians(t)))) for t in (30.0, 60.0))]
    notes = [
        {"x": x, "y": 0, "text": text, "showarrow": False} for x, text in ((1.06, "a"), (0, "c*"))
    ]
    layout = {
        "xaxis": axis,
        "yaxis": {**axis, "scaleanchor": "x"},
        "shapes": [{**ring, "x0": -r, "y0": -r, "x1": r, "y1": r} for r in radii],
        "annotations": notes,
        "hovermode": "closest",
    }
    return {"data": traces, "layout": layout}


def caption(data: Orientations) -> str:
    """Return what the map shows, and how much of the sphere is covered."""
    return (
        "Direction of the beam in the crystals’ frame, equal-area map, c* up. Blue: one of each "
        f"crystal’s equivalents in Laue group {data.coverage.laue}; grey: all of them. "
        f"{100 * data.coverage.covered:.0f} % of {CELL_DEG:.0f}° cells on the sphere hold one."
    )


@styled
def draw(found: Coverage) -> Figure:
    """Return the map of directions on the upper half of the sphere."""
    result = figure(4.6, 4.6)
    axes = result.subplots()
    axes.set_aspect("equal")
    axes.axis("off")
    for height in np.sin(np.radians([0.0, 30.0, 60.0])):
        _ring(axes, float(height))
    many = len(found.reduced) > 1500
    for every, colour, size in (
        (found.equivalents, RULE, 3.0),
        (found.reduced[found.reduced[:, 2] >= 0], BLUE, 6.0),
    ):
        points = every[:: max(1, -(-len(every) // (2 * MOST_POINTS)))]
        x, y = lambert(points).T
        axes.scatter(x, y, s=1.0 if many else size, color=colour, linewidths=0, rasterized=many)
    for x, y, name in ((1.06, 0.0, "a"), (0.0, 0.0, "c*")):
        axes.text(x, y, name, ha="center", va="center", color=INK)
    axes.set_xlim(-1.05, 1.12)
    axes.set_ylim(-1.05, 1.05)
    return result


def _ring(axes: Axes, height: float) -> None:
    """Draw the circle of a height over the equator."""
    turn_rad = np.linspace(0.0, 2.0 * np.pi, 181)
    flat = np.sqrt(1.0 - height**2)
    circle = np.column_stack(
        [flat * np.cos(turn_rad), flat * np.sin(turn_rad), 0 * turn_rad + height]
    )
    axes.plot(*lambert(circle).T, color=FAINT if height == 0.0 else RULE, linewidth=0.6)
