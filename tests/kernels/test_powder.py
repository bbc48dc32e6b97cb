"""The compiled powder sums are their NumPy twin."""

import numpy as np
import pytest

from tests.kernels.frames import SHAPE, random_frame, random_panels
from xfel_apps.compute.powder import NEVER, PARTS, powder_add, powder_add_reference


def empty() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(SHAPE, np.int64), np.full(SHAPE, NEVER, np.int32)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_kernel_is_twin(dtype: type) -> None:
    rng = np.random.default_rng(6)
    panels, found, expected = random_panels(rng), empty(), empty()
    for _ in range(3):
        frame, mask = random_frame(rng, dtype)
        frame = frame - 7 if dtype is np.int32 else frame * dtype(1)
        powder_add(frame, mask, panels, *found)
        powder_add_reference(frame, mask, panels, *expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_known_sum() -> None:
    rng = np.random.default_rng(6)
    panels, (total, highest) = random_panels(rng), empty()
    frame, mask = np.full(SHAPE, 2.5), np.ones(SHAPE, np.uint8)
    mask[10, 10] = 0
    for _ in range(4):
        powder_add(frame, mask, panels, total, highest)
    assert (total[11, 10], highest[11, 10]) == (10 * PARTS, 2.5 * PARTS)
    assert (total[10, 10], highest[10, 10]) == (0, NEVER)
