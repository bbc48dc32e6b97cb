"""Reduction of Miller indices, against gemmi one by one."""

import gemmi
import numpy as np
import pytest

from xfel_apps.errors import SettingsError
from xfel_apps.intensities.asu import ABSENT, ambiguity_operators, operator_name, unique_reflections
from xfel_apps.merge.crystals import symmetrized

CELLS = {
    "P 1": (30, 35, 40, 80, 95, 105),
    "C 1 2 1": (60, 40, 50, 90, 110, 90),
    "P 43 21 2": (79.2, 79.2, 38, 90, 90, 90),
    "P 61 2 2": (93, 93, 130, 90, 90, 120),
    "R 3:H": (60, 60, 90, 90, 90, 120),
    "P 21 3": (60, 60, 60, 90, 90, 90),
    "I 2 3": (70, 70, 70, 90, 90, 90),
}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("friedel_apart", [False, True])
def test_slots_are_those_of_gemmi(name: str, friedel_apart: bool) -> None:
    cell, group = gemmi.UnitCell(*CELLS[name]), gemmi.SpaceGroup(name)
    unique = unique_reflections(cell, group, (4.0, 1000.0), friedel_apart=friedel_apart)
    rng = np.random.default_rng(0)
    hkl = rng.integers(-25, 26, (4000, 3)).astype(np.int32)
    asu, operations = gemmi.ReciprocalAsu(group), group.operations()
    rows = {tuple(index): row for row, index in enumerate(unique.hkl.tolist())}
    expected = []
    for index in hkl.tolist():
        if not any(index) or operations.is_systematically_absent(index):
            expected.append(ABSENT)
            continue
        reduced, isym = asu.to_asu(index, operations)
        row = rows.get(tuple(reduced), ABSENT)
        is_minus = friedel_apart and isym % 2 == 0 and not operations.is_reflection_centric(index)
        expected.append(row if row == ABSENT else row * unique.slots_each + is_minus)
    assert unique.slots(hkl).tolist() == expected
    assert max(expected) > 0


def test_limits_and_absences() -> None:
    cell, group = gemmi.UnitCell(79.2, 79.2, 38, 90, 90, 90), gemmi.SpaceGroup("P 43 21 2")
    unique = unique_reflections(cell, group, (2.3, 1000.0), friedel_apart=False)
    assert unique.d_ang.min() >= 2.3
    outside = np.array([[0, 0, 2], [0, 0, 0], [99, 0, 0], [-200, 5, 6]])
    assert unique.slots(outside).tolist() == [ABSENT] * 4
    assert unique.slots(np.array([[0, 0, 4]]))[0] >= 0
    with pytest.raises(SettingsError, match="no reflection"):
        unique_reflections(cell, group, (100.0, 200.0), friedel_apart=False)


@pytest.mark.parametrize(
    ("name", "n_ways"), [("P 43 21 2", 1), ("P 21 3", 2), ("P 63", 2), ("P 31", 4)]
)
def test_ways_of_indexing(name: str, n_ways: int) -> None:
    parameters = (60, 60, 60, 90, 90, 90) if name == "P 21 3" else (60, 60, 90, 90, 90, 120)
    cell = CELLS.get(name, parameters)
    operators = ambiguity_operators(gemmi.UnitCell(*cell), gemmi.SpaceGroup(name))
    assert len(operators) == n_ways
    assert operator_name(operators[0]) == "h,k,l"
    for operator in operators:
        assert round(abs(np.linalg.det(operator))) == 1


def test_cell_obeys_the_space_group() -> None:
    group = gemmi.SpaceGroup("P 61 2 2")
    cell = symmetrized(gemmi.UnitCell(93.0, 93.6, 130, 90.2, 89.9, 119.8), group)
    assert cell.is_compatible_with_spacegroup(group)
    assert cell.a == pytest.approx(93.3, abs=0.2)
