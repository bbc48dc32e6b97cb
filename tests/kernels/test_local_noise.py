"""The compiled map of local noise is its NumPy twin, and sees noise but not spots."""

import numpy as np
import pytest

from tests.kernels.frames import random_frame, random_panels
from xfel_apps.compute.local_noise import local_noise, local_noise_reference, noise_maps
from xfel_apps.compute.panels import Panels


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_kernel_is_twin(dtype: type) -> None:
    rng = np.random.default_rng(6)
    frame, mask = random_frame(rng, dtype)
    panels = random_panels(rng)
    expected = local_noise_reference(frame, mask, panels)
    assert expected.max() > 2
    np.testing.assert_allclose(local_noise(frame, mask, panels), expected, rtol=1e-4)


def test_noise_is_seen_and_spots_are_not() -> None:
    rng = np.random.default_rng(7)
    frame = rng.poisson(20.0, (210, 210)).astype(np.float64)
    for _ in range(30):
        s, f = rng.integers(2, 208, 2)
        frame[s : s + 2, f : f + 2] += 200
    frame[:, 140:] += rng.normal(0, 10, (210, 70))
    panels = Panels(
        np.array([[0, 0]]), np.array([[210, 210]]), np.array([[-99, 1e6]]), np.ones(1), np.zeros(1)
    )
    windows = local_noise(frame, np.ones(frame.shape, np.uint8), panels)
    excess = noise_maps(windows, panels)[0]
    assert np.median(excess[:, :120]) < 1.15
    assert np.median(excess[:, 160:]) == pytest.approx(6.0, rel=0.1)
