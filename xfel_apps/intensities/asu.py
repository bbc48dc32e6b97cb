"""The unique reflections of a crystal and which of them any Miller index is."""

from dataclasses import dataclass

import gemmi
import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import SettingsError

Array = NDArray[np.float64]
Index = NDArray[np.int32]
ABSENT = -1


@dataclass(frozen=True)
class UniqueReflections:
    """Every reflection that can be observed in a range of resolution, once.

    A slot is where observations are averaged: one a unique reflection, or two (2 i for the mate
    in gemmi's asymmetric unit, 2 i + 1 for its Friedel mate) where mates are kept apart.

    Attributes
    ----------
    hkl : (n, 3) Miller indices in gemmi's asymmetric unit, without systematic absences
    d_ang : (n,) resolution
    epsilon : (n,) how many operators leave the reflection where it is
    centric : (n,) whether the reflection is its own Friedel mate
    friedel_apart : whether mates have slots of their own
    box, lowest : slot of each index in a box (ABSENT if none), and its lowest corner
    """

    hkl: Index
    d_ang: Array
    epsilon: Array
    centric: NDArray[np.bool_]
    friedel_apart: bool
    box: Index
    lowest: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.hkl)

    @property
    def slots_each(self) -> int:
        """Number of slots a unique reflection has."""
        return 2 if self.friedel_apart else 1

    @property
    def n_slots(self) -> int:
        """Number of slots."""
        return len(self) * self.slots_each

    def slots(self, hkl: NDArray[np.integer]) -> Index:
        """Return the slot (n,) of any Miller indices (n, 3); ABSENT if there is none."""
        place = np.zeros(len(hkl), dtype=np.int64)
        inside = np.ones(len(hkl), dtype=bool)
        for column, low, length in zip(hkl.T, self.lowest, self.box.shape, strict=True):
            index = column.astype(np.int64) - low
            inside &= (index >= 0) & (index < length)
            place = place * length + index
        result: Index = self.box.ravel()[inside * place]
        result[~inside] = ABSENT
        return result


def unique_reflections(
    cell: gemmi.UnitCell,
    space_group: gemmi.SpaceGroup,
    limits_ang: tuple[float, float],
    *,
    friedel_apart: bool,
) -> UniqueReflections:
    """Return the unique reflections with resolution between `limits_ang` (d_min, d_max).

    Each is spread over its symmetry mates with the operators of the point group, so that finding
    one later is a look-up.
    """
    d_min_ang, d_max_ang = limits_ang
    hkl = gemmi.make_miller_array(cell, space_group, d_min_ang, d_max_ang, True)
    if not len(hkl):
        raise SettingsError(f"no reflection of the cell lies between {d_max_ang} and {d_min_ang} A")
    d_ang = cell.calculate_d_array(hkl)
    order = np.lexsort((hkl[:, 2], hkl[:, 1], hkl[:, 0]))
    hkl, d_ang = hkl[order], d_ang[order]
    operations = space_group.operations()
    centric = np.asarray(operations.centric_flag_array(hkl), dtype=bool)
    box, lowest = _spread(hkl, centric, operations, friedel_apart=friedel_apart)
    epsilon = np.asarray(operations.epsilon_factor_without_centering_array(hkl), dtype=float)
    return UniqueReflections(hkl, d_ang, epsilon, centric, friedel_apart, box, lowest)


def _spread(
    hkl: Index,
    centric: NDArray[np.bool_],
    operations: gemmi.GroupOps,
    *,
    friedel_apart: bool,
) -> tuple[Index, NDArray[np.int64]]:
    """Return the box of slots and its lowest corner."""
    rotations = [np.array(op.rot) // 24 for op in operations.sym_ops]
    mates = [hkl @ rotation for rotation in rotations]
    reach = np.max([np.abs(mate).max(axis=0) for mate in mates], axis=0).astype(np.int64)
    box = np.full(2 * reach + 1, ABSENT, dtype=np.int32)
    number = np.arange(len(hkl), dtype=np.int32) * (2 if friedel_apart else 1)
    minus = number + np.where(centric, 0, 1) if friedel_apart else number
    for mate in mates:
        box[tuple((reach - mate).T)] = minus
    for mate in mates:
        box[tuple((reach + mate).T)] = number
    return box, -reach


def ambiguity_operators(
    cell: gemmi.UnitCell, space_group: gemmi.SpaceGroup
) -> list[NDArray[np.int64]]:
    """Return matrices M of the ways to index a crystal that its spots alone do not tell apart.

    The first is the identity; indices in another mode are ``hkl @ M``. They are the operators of
    the lattice that the point group lacks.
    """
    laws = gemmi.find_twin_laws(cell, space_group, 0.5, False)
    return [np.eye(3, dtype=np.int64)] + [np.array(op.rot, dtype=np.int64) // 24 for op in laws]


def operator_name(operator: NDArray[np.int64]) -> str:
    """Return an operator ``hkl @ operator`` as text.

    >>> operator_name(np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]]))
    'k,h,-l'
    """
    return ",".join(_sum(column) for column in operator.T)


def _sum(coefficients: NDArray[np.int64]) -> str:
    terms = [f"{n:+d}{name}" for n, name in zip(coefficients, "hkl", strict=True) if n]
    return "".join(terms).replace("+1", "+").replace("-1", "-").removeprefix("+")
