"""The cell is found from spots alone, shot by shot and for the run."""

import numpy as np
import pytest

from tests.index.stills import Errors, random_rotation, still
from xfel_apps.errors import SettingsError
from xfel_apps.index import unknown
from xfel_apps.index.consensus import consensus, in_space_group
from xfel_apps.index.sampling import directions
from xfel_apps.index.target import Cell, TargetLattice
from xfel_apps.index.unknown import enlarged, find_cell

LATTICES: list[tuple[Cell, str, str]] = [
    ((79.2, 79.2, 38.0, 90, 90, 90), "P43212", "tP"),
    ((93.2, 93.2, 130.7, 90, 90, 120), "P6122", "hP"),
    ((61.4, 122.6, 88.0, 90, 90, 90), "C2221", "oC"),
    ((41.0, 52.0, 63.0, 82.0, 95.0, 104.0), "P1", "aP"),
]


@pytest.mark.parametrize(("cell", "group", "kind"), LATTICES)
def test_consensus_of_three_stills(cell: Cell, group: str, kind: str) -> None:
    target = TargetLattice.checked(cell, group)
    rng = np.random.default_rng(21)
    found = []
    for _ in range(3):
        a_matrix = random_rotation(rng) @ target.b_matrix * rng.normal(1.0, 0.001)
        spots = still(a_matrix, target, rng, Errors(observed=0.6, n_alien=5), d_min_ang=2.5)
        one = find_cell(spots, 140.0, 6)
        assert one is not None
        assert one.log_odds > 10.0
        found.append(one)
    lattices = np.array([one.a_matrix for one in found])
    run = consensus(lattices, np.array([one.log_odds for one in found]))
    assert (run.bravais.kind, run.n_shots, run.n_found) == (kind, 3, 3)
    volume = np.linalg.det(run.bravais.target.b_matrix)
    assert volume == pytest.approx(np.linalg.det(target.b_matrix), rel=0.01)
    if kind != "aP":
        np.testing.assert_allclose(run.bravais.target.cell, cell, rtol=5e-3)


def test_scattered_spots_have_no_cell() -> None:
    target = TargetLattice.checked(*LATTICES[0][:2])
    rng = np.random.default_rng(22)
    for n in (10, 30, 60):
        spots = still(target.b_matrix, target, rng, Errors(observed=0.0, n_alien=n))
        found = find_cell(spots, 100.0, 6)
        assert found is None or found.log_odds < 5.0


def test_a_cell_with_a_missing_axis_is_enlarged() -> None:
    target = TargetLattice.checked((40, 50, 120, 90, 90, 90), "P222")
    rng = np.random.default_rng(23)
    truth = random_rotation(rng) @ target.b_matrix
    q = still(truth, target, rng, d_min_ang=4.0).q
    half = truth @ np.diag([1.0, 1.0, 3.0])
    found = enlarged(half, q, 200.0)
    assert 1.0 / np.linalg.det(found) == pytest.approx(40 * 50 * 120)
    assert enlarged(half, q, 100.0) is half


def test_work_is_bounded_however_long_the_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def counted(n: int) -> np.ndarray:
        tried.append(n)
        return directions(64)

    monkeypatch.setattr(unknown, "directions", counted)
    q = np.random.default_rng(25).normal(size=(20, 3)) * 0.3
    for longest_ang in (250.0, 1000.0):
        tried.clear()
        unknown.lattice_vectors(q, 1.0, longest_ang)
        assert sum(tried) < 1.1 * unknown.MOST_VECTORS


def test_the_cell_of_most_evidence_wins() -> None:
    rng = np.random.default_rng(24)
    form = TargetLattice.checked((79.2, 79.2, 38, 90, 90, 90), "P422").b_matrix
    other = TargetLattice.checked((50, 60, 70, 90, 90, 90), "P222").b_matrix
    turned = form @ np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    lattices = [form, other, turned * 1.002, other * 0.999, form * 0.998]
    lattices = [random_rotation(rng) @ lattice for lattice in lattices]
    found = consensus(np.array(lattices), np.array([40.0, 50.0, 30.0, 15.0, 20.0]))
    assert (found.bravais.kind, found.n_shots, found.n_found) == ("tP", 3, 5)
    assert found.bravais.target.cell[0] == pytest.approx(79.2, rel=1e-6)


def test_space_group_of_another_lattice_is_refused() -> None:
    cell = (79.2, 79.2, 38.0, 90.0, 90.0, 90.0)
    assert in_space_group("tP", cell, "P43212").space_group == "P 43 21 2"
    assert in_space_group("tP", cell, "P212121").space_group == "P 21 21 21"
    with pytest.raises(SettingsError, match=r"is tP, which index\.space_group I4 is not"):
        in_space_group("tP", cell, "I4")
    with pytest.raises(SettingsError, match="contradicts"):
        in_space_group("tP", cell, "P6122")
