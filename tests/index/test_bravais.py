"""The conventional cell comes back from any primitive basis of the lattice, also a noisy one."""

import numpy as np
import pytest

from xfel_apps.index.bravais import bravais_lattice
from xfel_apps.index.target import Cell, TargetLattice

# cell, space group, kind of lattice, cell that comes back where another setting is the standard
LATTICES: list[tuple[Cell, str, str]] = [
    ((50, 60, 70, 90, 103, 90), "P21", "mP"),
    ((100, 60, 50, 90, 105, 90), "C2", "mC"),
    ((50, 60, 70, 90, 90, 90), "P212121", "oP"),
    ((61.4, 122.6, 168, 90, 90, 90), "C2221", "oC"),
    ((60, 70, 80, 90, 90, 90), "F222", "oF"),
    ((60, 70, 80, 90, 90, 90), "I222", "oI"),
    ((79.2, 79.2, 38, 90, 90, 90), "P43212", "tP"),
    ((79.2, 79.2, 38, 90, 90, 90), "I4", "tI"),
    ((79.2, 79.2, 180, 90, 90, 90), "I4", "tI"),
    ((100, 100, 80, 90, 90, 120), "R32", "hR"),
    ((100, 100, 280, 90, 90, 120), "R3", "hR"),
    ((93.2, 93.2, 130.7, 90, 90, 120), "P6122", "hP"),
    ((78, 78, 78, 90, 90, 90), "I23", "cI"),
    ((78, 78, 78, 90, 90, 90), "F23", "cF"),
    ((78, 78, 78, 90, 90, 90), "P213", "cP"),
]


def _any_basis(rng: np.random.Generator) -> np.ndarray:
    while True:
        basis = rng.integers(-2, 3, size=(3, 3))
        if round(np.linalg.det(basis)) == 1:
            return basis


@pytest.mark.parametrize("noise", [0.0, 0.001])
@pytest.mark.parametrize(("cell", "group", "kind"), LATTICES)
def test_conventional_cell_comes_back(cell: Cell, group: str, kind: str, noise: float) -> None:
    rng = np.random.default_rng(1)
    target = TargetLattice.checked(cell, group)
    for _ in range(3):
        basis = np.linalg.inv(target.primitive) @ _any_basis(rng)
        strain = np.eye(3) + noise * rng.normal(size=(3, 3))
        found = bravais_lattice(strain @ target.b_matrix @ basis)
        assert found.kind == kind
        np.testing.assert_allclose(found.target.cell, cell, rtol=1e-7 + 5 * noise)
        assert len(found.target.rotations) == len(target.rotations)


def test_the_basis_leads_to_the_conventional_cell() -> None:
    target = TargetLattice.checked((100, 60, 50, 90, 105, 90), "C2")
    primitive = target.b_matrix @ np.linalg.inv(target.primitive)
    found = bravais_lattice(primitive)
    conventional = primitive @ np.linalg.inv(found.basis)
    np.testing.assert_allclose(conventional.T @ conventional, target.metric, atol=1e-12)


def test_a_rhombohedral_cell_becomes_hexagonal() -> None:
    target = TargetLattice.checked((60, 60, 60, 70, 70, 70), "R32:R")
    found = bravais_lattice(target.b_matrix)
    a = 2 * 60 * np.sin(np.radians(35))
    c = 60 * np.sqrt(3 + 6 * np.cos(np.radians(70)))
    np.testing.assert_allclose(found.target.cell, (a, a, c, 90, 90, 120), rtol=1e-7)


def test_no_symmetry_is_made_up() -> None:
    target = TargetLattice.checked((30, 40, 50, 80, 95, 85), "P1")
    found = bravais_lattice(target.b_matrix)
    assert found.kind == "aP"
    assert found.target.cell == pytest.approx((30, 40, 50, 80, 95, 85))
