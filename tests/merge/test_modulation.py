"""How much is recorded depends on the place in the pixel, against simulated stills."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.merge_data import Lattice, write_run
from tests.merge.stills import Stills
from xfel_apps.intensities.agreement import correlation
from xfel_apps.merge import modulation
from xfel_apps.merge.pipeline import Result, merge
from xfel_apps.merge.settings import MergeSettings
from xfel_apps.mpi import serial

STILLS = Stills(n_crystals=160, sd_tilt_mrad=0.1)


def sampled_at_points(position_px: np.ndarray, sigma_px: float) -> np.ndarray:
    """Return what pixels sampled at their centres record of Gaussian spots, over its integral."""
    near = np.floor(position_px)[:, None] + np.arange(-6, 7) + 0.5
    sums = np.exp(-0.5 * ((near - position_px[:, None]) / sigma_px) ** 2).sum(axis=1)
    return np.asarray(sums / (sigma_px * np.sqrt(2 * np.pi)))


def recorded(sigma_px: float | None) -> Iterator[tuple[int, Lattice]]:
    """Yield stills whose spots are as narrow as that; None: so wide that it does not matter."""
    rng = np.random.default_rng(3)
    for event, lattice in STILLS.lattices():
        columns = dict(lattice.columns)
        fast, slow = rng.uniform(0.0, 1000.0, (2, len(columns["h"])))
        if sigma_px is not None:
            share = sampled_at_points(fast, sigma_px) * sampled_at_points(slow, sigma_px)
            columns["intensity"] = share * columns["intensity"]
        yield event, replace(lattice, columns={**columns, "fast_px": fast, "slow_px": slow})


def merged(folder: Path, sigma_px: float | None, **settings: object) -> tuple[Result, float]:
    """Return the result, and its correlation with the truth."""
    path = write_run(folder / "r" / "reflections.json", recorded(sigma_px))
    result = merge(serial(), [path], MergeSettings.checked({"d_min_ang": 4.0, **settings}))
    hkl, intensity, _ = STILLS.unique
    truth = np.full(len(result.unique), np.nan)
    truth[result.unique.slots(hkl)] = intensity
    known = result.merged.is_measured
    return result, correlation(result.merged.mean.intensity[known], truth[known])


def test_factors_of_a_narrow_spot_are_those_of_the_exact_sum() -> None:
    position = np.linspace(0.0, 1.0, 256, endpoint=False)
    exact = sampled_at_points(position, 0.35)
    depth = 2 * np.exp(-2 * np.pi**2 * 0.35**2)  # the first term of Poisson's sum
    coefficients = np.array([-depth, 0, 0, 0, 0, 0, 0, 0])
    places = modulation.place(position), modulation.place(np.full(256, 0.25))
    found = modulation.factor(coefficients, places, np.zeros(256))
    np.testing.assert_allclose(found, exact, atol=0.01)


def test_slopes_are_those_of_finite_differences() -> None:
    rng = np.random.default_rng(0)
    places = tuple(rng.integers(0, 256, 50).astype(np.uint8) for _ in range(2))
    coefficients, s2 = rng.normal(0, 0.1, 8), rng.uniform(0, 1 / 16, 50)
    for number, slope in enumerate(modulation.slopes(coefficients, places, s2)):
        ahead, behind = (
            np.log(modulation.factor(coefficients + step * np.eye(8)[number], places, s2))
            for step in (1e-6, -1e-6)
        )
        np.testing.assert_allclose(slope, (ahead - behind) / 2e-6, atol=1e-8)


def test_spots_narrower_than_pixels_are_put_right(tmp_path: Path) -> None:
    result, cc = merged(tmp_path / "with", 0.3)
    plain, cc_plain = merged(tmp_path / "without", 0.3, fit_modulation=False)
    depth = 2 * np.exp(-2 * np.pi**2 * 0.3**2)
    assert modulation.amplitudes(result.state.modulation) == pytest.approx((depth, depth), rel=0.1)
    assert result.state.model.relative < 0.3 * plain.state.model.relative
    assert 1 - cc < 0.3 * (1 - cc_plain)


def test_where_there_is_none_none_is_found(tmp_path: Path) -> None:
    result, _ = merged(tmp_path, None)
    assert max(modulation.amplitudes(result.state.modulation)) < 0.03
