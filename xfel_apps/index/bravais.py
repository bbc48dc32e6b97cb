"""The Bravais lattice of a cell: its symmetry, conventional axes and centring.

The rotations of a lattice are integer matrices in a reduced basis; their axes are the axes of the
conventional cell (Le Page 1982, J. Appl. Cryst. 15, 255-259; Lebedev et al. 2006, Acta Cryst.
D62, 83-95).
"""

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from xfel_apps.geometry.stills import metric_cell
from xfel_apps.index.target import TargetLattice, metric_maps, reduced_basis

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

TOLERANCE = 0.03
"""Relative difference of metrics taken as symmetric: 1.5 % in length, 0.9 degrees in angle."""
SYMBOLS = {
    "aP": "P 1",
    "mP": "P 1 2 1",
    "mC": "C 1 2 1",
    "oP": "P 2 2 2",
    "oC": "C 2 2 2",
    "oF": "F 2 2 2",
    "oI": "I 2 2 2",
    "tP": "P 4 2 2",
    "tI": "I 4 2 2",
    "hR": "R 3 2:H",
    "hP": "P 6 2 2",
    "cP": "P 4 3 2",
    "cF": "F 4 3 2",
    "cI": "I 4 3 2",
}
"""Symbol of each Bravais lattice and the highest space group without screw axes that it has."""
SYSTEMS = {1: "a", 2: "m", 4: "o", 6: "r", 8: "t", 12: "h", 24: "c"}
"""Crystal system of a lattice by its number of proper rotations; r is rhombohedral."""
CENTRINGS = {
    "C": [(0.5, 0.5, 0.0)],
    "I": [(0.5, 0.5, 0.5)],
    "F": [(0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5)],
    "R": [(2 / 3, 1 / 3, 1 / 3), (1 / 3, 2 / 3, 2 / 3)],
}


@dataclass(frozen=True)
class Bravais:
    """A lattice in its conventional setting.

    Attributes
    ----------
    kind : symbol of the Bravais lattice, for example tP
    basis : (3, 3) rows: the conventional a, b, c in terms of the primitive ones given
    target : conventional cell, made exactly symmetric, with the symbol's space group
    """

    kind: str
    basis: Array
    target: TargetLattice


def bravais_lattice(a_matrix: Array, tolerance: float = TOLERANCE) -> Bravais:
    """Return the most symmetric lattice that the primitive cell of A is within tolerance of."""
    reduced = reduced_basis(np.zeros((1, 3)), a_matrix)
    a_reduced = a_matrix @ np.linalg.inv(reduced)
    metric = a_reduced.T @ a_reduced
    rotations = _largest_group(metric, tolerance)
    metric = np.mean(rotations.transpose(0, 2, 1) @ metric @ rotations, axis=0)
    direct = np.rint(np.linalg.inv(rotations).transpose(0, 2, 1)).astype(np.int64)
    kind, axes = _conventional(_Lattice(np.asarray(np.linalg.inv(metric))), direct)
    conventional = np.linalg.cholesky(metric).T @ np.linalg.inv(axes)
    cell = metric_cell(conventional)
    cell[3:] = np.where(np.abs(cell[3:] - 90.0) < 1e-6, 90.0, cell[3:])
    a, b, c, alpha, beta, gamma = (float(value) for value in cell.round(9))
    target = TargetLattice.checked((a, b, c, alpha, beta, gamma), SYMBOLS[kind])
    return Bravais(kind, axes @ reduced, target)


def _largest_group(metric: Array, tolerance: float) -> IntArray:
    """Return the largest set of rotations (n, 3, 3) within tolerance that is a lattice's group."""
    found = metric_maps(metric, metric, tolerance)
    scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    off = np.abs((found.transpose(0, 2, 1) @ metric @ found - metric) / scale).max(axis=(1, 2))
    found = found[np.argsort(off, kind="stable")]
    for n in range(len(found), 1, -1):
        if n in SYSTEMS and _is_closed(found[:n]):
            return found[:n]
    return np.eye(3, dtype=np.int64)[None]


def _is_closed(group: IntArray) -> bool:
    products = np.einsum("nij,mjk->nmik", group, group).reshape(-1, 9)
    return {tuple(row) for row in products} == {tuple(row) for row in group.reshape(-1, 9)}


class _Lattice:
    """Lattice vectors as integer rows in a reduced basis, shortest first, and their products.

    Parameters
    ----------
    metric : (3, 3) direct metric G [Angstrom^2]
    """

    def __init__(self, metric: Array) -> None:
        self.metric = metric
        vectors = np.array([v for v in product(range(-3, 4), repeat=3) if any(v)])
        lengths = np.einsum("ni,ij,nj->n", vectors, metric, vectors)
        self.vectors: IntArray = vectors[np.argsort(lengths.round(6), kind="stable")]

    def length(self, vector: IntArray) -> float:
        """Return the length [Angstrom]."""
        return float(np.sqrt(vector @ self.metric @ vector))

    def along(self, rotation: IntArray) -> IntArray:
        """Return the shortest vector that a rotation leaves in place."""
        kept = np.all(self.vectors @ rotation.T == self.vectors, axis=1)
        return np.asarray(self.vectors[kept][0])

    def across(self, axis: IntArray) -> IntArray:
        """Return the vectors at right angles to a vector, shortest first."""
        product_ = self.vectors @ self.metric @ axis
        return np.asarray(self.vectors[np.abs(product_) < 1e-6 * (axis @ self.metric @ axis)])


def _orders(rotations: IntArray) -> IntArray:
    """Return the order (n,) of rotations: 1, 2, 3, 4 or 6, from their traces."""
    order_of_trace = {3: 1, -1: 2, 0: 3, 1: 4, 2: 6}
    return np.array([order_of_trace[int(np.trace(rotation))] for rotation in rotations])


def _conventional(lattice: _Lattice, rotations: IntArray) -> tuple[str, Array]:
    """Return the kind of lattice and rows: conventional axes in the reduced basis."""
    system = SYSTEMS[len(rotations)]
    if system == "a":
        return "aP", np.eye(3)
    axes = {
        "m": _monoclinic,
        "o": _three_axes,
        "c": _three_axes,
        "t": _one_axis,
        "h": _one_axis,
        "r": _one_axis,
    }[system](lattice, rotations)
    return f"{'h' if system == 'r' else system}{_centring(axes)}", axes


def _monoclinic(lattice: _Lattice, rotations: IntArray) -> Array:
    """Return a, b, c with b along the twofold axis, beta obtuse, primitive or C-centred."""
    b = lattice.along(rotations[_orders(rotations) == 2][0])
    plane = lattice.across(b)[:16]
    choices: list[tuple[float, Array]] = []
    for a, c in permutations(plane, 2):
        axes = np.array([a, b, c], dtype=float)
        axes[1] *= np.sign(np.linalg.det(axes))
        if a @ lattice.metric @ c <= 1e-6 and _centring(axes) in ("P", "C"):
            # of two choices of equal length, the shorter a
            size = lattice.length(a) * (1.0 + 1e-6) + lattice.length(c)
            choices.append((size, axes))
    return min(choices, key=lambda item: item[0])[1]


def _three_axes(lattice: _Lattice, rotations: IntArray) -> Array:
    """Return three axes at right angles, shortest first, with the centred face ab."""
    order = 2 if len(rotations) == 4 else 4
    turning = rotations[_orders(rotations) == order]
    unique = _without_opposites([lattice.along(turn) for turn in turning])
    unique.sort(key=lattice.length)
    for a, b, c in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
        axes = np.array([unique[a], unique[b], unique[c]], dtype=float)
        axes[2] *= np.sign(np.linalg.det(axes))
        if _centring(axes) is not None:
            return axes
    return axes


def _without_opposites(vectors: list[IntArray]) -> list[IntArray]:
    """Return vectors of which no two are equal or opposite."""
    result: list[IntArray] = []
    for vector in vectors:
        if not any(np.array_equal(vector, o) or np.array_equal(vector, -o) for o in result):
            result.append(vector)
    return result


def _one_axis(lattice: _Lattice, rotations: IntArray) -> Array:
    """Return a, b, c with c along the axis of highest order, b turned from a by it."""
    orders = _orders(rotations)
    highest = rotations[orders == orders.max()][0]
    c = lattice.along(highest)
    turn = highest @ highest if orders.max() == 6 else highest
    a = lattice.across(c)[0]
    axes = np.array([a, turn @ a, c], dtype=float)
    axes[2] *= np.sign(np.linalg.det(axes))
    if orders.max() == 3 and _centring(axes) is None:
        axes[:2] *= -1.0
    return axes


def _centring(axes: Array) -> str | None:
    """Return the letter of the centring of a cell given by integer rows; None: none of these."""
    n_points = round(abs(np.linalg.det(axes)))
    if n_points == 1:
        return "P"
    for letter, vectors in CENTRINGS.items():
        points = np.array(vectors) @ axes
        if len(vectors) + 1 == n_points and np.allclose(points, np.rint(points), atol=1e-6):
            return letter
    return None
