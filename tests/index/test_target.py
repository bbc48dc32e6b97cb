"""Symmetry, free parameters and equivalent settings of target lattices."""

import numpy as np
import pytest

from tests.index.stills import random_rotation
from xfel_apps.errors import SettingsError
from xfel_apps.geometry.stills import metric_cell
from xfel_apps.index.settings import IndexSettings
from xfel_apps.index.target import Cell, TargetLattice

# cell, space group, rotations of the lattice, free cell parameters, points a conventional cell
LATTICES: list[tuple[Cell, str, int, int, int]] = [
    ((30, 40, 50, 80, 85, 95), "P1", 1, 6, 1),
    ((50, 60, 70, 90, 103, 90), "P21", 2, 4, 1),
    ((100, 60, 50, 90, 105, 90), "C2", 2, 4, 2),
    ((50, 60, 70, 90, 90, 90), "P212121", 4, 3, 1),
    ((60, 70, 80, 90, 90, 90), "F222", 4, 3, 4),
    ((79.2, 79.2, 38, 90, 90, 90), "P43212", 8, 2, 1),
    ((79.2, 79.2, 38, 90, 90, 90), "P43", 8, 2, 1),
    ((100, 100, 80, 90, 90, 120), "R32", 6, 2, 3),
    ((60, 60, 60, 70, 70, 70), "R32:R", 6, 2, 1),
    ((93.2, 93.2, 130.7, 90, 90, 120), "P6122", 12, 2, 1),
    ((78, 78, 78, 90, 90, 90), "I23", 24, 1, 2),
]


@pytest.mark.parametrize(("cell", "group", "n_rotations", "n_free", "n_points"), LATTICES)
def test_symmetry(cell: Cell, group: str, n_rotations: int, n_free: int, n_points: int) -> None:
    target = TargetLattice.checked(cell, group)
    assert len(target.rotations) == n_rotations
    assert len(target.strains) == n_free
    volume = 1.0 / abs(np.linalg.det(target.b_matrix))
    assert target.primitive_volume_ang3 == pytest.approx(volume / n_points)


@pytest.mark.parametrize(("cell", "group"), [item[:2] for item in LATTICES])
def test_strains_keep_the_crystal_system(cell: Cell, group: str) -> None:
    target = TargetLattice.checked(cell, group)
    for strain in target.strains:
        metric = target.metric + 0.01 * strain
        strained = metric_cell(np.linalg.cholesky(metric).T)
        assert TargetLattice.checked(tuple(strained.tolist()), group)
        assert not np.allclose(strained, cell, rtol=1e-4)
    real = np.linalg.inv(target.metric)
    gram = 0.25 * np.einsum("rij,jk,skl,li->rs", target.strains, real, target.strains, real)
    np.testing.assert_allclose(gram, np.eye(len(target.strains)), atol=1e-9)


@pytest.mark.parametrize(("cell", "group"), [item[:2] for item in LATTICES])
def test_one_representative_of_all_equivalent_settings(cell: Cell, group: str) -> None:
    target = TargetLattice.checked(cell, group)
    a_matrix = random_rotation(np.random.default_rng(3)) @ target.b_matrix
    expected = a_matrix @ target.representative_turn(a_matrix)
    for rotation in target.rotations:
        other = a_matrix @ rotation
        np.testing.assert_allclose(other @ target.representative_turn(other), expected, atol=1e-12)
        assert target.misorientation_deg(a_matrix, other) < 1e-4
        np.testing.assert_allclose(metric_cell(other), cell, rtol=1e-6)


def test_misorientation_is_the_angle_turned() -> None:
    target = TargetLattice.checked((79.2, 79.2, 38, 90, 90, 90), "P43212")
    turn = np.array([[np.cos(0.01), -np.sin(0.01), 0], [np.sin(0.01), np.cos(0.01), 0], [0, 0, 1]])
    a_matrix = random_rotation(np.random.default_rng(4)) @ target.b_matrix
    angle = target.misorientation_deg(a_matrix, turn @ a_matrix)
    assert angle == pytest.approx(np.degrees(0.01), rel=1e-6)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cell": "79 80 38 90 90 90", "space_group": "P43212"}, "tetragonal"),
        ({"cell": "79 79 38 90 90 190", "space_group": "P1"}, "no cell has these angles"),
        ({"cell": "79 79 38 10 10 90", "space_group": "P1"}, "no cell has these angles"),
        ({"cell": "-79 79 38 90 90 90", "space_group": "P1"}, "2 to 2000"),
        ({"cell": "79 79 38 90 90", "space_group": "P1"}, "cell"),
        ({"cell": "a b c", "space_group": "P1"}, "cell"),
        ({"cell": "79 79 38 90 90 90", "space_group": "P43213"}, "not a space group"),
        ({"max_latices": 2}, "max_latices: unknown setting"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(given: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        IndexSettings.checked(given)
    assert "\n" not in str(caught.value)


def test_cell_as_text_and_as_numbers() -> None:
    text = IndexSettings(cell="79.2 79.2 38 90 90 90")  # type: ignore[arg-type]  # what users write
    assert text == IndexSettings(cell=(79.2, 79.2, 38, 90, 90, 90))
