"""The compiled search for spots is its NumPy twin, and spots are what they should be."""

import numpy as np
import pytest

from tests.kernels.frames import random_frame, random_panels
from xfel_apps.compute.components import (
    COLUMNS,
    EDGE,
    SATURATED,
    SpotLimits,
    find_spots,
    find_spots_reference,
)
from xfel_apps.compute.panels import Panels
from xfel_apps.compute.threshold import Dispersion, strong_pixels


def one_panel(size: int, gain: float = 1.0, highest: float = 1e6) -> Panels:
    return Panels(
        np.array([[0, 0]]),
        np.array([[size, size]]),
        np.array([[-100.0, highest]]),
        np.array([gain]),
        np.zeros(1),
    )


@pytest.mark.parametrize("limits", [SpotLimits(), SpotLimits(2, 6, 1, 15)])
@pytest.mark.parametrize("dtype", [np.int32, np.float64])
@pytest.mark.parametrize("seed", range(4))
def test_kernel_is_twin(seed: int, dtype: type, limits: SpotLimits) -> None:
    rng = np.random.default_rng(seed)
    frame, mask = random_frame(rng, dtype)
    panels = random_panels(rng)
    strong = strong_pixels(frame, mask, panels, Dispersion(3, 3.0, 2.5, 5))
    expected = find_spots_reference(frame, mask, strong, panels, limits)
    spots = find_spots(frame, mask, strong.copy(), panels, limits)
    assert len(expected) > 10
    np.testing.assert_allclose(spots, expected, rtol=1e-6, atol=1e-6)


def test_dense_pixels_are_labelled_like_scipy() -> None:
    """Half of all pixels strong: mazes that join in every way a maze can."""
    rng = np.random.default_rng(2)
    strong = (rng.random((70, 70)) < 0.3).astype(np.uint8)
    frame = rng.poisson(5.0, strong.shape).astype(np.int32)
    mask, limits = np.ones_like(strong), SpotLimits(1, 5000, 30, 1)
    expected = find_spots_reference(frame, mask, strong, one_panel(70), limits)
    spots = find_spots(frame, mask, strong, one_panel(70), limits)
    np.testing.assert_allclose(spots, expected, rtol=1e-6, atol=1e-6)


def spot_of(frame: np.ndarray, strong: np.ndarray, panels: Panels) -> dict[str, float]:
    mask = np.ones(frame.shape, np.uint8)
    spots = find_spots(frame, mask, strong, panels, SpotLimits())
    assert len(spots) == 1
    return dict(zip(COLUMNS, spots[0], strict=True))


def test_known_spot() -> None:
    frame = np.full((40, 40), 40, np.int32)
    frame[20, 10:12] += [1200, 400]
    strong = np.zeros(frame.shape, np.uint8)
    strong[20, 10:12] = 1
    spot = spot_of(frame, strong, one_panel(40, gain=4.0))
    assert spot["fast_px"] == pytest.approx(10.5 + 100**0.5 / (300**0.5 + 100**0.5))
    assert spot["slow_px"] == pytest.approx(20.5)
    assert (spot["intensity"], spot["background"], spot["peak"]) == (400.0, 10.0, 310.0)
    assert (spot["peak_fast"], spot["peak_slow"], spot["n_pixels"]) == (10, 20, 2)
    assert spot["flags"] == 0
    n, m = 12, 9 * 10 - 12
    assert spot["sigma"] ** 2 == pytest.approx(400 + n * 10 + n**2 / m * 10)


def test_centroid_errors_are_as_large_as_they_say() -> None:
    """Gaussian spots of known position: errors over their standard deviations spread by one."""
    rng = np.random.default_rng(4)
    slow, fast = np.indices((24, 24)) + 0.5
    pulls = []
    for _ in range(300):
        f, s = rng.uniform(11.5, 12.5, 2)
        shape = np.exp(-0.5 * ((fast - f) ** 2 + (slow - s) ** 2) / 0.8**2)
        frame = rng.poisson(4.0 + 400 * shape / shape.sum()).astype(np.int32)
        spot = spot_of(frame, (400 * shape / shape.sum() > 20).astype(np.uint8), one_panel(24))
        pulls.append((spot["fast_px"] - f) / np.sqrt(spot["fast_var_px2"]))
        pulls.append((spot["slow_px"] - s) / np.sqrt(spot["slow_var_px2"]))
    assert abs(np.mean(pulls)) < 0.1
    assert 0.5 < np.std(pulls) < 1.2


def test_flags() -> None:
    frame = np.full((40, 40), 10, np.int32)
    frame[1, 20] = 500
    strong = np.zeros(frame.shape, np.uint8)
    strong[1, 20] = 1
    assert spot_of(frame, strong.copy(), one_panel(40))["flags"] == EDGE
    assert spot_of(frame, strong, one_panel(40, highest=100))["flags"] == EDGE | SATURATED


def test_spots_at_corners_touch_but_not_across_panels() -> None:
    frame = np.full((20, 40), 10, np.int32)
    strong = np.zeros(frame.shape, np.uint8)
    for place in [(9, 9), (10, 10), (5, 19), (5, 20)]:
        frame[place], strong[place] = 100, 1
    panels = Panels(
        np.array([[0, 0], [20, 0]]),
        np.array([[20, 20], [20, 20]]),
        np.full((2, 2), [0.0, 1e6]),
        np.ones(2),
        np.zeros(2),
    )
    spots = find_spots(frame, np.ones_like(strong), strong, panels, SpotLimits())
    columns = dict(zip(COLUMNS, spots.T, strict=True))
    assert columns["n_pixels"].tolist() == [1, 2, 1]
    assert columns["panel"].tolist() == [0, 0, 1]
    assert columns["peak_fast"].tolist()[::2] == [19, 0]
