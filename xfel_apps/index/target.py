"""The lattice that is looked for: cell, centring, symmetry of its metric and free parameters."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import gemmi
import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import SettingsError
from xfel_apps.geometry.stills import metric_cell

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Cell = tuple[float, float, float, float, float, float]

SAME_METRIC = 1e-4
"""Relative difference of metrics that are taken as equal: rounding of a cell typed by hand."""

PRIMITIVE_GROUPS = ("P 4 3 2", "P 6 2 2", "P 4 2 2", "R 3 2:R", "P 2 2 2", "P 1 2 1", "P 1")
"""Space groups without screw axes of the primitive lattices, the most symmetric first."""


@dataclass(frozen=True)
class TargetLattice:
    """Conventional cell and space group of the crystals looked for.

    Attributes
    ----------
    cell : a, b, c [Angstrom], alpha, beta, gamma [degrees]
    space_group : extended Hermann-Mauguin symbol
    """

    cell: Cell
    space_group: str

    @classmethod
    def checked(cls, cell: Cell, space_group: str) -> "TargetLattice":
        """Return the lattice, or say in one line what is impossible about it."""
        unit_cell = possible_cell(cell)
        group = known_space_group(space_group, cell)
        if not unit_cell.is_compatible_with_spacegroup(group, 1e-3):
            raise SettingsError(
                f"cell {_text(cell)} contradicts the {group.crystal_system_str()} space group "
                f"{group.hm}: correct one of index.cell and index.space_group"
            )
        return cls(cell, group.xhm())

    @property
    def group(self) -> gemmi.SpaceGroup:
        """Return the space group."""
        return gemmi.find_spacegroup_by_name(self.space_group)

    @cached_property
    def b_matrix(self) -> Array:
        """(3, 3) A of the reference orientation, a along x, b in xy [1/Angstrom]."""
        return np.array(gemmi.UnitCell(*self.cell).frac.mat.tolist()).T

    @cached_property
    def metric(self) -> Array:
        """(3, 3) reciprocal metric G* = A^T A [1/Angstrom^2]."""
        return np.asarray(self.b_matrix.T @ self.b_matrix)

    @cached_property
    def centring(self) -> Array:
        """(n, 3) centring vectors, the first zero, in fractions of the conventional cell."""
        vectors = self.group.operations().cen_ops
        return np.asarray(np.array(vectors, dtype=float) / gemmi.Op.DEN)

    @cached_property
    def primitive(self) -> Array:
        """(3, 3) rows: a reduced primitive basis in terms of the conventional a, b, c."""
        return reduced_basis(self.centring, self.b_matrix)

    @property
    def primitive_volume_ang3(self) -> float:
        """Volume of the primitive cell [Angstrom^3]."""
        return float(abs(np.linalg.det(self.primitive) / np.linalg.det(self.b_matrix)))

    @cached_property
    def rotations(self) -> IntArray:
        """(n, 3, 3) proper rotations S of the lattice: A S is the same lattice, turned labels."""
        found = metric_maps(self.metric, self.metric)
        inverse = np.linalg.inv(found).transpose(0, 2, 1)
        moved = np.einsum("nij,cj->nci", inverse, self.centring)
        gap = moved[:, :, None] - self.centring[None, None]
        kept = np.all(np.any(np.all(np.abs(gap - np.rint(gap)) < 1e-6, axis=3), axis=2), axis=1)
        return found[kept]

    @cached_property
    def strains(self) -> Array:
        """(n, 3, 3) changes of G* that the space group allows, each a unit strain.

        Orthonormal for the product tr(E G F G) / 4, so that coefficients x mean a strain tensor
        of Frobenius norm |x| whatever the crystal system.
        """
        operations = [np.array(op.rot) / gemmi.Op.DEN for op in self.group.operations().sym_ops]
        return invariant_strains(np.array(operations), self.metric)

    def conventional(self, primitive: Array) -> Array:
        """Return A of the conventional cell for A (..., 3, 3) of the reduced primitive cell."""
        return np.asarray(primitive @ self.primitive)

    def present(self, hkl: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Return which indices (n, 3) of the conventional cell the centring allows."""
        phase = hkl @ self.centring.T
        return np.asarray(np.all(np.abs(phase - np.rint(phase)) < 1e-6, axis=1))

    def representative_turn(self, a_matrix: Array) -> IntArray:
        """Return the rotation S that brings A S nearest to the reference orientation."""
        traces = np.einsum("ij,njk,ki->n", a_matrix, self.rotations, self._b_inverse)
        return np.asarray(self.rotations[np.argmax(traces)])

    @cached_property
    def _b_inverse(self) -> Array:
        return np.asarray(np.linalg.inv(self.b_matrix))

    def misorientations_deg(self, a_matrices: Array) -> Array:
        """Return angles (n, n) between orientations modulo the lattice's rotations [degrees]."""
        turns = rotation_part(a_matrices @ self._b_inverse)
        symmetry = self.b_matrix @ self.rotations @ self._b_inverse
        traces = np.einsum("nij,sjk,mik->nms", turns, symmetry, turns, optimize=True).max(axis=2)
        return np.asarray(np.degrees(np.arccos(np.clip((traces - 1.0) / 2.0, -1.0, 1.0))))

    def misorientation_deg(self, one: Array, other: Array) -> float:
        """Return the angle between two orientations modulo the lattice's rotations [degrees]."""
        return float(self.misorientations_deg(np.stack([one, other]))[0, 1])

    def deviation(self, a_matrix: Array) -> tuple[float, float]:
        """Return the largest relative length and angle [degrees] deviation from the target."""
        cell, target = metric_cell(a_matrix), np.array(self.cell)
        lengths = np.abs(cell[:3] / target[:3] - 1.0)
        return float(lengths.max()), float(np.abs(cell[3:] - target[3:]).max())


def possible_cell(cell: Cell) -> gemmi.UnitCell:
    """Return the cell, or refuse one that no crystal can have."""
    lengths, angles = np.array(cell[:3]), np.radians(cell[3:])
    cosines = np.cos(angles)
    volume = 1.0 - np.sum(cosines**2) + 2.0 * np.prod(cosines)
    if np.any(lengths < 2.0) or np.any(lengths > 2000.0):
        raise SettingsError(f"index.cell {_text(cell)}: lengths must be 2 to 2000 Angstrom")
    if np.any(angles <= 0) or np.any(angles >= np.pi) or volume <= 1e-6:
        raise SettingsError(f"index.cell {_text(cell)}: no cell has these angles (degrees)")
    return gemmi.UnitCell(*cell)


def most_symmetric(cell: Cell) -> TargetLattice:
    """Return the lattice with the highest symmetry that a primitive cell allows as it stands."""
    unit_cell = possible_cell(cell)
    groups = map(gemmi.find_spacegroup_by_name, PRIMITIVE_GROUPS)
    group = next(g for g in groups if unit_cell.is_compatible_with_spacegroup(g, 1e-3))
    return TargetLattice(cell, group.xhm())


def known_space_group(name: str, cell: Cell | None = None) -> gemmi.SpaceGroup:
    """Return the space group of a symbol; the cell decides between settings of R lattices."""
    alpha, gamma = (cell[3], cell[5]) if cell else (0.0, 0.0)
    group = gemmi.find_spacegroup_by_name(name, alpha=alpha, gamma=gamma)
    if group is None:
        raise SettingsError(
            f"index.space_group {name!r} is not a space group: give a Hermann-Mauguin symbol, "
            "for example P43212"
        )
    return group


def rotation_part(matrices: Array) -> Array:
    """Return the rotations (..., 3, 3) nearest to matrices."""
    u, _, vt = np.linalg.svd(matrices)
    u[..., :, 2] *= np.linalg.det(u @ vt)[..., None]
    return np.asarray(u @ vt)


def reduced_basis(centring: Array, b_matrix: Array) -> Array:
    """Return rows: the three shortest lattice vectors that form a basis, right-handed.

    In three dimensions successive minima form a basis (Minkowski), here of all the lattice's
    vectors: integer combinations plus a centring vector, in terms of a, b, c.
    """
    spans = np.array(list(product(range(-3, 4), repeat=3)), dtype=float)
    vectors = (spans[:, None] + centring[None]).reshape(-1, 3)
    lengths = np.linalg.norm(vectors @ np.linalg.inv(b_matrix), axis=1)
    volume = 1.0 / len(centring)
    order = np.argsort(lengths.round(6), kind="stable")
    chosen: list[Array] = []
    for vector in vectors[order[1:]]:
        if np.linalg.matrix_rank(np.array([*chosen, vector]), tol=1e-3 * volume) > len(chosen):
            chosen.append(vector)
        if len(chosen) == 3:
            break
    basis = np.array(chosen)
    return np.asarray(basis * np.sign(np.linalg.det(basis)))


def metric_maps(metric: Array, other: Array, tolerance: float = SAME_METRIC) -> IntArray:
    """Return integer S (n, 3, 3), entries -1, 0, 1, with det 1 and S^T G* S = other G*.

    With `other` the metric itself: in a conventional or a reduced basis all rotations of a
    lattice are such (Lebedev et al. 2006, Acta Cryst. D62, 83-95).
    """
    columns = np.array(list(product((-1, 0, 1), repeat=3)))
    squares = np.einsum("ni,ij,nj->n", columns, metric, columns)
    diagonal = np.diag(other)
    fits = [columns[np.abs(squares / g - 1.0) < tolerance] for g in diagonal]
    found = np.array([np.column_stack(c) for c in product(*fits)]).reshape(-1, 3, 3)
    found = found[np.rint(np.linalg.det(found)) == 1]
    scale = np.sqrt(np.outer(diagonal, diagonal))
    off = np.einsum("nki,kl,nlj->nij", found, metric, found) - other
    return np.asarray(found[np.all(np.abs(off / scale) < tolerance, axis=(1, 2))])


def invariant_strains(operations: Array, metric: Array) -> Array:
    """Return a basis of the changes of G* that M G* M^T = G* allows for all operations M."""
    symmetric = np.zeros((6, 3, 3))
    for row, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        symmetric[row, i, j] = symmetric[row, j, i] = np.sqrt(metric[i, i] * metric[j, j])
    means = np.einsum("nij,rjk,nlk->ril", operations, symmetric, operations) / len(operations)
    real = np.linalg.inv(metric)
    gram = 0.25 * np.einsum("rij,jk,skl,li->rs", means, real, means, real)
    values, vectors = np.linalg.eigh(gram)
    kept = values > 1e-6
    return np.asarray(np.einsum("rn,rij->nij", vectors[:, kept] / np.sqrt(values[kept]), means))


def _text(cell: Cell) -> str:
    return " ".join(f"{value:g}" for value in cell)
