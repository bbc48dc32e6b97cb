"""Known rotations between lattices, in every setting that symmetry allows."""

import gemmi
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from xfel_apps.compare.orientation import (
    cell_error_percent,
    lattice_rotations,
    orientation_error_deg,
)

CELLS = {
    "cubic": ((80, 80, 80, 90, 90, 90), "F", 24),
    "hexagonal": ((93, 93, 130, 90, 90, 120), "P", 12),
    "rhombohedral": ((93, 93, 130, 90, 90, 120), "R", 6),
    "tetragonal": ((79.2, 79.2, 38, 90, 90, 90), "P", 8),
    "orthorhombic": ((50, 60, 70, 90, 90, 90), "C", 4),
    "monoclinic": ((50, 60, 70, 90, 104, 90), "C", 2),
    "triclinic": ((50, 60, 70, 80, 95, 104), "P", 1),
}


def reciprocal(cell) -> np.ndarray:
    return np.array(gemmi.UnitCell(*cell).frac.mat.tolist()).T


@pytest.mark.parametrize("name", CELLS)
@given(seed=st.integers(0, 10**6), angle_deg=st.floats(0, 3))
def test_angle_is_that_by_which_the_lattice_was_turned(name, seed, angle_deg):
    cell, centring, order = CELLS[name]
    rng = np.random.default_rng(seed)
    rotations = lattice_rotations(np.array(cell, float), centring)
    assert len(rotations) == order
    true = Rotation.from_quat(rng.standard_normal(4)).as_matrix() @ reciprocal(cell)
    axis = rng.standard_normal(3)
    axis *= np.radians(angle_deg) / np.linalg.norm(axis)
    turned = Rotation.from_rotvec(axis).as_matrix() @ true @ rotations[rng.integers(order)]
    assert orientation_error_deg(turned, true, rotations) == pytest.approx(angle_deg, abs=1e-6)
    np.testing.assert_allclose(cell_error_percent(turned, true, rotations), 0.0, atol=1e-9)


def test_other_settings_describe_the_same_lattice_points():
    cell = CELLS["hexagonal"][0]
    b_matrix = reciprocal(cell)
    for rotation in lattice_rotations(np.array(cell, float)):
        turn = b_matrix @ rotation @ np.linalg.inv(b_matrix)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)


def test_strain_is_no_rotation_and_shows_in_the_cell():
    rotations = lattice_rotations(np.array(CELLS["tetragonal"][0], float))
    true = Rotation.from_euler("xyz", [10, 50, -70], degrees=True).as_matrix() @ reciprocal(
        CELLS["tetragonal"][0]
    )
    longer = true @ np.diag([1 / 1.01, 1, 1 / 0.98])
    np.testing.assert_allclose(cell_error_percent(longer, true, rotations), [1, 0, 2], atol=1e-9)


def test_a_quarter_turn_of_an_orthorhombic_lattice_is_an_error():
    cell = CELLS["orthorhombic"][0]
    true = reciprocal(cell)
    turned = Rotation.from_euler("z", 90, degrees=True).as_matrix() @ true
    rotations = lattice_rotations(np.array(cell, float), "C")
    assert orientation_error_deg(turned, true, rotations) == pytest.approx(90)
