"""Orientation coverage: where the beam goes through the crystals' own frame."""

from dataclasses import dataclass

import gemmi
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xfel_apps.plots.style import BLUE, FAINT, INK, RULE, figure, styled

Array = NDArray[np.float64]

REFERENCE = np.array([0.35, 0.1, 0.93])
"""The equivalent nearest to this direction is kept: for Laue groups of mirrors the triangle of
textbooks between the axes, else a sector of the same size."""

CELL_DEG = 10.0
"""Width of the cells of the sphere that coverage is counted in [degree]."""


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
    for points, colour, size in (
        (found.equivalents, RULE, 3.0),
        (found.reduced[found.reduced[:, 2] >= 0], BLUE, 6.0),
    ):
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
