"""Errors of orientation and cell, modulo the symmetry of the lattice."""

import gemmi
import numpy as np
from numpy.typing import NDArray

from xfel_apps.geometry.stills import metric_cell

Array = NDArray[np.float64]

OBLIQUITY_DEG = 0.5
"""A lattice this near to a higher symmetry is taken to have it [degrees]."""


def lattice_rotations(cell: Array, centring: str = "P") -> Array:
    """Return how Miller indices change under the proper rotations of the lattice, (n, 3, 3).

    Parameters
    ----------
    cell : (6,) [Angstrom, degrees]
    centring : P, A, B, C, I, F or R

    A W with W from this list describes the lattice of A in another, equally good setting.

    >>> len(lattice_rotations(np.array([79.2, 79.2, 38.0, 90, 90, 90])))
    8
    >>> len(lattice_rotations(np.array([93.0, 93.0, 130.0, 90, 90, 120])))
    12
    """
    group = gemmi.find_lattice_symmetry(
        gemmi.UnitCell(*(float(value) for value in cell)), centring, OBLIQUITY_DEG
    )
    matrices = np.array([np.array(op.rot) // gemmi.Op.DEN for op in group.sym_ops], dtype=float)
    proper = matrices[np.linalg.det(matrices) > 0]
    return np.asarray(proper.transpose(0, 2, 1))


def in_setting_of(found: Array, true: Array, rotations: Array) -> Array:
    """Return `found` (3, 3) in the setting in which it is turned least against `true` (3, 3)."""
    settings = found @ rotations
    angles = [rotation_angle_deg(setting @ np.linalg.inv(true)) for setting in settings]
    return np.asarray(settings[int(np.argmin(angles))])


def rotation_angle_deg(deformation: Array) -> float:
    """Return the angle [degrees] of the rotation in `deformation` (3, 3), strain taken off.

    The rotation is that of the polar decomposition, the nearest one. From the sine and the cosine,
    so that small angles keep their digits.
    """
    left, _, right = np.linalg.svd(deformation)
    rotation = left @ right
    axis = rotation[[2, 0, 1], [1, 2, 0]] - rotation[[1, 2, 0], [2, 0, 1]]
    return float(np.degrees(np.arctan2(np.linalg.norm(axis), np.trace(rotation) - 1.0)))


def orientation_error_deg(found: Array, true: Array, rotations: Array) -> float:
    """Return the angle [degrees] between two lattices, modulo the lattice's own symmetry.

    Parameters
    ----------
    found, true : (3, 3) A matrices in the same lab frame [1/Angstrom]
    rotations : (n, 3, 3) from `lattice_rotations`
    """
    return rotation_angle_deg(in_setting_of(found, true, rotations) @ np.linalg.inv(true))


def cell_error_percent(found: Array, true: Array, rotations: Array) -> Array:
    """Return how far the lengths a, b, c of `found` are from those of `true` (3,) [percent]."""
    lengths = metric_cell(in_setting_of(found, true, rotations))[:3]
    expected = metric_cell(true)[:3]
    return np.asarray(100.0 * np.abs(lengths / expected - 1.0))
