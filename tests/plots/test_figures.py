"""What figures show, against answers that are known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from xfel_apps.plots import histograms
from xfel_apps.plots.orientation import coverage, covered_share, lambert
from xfel_apps.plots.time_axis import CutAxis

CELL = np.array([79.2, 79.2, 38.0, 90.0, 90.0, 90.0])
BEAM = np.array([0.0, 0.0, -1.0])


def a_matrices(n: int) -> np.ndarray:
    turns = Rotation.random(n, random_state=np.random.RandomState(0)).as_matrix()
    return turns @ np.diag(1.0 / CELL[:3])


def test_beam_along_an_axis():
    """A crystal whose c* lies along the beam: its direction is the pole."""
    found = coverage(np.diag(1.0 / CELL[:3])[None], CELL, "P 43 21 2", BEAM)
    np.testing.assert_allclose(np.abs(found.reduced[0]), [0.0, 0.0, 1.0], atol=1e-12)
    assert found.laue == "4/mmm"


@pytest.mark.parametrize(
    ("space_group", "order"), [("P 1", 2), ("P 21 21 21", 8), ("P 43 21 2", 16), ("P 43", 8)]
)
def test_the_reduced_sector_has_its_share_of_the_sphere(space_group, order):
    """Of directions all over the sphere, one in `order` already lies in the sector."""
    found = coverage(a_matrices(4000), CELL, space_group, BEAM)
    assert len(found.equivalents) == pytest.approx(4000 * order / 2, rel=0.05)
    turns = a_matrices(4000) @ np.diag(CELL[:3])
    kept = np.isclose(found.reduced, -turns[:, 2]).all(axis=1)
    assert kept.mean() == pytest.approx(1.0 / order, rel=0.15)
    assert found.equivalents[:, 2].min() >= 0


def test_the_sector_of_mirrors_is_the_textbook_triangle():
    found = coverage(a_matrices(2000), CELL, "P 43 21 2", BEAM)
    azimuth_deg = np.degrees(np.arctan2(found.reduced[:, 1], found.reduced[:, 0]))
    assert found.reduced[:, 2].min() > -1e-9
    assert azimuth_deg.min() > -1e-6
    assert azimuth_deg.max() < 45.0 + 1e-6


def test_hexagonal_axes_are_turned_right():
    """120 degrees about c* of a hexagonal cell is a symmetry: directions stay unit vectors."""
    cell = np.array([93.2, 93.2, 130.7, 90.0, 90.0, 120.0])
    frame = np.array([[93.2, -46.6, 0.0], [0.0, 93.2 * np.sqrt(0.75), 0.0], [0.0, 0.0, 130.7]])
    turns = Rotation.random(50, random_state=np.random.RandomState(1)).as_matrix()
    found = coverage(turns @ np.linalg.inv(frame).T, cell, "P 61 2 2", BEAM)
    np.testing.assert_allclose(np.linalg.norm(found.equivalents, axis=1), 1.0, atol=1e-9)
    np.testing.assert_allclose(turns[0].T @ BEAM @ [0, 0, 1], -turns[0][2, 2], atol=1e-12)
    heights = np.sort(np.abs(found.reduced[:, 2]))
    np.testing.assert_allclose(heights, np.sort(np.abs(turns[:, 2, 2])), atol=1e-9)


def test_coverage_counts_cells():
    many = Rotation.random(20000, random_state=np.random.RandomState(2)).as_matrix()[:, 2]
    assert covered_share(many[many[:, 2] >= 0]) == 1.0
    assert 0.0 < covered_share(np.array([[0.0, 0.0, 1.0]])) < 0.02


def test_map_keeps_areas():
    """Half of the directions of a half sphere lie above 30 degrees, on half of the disc."""
    directions = np.array([[np.cos(np.pi / 6), 0.0, np.sin(np.pi / 6)]])
    assert np.hypot(*lambert(directions)[0]) == pytest.approx(np.sqrt(0.5))


def test_time_axis_without_breaks():
    axis = CutAxis(np.array([100.0, 101.0]), np.array([101.0, 102.0]))
    assert axis.breaks == []
    np.testing.assert_allclose(axis.place(np.array([100.0, 101.5])), [0.0, 1.5])


def test_a_long_break_is_cut_and_named():
    start = np.concatenate([np.arange(10.0), 5000.0 + np.arange(10.0)])
    axis = CutAxis(start, start + 1.0)
    (place, gap_s), *more = axis.breaks
    assert not more
    assert gap_s == pytest.approx(4990.0)
    assert 10.0 < place < 10.3
    assert axis.length == pytest.approx(20.0 + 0.2 * 0.05 * 20.0)
    ends = axis.place(start + 1.0)
    np.testing.assert_allclose(ends - axis.place(start), 1.0)


@pytest.mark.parametrize(
    ("space_group", "free"),
    [
        ("P 1", "abcαβγ"),
        ("C 1 2 1", "abcβ"),
        ("P 21 21 21", "abc"),
        ("P 61 2 2", "ac"),
        ("R 3 :H", "ac"),
        ("P 2 3", "a"),
    ],
)
def test_cell_parameters_that_symmetry_leaves_free(space_group, free):
    fixed = histograms.fixed_by_symmetry(space_group)
    assert "".join(n for n, is_fixed in zip("abcαβγ", fixed, strict=True) if not is_fixed) == free


def test_outliers_do_not_set_the_range():
    values = np.concatenate([np.random.default_rng(0).normal(79.2, 0.1, 1000), [200.0]])
    low, high = histograms.core(values)
    assert 78.0 < low < 79.0
    assert 79.4 < high < 80.4


def test_all_alike():
    low, high = histograms.core(np.full(5, 90.0))
    assert low < 90.0 < high
