"""Post-refinement: tilts of crystals that are known, found from intensities alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from benchmarks.merge_data import write_run
from tests.merge.stills import CELL, WAVELENGTH_ANG, Stills
from xfel_apps.geometry.mosaic import Mosaic
from xfel_apps.geometry.stills import excitation_error_invang
from xfel_apps.merge.pipeline import Result, merge
from xfel_apps.merge.postrefine import Turning, slopes, turn
from xfel_apps.merge.settings import MergeSettings
from xfel_apps.mpi import serial

STILLS = Stills(n_crystals=120)


def turned(seed: int, step_mrad: tuple[float, float]) -> tuple[np.ndarray, ...]:
    """Return fractions before, after `turn`, after by geometry, and slopes of the logarithm."""
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
    along = slopes(own, x, y)
    turn(own, x, y, np.tile(step_mrad, (len(hkl), 1)))
    rotation = Rotation.from_rotvec([1e-3 * step_mrad[0], 1e-3 * step_mrad[1], 0]).as_matrix()
    return before, own, fractions(rotation @ a_matrix, hkl), along


def test_fractions_change_as_geometry_says() -> None:
    before, after, expected, _ = turned(1, (0.8, -1.1))
    assert np.abs(expected - before).max() > 0.3  # it is a large turn
    np.testing.assert_allclose(after, expected, atol=0.01)


def test_slopes_are_those_of_small_turns() -> None:
    before, _, after, along = turned(2, (1e-3, 0.0))
    np.testing.assert_allclose(np.log(after / before), 1e-3 * along[0], atol=2e-5)


def test_fractions_of_another_model_stay() -> None:
    turning = Turning(np.eye(3)[None] / 79, np.ones(1), np.zeros(1), np.zeros(1))
    own = np.array([0.3, 1.0], np.float32)
    x, y = turning.of(np.zeros(2, int), np.array([[1, 2, 3], [3, 1, 0]]), own)
    turn(own, x, y, np.ones((2, 2)))
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


def test_crystals_that_are_right_stay(tmp_path: Path) -> None:
    path = write_run(tmp_path / "reflections.json", replace(STILLS, sd_tilt_mrad=0.0).lattices())
    result = merge(serial(), [path], MergeSettings(d_min_ang=4.0))
    assert np.median(np.abs(result.state.scales.tilt_mrad)) < 0.05
