"""Cells that the lattice system allows, the matrix B and its derivatives."""

import gemmi
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_EQUAL = {
    "triclinic": ([0], [1], [2], [3], [4], [5]),
    "orthorhombic": ([0], [1], [2]),
    "tetragonal": ([0, 1], [2]),
    "hexagonal": ([0, 1], [2]),
    "rhombohedral": ([0, 1, 2], [3, 4, 5]),
    "cubic": ([0, 1, 2],),
}
"""Which of a, b, c, alpha, beta, gamma are one number; what is not named is fixed."""


def free_parameters(space_group: str) -> Array:
    """Return which changes of the cell (6,) the lattice system allows, (6, n) columns.

    >>> free_parameters("P 43 21 2").T.astype(int).tolist()
    [[1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]]
    >>> free_parameters("C 1 2 1").shape, free_parameters("R 3 :R").shape
    ((6, 4), (6, 2))
    """
    group = gemmi.SpaceGroup(space_group)
    system = group.crystal_system_str()
    if system == "monoclinic":
        angle = 3 + "abc".index(group.monoclinic_unique_axis())
        groups: tuple[list[int], ...] = ([0], [1], [2], [angle])
    elif system == "trigonal":
        groups = _EQUAL["rhombohedral" if group.ext == "R" else "hexagonal"]
    else:
        groups = _EQUAL[system]
    return np.array([[float(i in equal) for equal in groups] for i in range(6)])


def b_matrix(cell: Array) -> Array:
    """Return B (3, 3), columns a*, b*, c* [1/Angstrom] in a frame fixed to the crystal.

    Parameters
    ----------
    cell : (6,) a, b, c [Angstrom], alpha, beta, gamma [degree]

    >>> b_matrix(np.array([10.0, 20.0, 40.0, 90.0, 90.0, 90.0])).diagonal().tolist()
    [0.1, 0.05, 0.025]
    """
    return np.asarray(np.linalg.inv(_axes(cell)).T)


def b_derivatives(cell: Array) -> Array:
    """Return the derivatives of B by the six numbers of the cell, (6, 3, 3); angles in degrees."""
    inverse = np.linalg.inv(_axes(cell))
    return np.stack([-(inverse @ change @ inverse).T for change in _axes_derivatives(cell)])


def _axes(cell: Array) -> Array:
    """Return the real axes as columns: a along x, b in the plane of x and y."""
    (a, b, c), (ca, cb, cg) = cell[:3], np.cos(np.radians(cell[3:]))
    sg = np.sqrt(1.0 - cg**2)
    n = (ca - cb * cg) / sg
    return np.array([[a, b * cg, c * cb], [0.0, b * sg, c * n], [0.0, 0.0, c * _height(cb, n)]])


def _height(cb: float, n: float) -> float:
    return float(np.sqrt(1.0 - cb**2 - n**2))


def _axes_derivatives(cell: Array) -> Array:
    (_, b, c), angles = cell[:3], np.radians(cell[3:])
    (ca, cb, cg), (sa, sb, sg) = np.cos(angles), np.sin(angles)
    n = (ca - cb * cg) / sg
    height = _height(cb, n)
    result = np.zeros((6, 3, 3))
    result[:3] = [np.outer(column, np.eye(3)[i]) for i, column in enumerate(_axes(cell).T)]
    result[:3] /= cell[:3, None, None]
    by_angle = (-sa / sg, sb * cg / sg, cb - n * cg / sg)
    for i, dn in enumerate(by_angle):
        dcb = -sb if i == 1 else 0.0
        dz = -(cb * dcb + n * dn) / height
        result[3 + i, :, 2] = c * np.array([dcb, dn, dz])
    result[5, :, 1] = b * np.array([-sg, cg, 0.0])
    result[3:] *= np.pi / 180.0
    return result
