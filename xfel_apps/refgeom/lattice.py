"""The known cell: reference orientation and the strains that its symmetry leaves free."""

from dataclasses import dataclass
from functools import cached_property

import gemmi
import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import SettingsError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """Cell that crystals are restrained to.

    Attributes
    ----------
    cell : a, b, c [Angstrom], alpha, beta, gamma [degrees]
    space_group : Hermann-Mauguin symbol, extended where the setting matters
    is_known : from elsewhere, not from the spots themselves: the distance can be told
    """

    cell: tuple[float, ...]
    space_group: str
    is_known: bool

    def __post_init__(self) -> None:
        if gemmi.find_spacegroup_by_name(self.space_group) is None:
            raise SettingsError(
                f"{self.space_group!r} is not a space group; the crystals were indexed in it"
            )
        if not np.isfinite(self.b_matrix).all() or abs(np.linalg.det(self.b_matrix)) < 1e-12:
            raise SettingsError(f"refgeom.cell {list(self.cell)}: no crystal has this cell")

    @cached_property
    def b_matrix(self) -> Array:
        """(3, 3) A of the reference orientation [1/Angstrom]."""
        return np.array(gemmi.UnitCell(*self.cell).frac.mat.tolist()).T

    @cached_property
    def strains(self) -> Array:
        """(n_free, 3, 3) symmetric matrices e in q = R (1 + e) B h that symmetry leaves free.

        They span what all rotations of the point group leave as it is; each has unit norm.
        """
        operations = gemmi.find_spacegroup_by_name(self.space_group).operations().sym_ops
        inverse = np.linalg.inv(self.b_matrix)
        rotations = [np.array(op.rot, dtype=float).T / gemmi.Op.DEN for op in operations]
        turns = np.array([self.b_matrix @ rotation @ inverse for rotation in rotations])
        basis = np.array([_symmetric(i, j) for i in range(3) for j in range(i, 3)])
        means = np.einsum("nij,bjk,nlk->bil", turns, basis, turns) / len(turns)
        _, sizes, rows = np.linalg.svd(means.reshape(6, 9))
        return np.asarray(rows[: int((sizes > 1e-6).sum())].reshape(-1, 3, 3))

    def split(self, a_matrices: Array) -> tuple[Array, Array]:
        """Return rotations (n, 3, 3) and strains (n, n_free) of lattices A (n, 3, 3).

        What the symmetry forbids of the strain is dropped.
        """
        left, sizes, right = np.linalg.svd(a_matrices @ np.linalg.inv(self.b_matrix))
        turns = left @ right
        stretch = np.einsum("nji,nj,njk->nik", right, sizes, right) - np.eye(3)
        return turns, np.einsum("nij,sij->ns", stretch, self.strains)


def _symmetric(i: int, j: int) -> Array:
    """Return a symmetric matrix (3, 3) of unit norm with only the elements ij and ji."""
    result = np.zeros((3, 3))
    result[i, j] = result[j, i] = 1.0
    return np.asarray(result / np.linalg.norm(result))
