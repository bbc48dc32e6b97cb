"""The compiled moments of windows are their NumPy twin."""

import numpy as np
import pytest

from tests.kernels.frames import SHAPE, random_frame
from xfel_apps.compute.window_moments import (
    GOOD,
    MEAN,
    ODD,
    WINDOW_PX,
    window_moments,
    window_moments_reference,
)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
def test_kernel_is_twin(dtype: type) -> None:
    rng = np.random.default_rng(3)
    frame, _ = random_frame(rng, dtype)
    frame[20:40] = frame[20:40] * dtype(3)
    if np.issubdtype(dtype, np.floating):
        frame[50:70] += dtype(1e5 + 0.25)
    last = np.array(SHAPE) - WINDOW_PX
    corners = rng.integers(0, last + 1, (500, 2)).astype(np.int32)
    corners[0], corners[1] = 0, last
    found = window_moments(frame, corners, (0.0, 60.0))
    expected = window_moments_reference(frame, corners, (0.0, 60.0))
    np.testing.assert_array_equal(found[:, [GOOD, ODD]], expected[:, [GOOD, ODD]])
    np.testing.assert_allclose(found[:, MEAN:], expected[:, MEAN:], rtol=1e-9, atol=1e-9)


def test_known_window() -> None:
    frame = np.full(SHAPE, 2.0)
    frame[3, 3], frame[3, 4], frame[4, 3] = -3.0, 2.5, 90.0
    corners = np.array([[0, 0], [20, 20]], np.int32)
    found = window_moments(frame, corners, (0.0, 60.0))
    assert found[0, [GOOD, ODD]].tolist() == [47, 2]
    assert found[0, MEAN] == pytest.approx((46 * 2.0 - 3.0 + 2.5 + 90.0) / 49)
    assert found[1].tolist() == [49, 0, 2.0, 0.0]
