"""Post-refinement: tilts of crystals that are known, found from intensities alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from benchmarks.merge_data import write_run
from tests.merge.stills import CELL, WAVELENGTH_ANG, Stills
from xfel_apps.compute.scaling import Scales
from xfel_apps.geometry.mosaic import Mosaic
from xfel_apps.geometry.stills import excitation_error_invang
from xfel_apps.merge.pipeline import Result, merge
from xfel_apps.merge.postrefine import Turning, move, slopes
from xfel_apps.merge.settings import MergeSettings
from xfel_apps.mpi import serial

STILLS = Stills(n_crystals=120)


def turned(seed: int, step_mrad: tuple[float, float]) -> tuple[np.ndarray, ...]:
    """Return fractions before, after `move`, after by geometry, and slopes of the logarithm."""
    rng = np.random.default_rng(seed)
    a_matrix = Rotation.random(random_state=seed).as_matrix() @ np.diag(
        1 / np.array(CELL.parameters[:3])
    )
    mosaic, s0 = Mosaic(0.05, 1200.0), np.array([0, 0, -1 / WAVELENGTH_ANG])
    hkl = rng.integers(-12, 12, (60_000, 3))
    hkl = hkl[np.any(hkl, axis=1)]

    def fractions(matrix: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        q = chosen @ matrix.T
        return mosaic.partiality(excitation_error_invang(q, s0), np.linalg.norm(q, axis=1))

    hkl = hkl[fractions(a_matrix, hkl) > 0.1]
    before = fractions(a_matrix, hkl)
    one = np.zeros(len(hkl), int)
    turning = Turning(
        a_matrix[None], np.array([WAVELENGTH_ANG]), np.array([0.05]), np.array([1200.0])
    )
    own = before.astype(np.float32)
    x, y = turning.of(one, hkl, own)
    s2 = 0.25 * np.sum((hkl @ a_matrix.T) ** 2, axis=1)
    along = slopes(own, x, y, s2)
    move(own, x, y, s2, (np.tile(step_mrad, (len(hkl), 1)), np.zeros((len(hkl), 2))))
    rotation = Rotation.from_rotvec([1e-3 * step_mrad[0], 1e-3 * step_mrad[1], 0]).as_matrix()
    return before, own, fractions(rotation @ a_matrix, hkl), along


def test_fractions_change_as_geometry_says() -> None:
    before, after, expected, _ = turned(1, (0.8, -1.1))
    assert np.abs(expected - before).max() > 0.3  # it is a large turn
    np.testing.assert_allclose(after, expected, atol=0.01)


def test_slopes_are_those_of_small_turns() -> None:
    before, _, after, along = turned(2, (1e-3, 0.0))
    np.testing.assert_allclose(np.log(after / before), 1e-3 * along[0], atol=2e-5)


def test_wider_reflections_have_the_fractions_of_a_wider_model() -> None:
    """At 4 Angstrom the width changes by the mean of the logarithms at 2 and at infinity."""
    rng = np.random.default_rng(3)
    away, s2 = rng.uniform(0, 1.5e-3, 1000), np.full(1000, 0.25 / 4.0**2)
    q = np.full(1000, 0.25)
    before, after = (Mosaic(0.0, size).partiality(away, q) for size in (1500.0, 1000.0))
    own, x, y = before.astype(np.float32), np.zeros(1000, np.int16), np.zeros(1000, np.int16)
    log_width = np.tile(np.log([1.5 / 1.1, 1.5 * 1.1]), (1000, 1))
    move(own, x, y, s2, (np.zeros((1000, 2)), log_width))
    np.testing.assert_allclose(own, after, atol=1e-5)


def test_slopes_of_widths_are_those_of_small_changes() -> None:
    rng = np.random.default_rng(4)
    own, s2 = rng.uniform(0.2, 1.0, 500), rng.uniform(0.0, 0.06, 500)
    x, y, none = np.zeros(500, np.int16), np.zeros(500, np.int16), np.zeros((500, 2))
    along = slopes(own, x, y, s2)
    crystal, step = np.zeros(500, int), 1e-5
    for number, column in ((2, 4), (3, 5)):
        scales, moved = Scales.ones(1), own.copy()
        scales.table[0, column] = step
        move(moved, x, y, s2, (none, np.tile(scales.log_width, (500, 1))))
        change = np.log(moved / own) + np.log(scales.factor(crystal, s2))
        np.testing.assert_allclose(change / step, along[number], atol=1e-4)


def test_fractions_of_another_model_stay() -> None:
    turning = Turning(np.eye(3)[None] / 79, np.ones(1), np.zeros(1), np.zeros(1))
    own = np.array([0.3, 1.0], np.float32)
    x, y = turning.of(np.zeros(2, int), np.array([[1, 2, 3], [3, 1, 0]]), own)
    move(own, x, y, np.zeros(2), (np.ones((2, 2)), np.zeros((2, 2))))
    assert own.tolist() == pytest.approx([0.3, 1.0])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Result]:
    folder = tmp_path_factory.mktemp("stills")
    path = write_run(folder / "reflections.json", STILLS.lattices())
    return {
        on: merge(serial(), [path], MergeSettings(d_min_ang=4.0, post_refinement=on))
        for on in (False, True)
    }


def cc(result: Result) -> float:
    hkl, plus, minus = STILLS.unique
    truth = np.full(len(result.unique), np.nan)
    truth[result.unique.slots(hkl) // result.unique.slots_each] = 0.5 * (plus + minus)
    known = result.merged.is_measured
    return float(np.corrcoef(result.merged.mean.intensity[known], truth[known])[0, 1])


def test_orientations_are_found(results: dict[bool, Result]) -> None:
    left = STILLS.tilts_mrad - results[True].state.scales.tilt_mrad
    assert np.median(np.abs(left)) < 0.25 * np.median(np.abs(STILLS.tilts_mrad))
    assert not results[False].state.scales.tilt_mrad.any()


def test_intensities_are_nearer_to_the_truth(results: dict[bool, Result]) -> None:
    assert 1 - cc(results[True]) < 0.5 * (1 - cc(results[False]))


def test_widths_are_found(tmp_path: Path) -> None:
    """Integrated with widths that are all too large by a fifth, and do not grow."""
    assumed = Mosaic(0.0, 900.0)
    true = Stills(n_crystals=120, sd_tilt_mrad=0.0, d_min_ang=3.0, mosaic=Mosaic(0.08, 1400.0))
    path = write_run(tmp_path / "reflections.json", replace(true, assumed=assumed).lattices())
    scales = merge(serial(), [path], MergeSettings(d_min_ang=3.0)).state.scales
    for outer, q_invang in ((0.2, 0.1), (0.6, 0.3)):
        found = scales.log_width @ [1 - outer, outer]
        q = np.array([q_invang])
        expected = np.log(true.mosaic.half_width_invang(q) / assumed.half_width_invang(q))
        assert np.median(found) == pytest.approx(expected[0], abs=0.06)


def test_crystals_that_are_right_stay(tmp_path: Path) -> None:
    path = write_run(tmp_path / "reflections.json", replace(STILLS, sd_tilt_mrad=0.0).lattices())
    result = merge(serial(), [path], MergeSettings(d_min_ang=4.0))
    assert np.median(np.abs(result.state.scales.tilt_mrad)) < 0.05
