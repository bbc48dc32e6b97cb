"""Lattices are found, refined and told from chance, whatever their symmetry."""

import numpy as np
import pytest

from tests.index.stills import Errors, random_rotation, still
from tests.index.test_target import LATTICES
from tests.refgeom import simulated
from xfel_apps.geometry.stills import metric_cell
from xfel_apps.index.judge import log_odds
from xfel_apps.index.lattices import index_spots
from xfel_apps.index.refine import ShotSpots, refine
from xfel_apps.index.settings import IndexSettings
from xfel_apps.index.target import Cell, TargetLattice

LYSOZYME: tuple[Cell, str] = ((79.2, 79.2, 38.0, 90, 90, 90), "P43212")


def _join(*shots: ShotSpots) -> ShotSpots:
    return ShotSpots(
        shots[0].s0,
        np.concatenate([shot.s1 for shot in shots]),
        np.concatenate([shot.sigma for shot in shots]),
        shots[0].pixel_invang,
    )


@pytest.mark.parametrize(("cell", "group"), [item[:2] for item in LATTICES])
def test_known_lattice_is_found(cell: Cell, group: str) -> None:
    rng = np.random.default_rng(11)
    target = TargetLattice.checked(cell, group)
    truth = random_rotation(rng) @ target.b_matrix * 1.001
    spots = still(truth, target, rng, Errors(n_alien=10), d_min_ang=2.5)
    result = index_spots(spots, target, IndexSettings(), seed=0)
    assert len(result.lattices) == 1, result.reason
    found = result.lattices[0]
    assert target.misorientation_deg(found.a_matrix, truth) < 0.1
    np.testing.assert_allclose(metric_cell(found.a_matrix), metric_cell(truth), rtol=2e-3)
    np.testing.assert_array_equal(target.present(found.hkl), True)
    assert len(found.spots) >= 0.95 * (len(spots.s1) - 10)


def test_cell_is_refined_within_its_error() -> None:
    target = TargetLattice.checked(*LYSOZYME)
    true_target = TargetLattice.checked((79.4, 79.4, 37.9, 90, 90, 90), "P43212")
    rng = np.random.default_rng(2)
    truth = random_rotation(rng) @ true_target.b_matrix
    spots = still(truth, true_target, rng, Errors(observed=0.8), d_min_ang=2.2)
    found = index_spots(spots, target, IndexSettings(), seed=0).lattices[0]
    cell = metric_cell(found.a_matrix)
    np.testing.assert_allclose(cell[[0, 2]], [79.4, 37.9], rtol=3e-4)
    assert cell[0] == pytest.approx(cell[1], rel=1e-9)
    np.testing.assert_allclose(cell[3:], 90.0, atol=1e-9)
    assert target.misorientation_deg(found.a_matrix, truth) < 0.03
    assert 0.5 < found.residuals[:, 0].std() / 0.0003 < 1.5


def test_two_lattices_in_one_shot() -> None:
    target = TargetLattice.checked(*LYSOZYME)
    rng = np.random.default_rng(5)
    truths = [random_rotation(rng) @ target.b_matrix for _ in range(2)]
    both = _join(*(still(truth, target, rng) for truth in truths))
    found = index_spots(both, target, IndexSettings(), seed=0).lattices
    assert len(found) == 2
    errors = [
        min(target.misorientation_deg(truth, item.a_matrix) for item in found) for truth in truths
    ]
    assert max(errors) < 0.1
    assert not set(found[0].spots) & set(found[1].spots)
    only_one = index_spots(both, target, IndexSettings(max_lattices=1), seed=0).lattices
    assert len(only_one) == 1


def test_scattered_spots_hold_no_lattice() -> None:
    target = TargetLattice.checked(*LYSOZYME)
    rng = np.random.default_rng(6)
    settings = IndexSettings(tries=0)
    nothing = Errors(observed=0.0)
    for n in (6, 12, 25, 50, 100):
        for _ in range(6):
            errors = Errors(nothing.excitation_invang, nothing.position_px, 0.0, n)
            spots = still(target.b_matrix, target, rng, errors)
            result = index_spots(spots, target, settings, seed=0)
            assert not result.lattices
            assert f"of {n} spots" in result.reason


def test_few_spots_are_not_tried() -> None:
    target = TargetLattice.checked(*LYSOZYME)
    rng = np.random.default_rng(7)
    spots = still(target.b_matrix, target, rng, Errors(observed=0.0, n_alien=3))
    assert index_spots(spots, target, IndexSettings(), 0).reason == "3 spots, 6 needed"


def test_a_cell_too_far_off_is_refused() -> None:
    target = TargetLattice.checked(*LYSOZYME)
    far = TargetLattice.checked((80.0, 80.0, 38.0, 90, 90, 90), "P43212")
    rng = np.random.default_rng(8)
    spots = still(random_rotation(rng) @ far.b_matrix, far, rng, Errors(observed=0.9))
    strict = IndexSettings(max_length_deviation=0.005)
    assert "cell length deviates 1.0 %" in index_spots(spots, target, strict, 0).reason
    assert len(index_spots(spots, target, IndexSettings(), 0).lattices) == 1


WRONG: list[tuple[Cell, str]] = [
    ((83.2, 83.2, 38.0, 90, 90, 90), "P43212"),
    ((79.2, 79.2, 36.1, 90, 90, 90), "P43212"),
    ((79.2, 83.2, 38.0, 90, 90, 90), "P212121"),  # two axes of three are right
    ((79.2, 38.0, 79.2, 90, 95, 90), "P21"),
    ((79.2, 79.2, 76.0, 90, 90, 90), "P43212"),  # every spot lies on it, no odd index has any
    ((79.2, 79.2, 19.0, 90, 90, 90), "P43212"),  # half of the spots lie on it, exactly
    ((79.2, 79.2, 38.0, 90, 90, 90), "I422"),
    ((79.2, 79.2, 79.2, 90, 90, 90), "P23"),
]


@pytest.mark.parametrize(("cell", "group"), WRONG)
def test_a_cell_that_shares_much_with_the_right_one_gives_no_lattice(
    cell: Cell, group: str
) -> None:
    true = TargetLattice.checked(*LYSOZYME)
    target = TargetLattice.checked(cell, group)
    rng = np.random.default_rng(9)
    for observed in (0.3, 0.6, 1.0):
        spots = still(random_rotation(rng) @ true.b_matrix, true, rng, Errors(observed=observed))
        assert not index_spots(spots, target, IndexSettings(), 0).lattices
        assert len(index_spots(spots, true, IndexSettings(), 0).lattices) == 1


def test_a_user_reads_which_cell_is_likelier() -> None:
    true = TargetLattice.checked(*LYSOZYME)
    doubled = TargetLattice.checked((79.2, 79.2, 76.0, 90, 90, 90), "P43212")
    rng = np.random.default_rng(9)
    spots = still(random_rotation(rng) @ true.b_matrix, true, rng)
    reason = index_spots(spots, doubled, IndexSettings(), 0).reason
    assert "one with the primitive cell" in reason
    for length in ("38.0", "79.2"):
        assert length in reason


def test_lattices_are_believed_where_panels_lie_up_to_3_px_off() -> None:
    """Their cells are strained to follow the panels; that is no reason to suspect another cell."""
    rng, wavelength_ang = np.random.default_rng(3), simulated.WAVELENGTH_ANG
    detector, settings = simulated.design(), IndexSettings(max_rmsd_px=6.0)
    stills = simulated.take_stills(simulated.displaced(detector, rng), 8, rng)
    s0, pixel = np.array([0.0, 0.0, -1.0 / wavelength_ang]), 1e-3 / wavelength_ang
    for _, panel, fast, slow in stills.spots:
        s1 = detector.s1(panel, fast, slow, wavelength_ang)
        spots = ShotSpots(s0, s1, np.full(len(s1), 0.2 * pixel), pixel)
        result = index_spots(spots, simulated.TARGET, settings, 0)
        assert len(result.lattices) == 1, result.reason


def test_two_crystals_and_noise_are_no_reason_to_doubt_a_lattice() -> None:
    target = TargetLattice.checked(*LYSOZYME)
    rng = np.random.default_rng(10)
    for _ in range(4):
        parts = [
            still(random_rotation(rng) @ target.b_matrix, target, rng, Errors(0.0003, 0.2, 0.9, n))
            for n in (0, 20)
        ]
        assert len(index_spots(_join(*parts), target, IndexSettings(), 0).lattices) == 2


def test_evidence_grows_with_spots_and_with_tightness() -> None:
    target = TargetLattice.checked(*LYSOZYME)
    rng = np.random.default_rng(9)
    truth = random_rotation(rng) @ target.b_matrix

    def odds(errors: Errors) -> float:
        spots = still(truth, target, np.random.default_rng(1), errors)
        return log_odds(refine(spots, truth, target, 0.003), spots, target, 0.003)

    assert odds(Errors(observed=0.6)) > odds(Errors(observed=0.3)) > odds(Errors(observed=0.1)) > 9
    assert odds(Errors(position_px=0.1)) > odds(Errors(position_px=0.8))
    assert odds(Errors()) > odds(Errors(n_alien=60))
    assert odds(Errors(observed=0.0, n_alien=40)) < 0


def test_result_depends_on_spots_and_seed_only() -> None:
    target = TargetLattice.checked(*LYSOZYME)
    rng = np.random.default_rng(10)
    spots = still(random_rotation(rng) @ target.b_matrix, target, rng, Errors(n_alien=20))
    one, other = (index_spots(spots, target, IndexSettings(), 3).lattices[0] for _ in range(2))
    np.testing.assert_array_equal(one.a_matrix, other.a_matrix)
    np.testing.assert_array_equal(one.hkl, other.hkl)
