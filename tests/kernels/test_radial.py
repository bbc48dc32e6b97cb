"""The compiled radial threshold is its NumPy twin, and finds what stands out of a ring."""

import numpy as np
import pytest

from tests.kernels.frames import SHAPE, random_frame, random_panels
from xfel_apps.compute.panels import Panels
from xfel_apps.compute.radial import (
    NO_BIN,
    Rings,
    radial_bins,
    radial_strong_pixels,
    radial_strong_pixels_reference,
)


def radius_about(slow0: float, fast0: float, shape: tuple[int, int]) -> np.ndarray:
    slow, fast = np.indices(shape) + 0.5
    return np.hypot(slow - slow0, fast - fast0)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
def test_kernel_is_twin(dtype: type) -> None:
    rng = np.random.default_rng(6)
    frame, mask = random_frame(rng, dtype)
    panels = random_panels(rng)
    bins = radial_bins(radius_about(70.0, 150.0, SHAPE), 1.5)
    bins[:, 100:103] = NO_BIN
    expected = radial_strong_pixels_reference(frame, mask, panels, Rings(bins), 4.0)
    assert 20 < expected[0].sum() < 5000
    for found, wanted in zip(
        radial_strong_pixels(frame, mask, panels, Rings(bins), 4.0), expected, strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_a_ring_is_background() -> None:
    rng = np.random.default_rng(8)
    radius = radius_about(100.0, 100.0, (200, 200))
    frame = rng.poisson(5 + 300 * np.exp(-0.5 * ((radius - 60) / 4) ** 2)).astype(np.int32)
    frame[100, 160] += 250
    panels = Panels(
        np.array([[0, 0]]), np.array([[200, 200]]), np.array([[0, 1e6]]), np.ones(1), np.zeros(1)
    )
    strong, mean, _ = radial_strong_pixels(
        frame, np.ones(frame.shape, np.uint8), panels, Rings(radial_bins(radius, 1.0)), 6.0
    )
    assert np.argwhere(strong).tolist() == [[100, 160]]
    assert mean[60] == pytest.approx(305, rel=0.02)
    assert mean[20] == pytest.approx(5, rel=0.1)
