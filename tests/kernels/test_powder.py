"""The compiled powder sums are their NumPy twin."""

import numpy as np
import pytest

from tests.kernels.frames import SHAPE, random_frame, random_panels
from xfel_apps.compute.powder import (
    MOST_RECENT,
    NEVER,
    PARTS,
    Sums,
    powder_add,
    powder_add_reference,
)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("brighter", [1, 9000])
def test_kernel_is_twin(dtype: type, brighter: int) -> None:
    """Of the brighter frames many values do not fit in what is added in 32 bits."""
    rng = np.random.default_rng(6)
    panels, found, expected = random_panels(rng), Sums.empty(SHAPE), Sums.empty(SHAPE)
    for _ in range(3):
        frame, mask = random_frame(rng, dtype)
        frame = frame - 7 if dtype is np.int32 else frame * dtype(1)
        frame[:, ::5] *= dtype(brighter)
        powder_add(frame, mask, panels, found)
        powder_add_reference(frame, mask, panels, expected)
    found.settle()
    np.testing.assert_array_equal(found.total, expected.total)
    np.testing.assert_array_equal(found.highest, expected.highest)


def test_known_sum() -> None:
    rng = np.random.default_rng(6)
    panels, sums = random_panels(rng), Sums.empty(SHAPE)
    frame, mask = np.full(SHAPE, 2.5), np.ones(SHAPE, np.uint8)
    mask[10, 10] = 0
    for _ in range(4):
        powder_add(frame, mask, panels, sums)
    sums.settle()
    assert (sums.total[11, 10], sums.highest[11, 10]) == (10 * PARTS, 2.5 * PARTS)
    assert (sums.total[10, 10], sums.highest[10, 10]) == (0, NEVER)


def test_many_frames_do_not_overflow() -> None:
    rng = np.random.default_rng(7)
    panels, sums = random_panels(rng), Sums.empty(SHAPE)
    frame, mask = np.full(SHAPE, 60_000, np.uint16), np.ones(SHAPE, np.uint8)
    n = MOST_RECENT + 300
    for _ in range(n):
        powder_add(frame, mask, panels, sums)
    sums.settle()
    for slab, (_, highest) in zip(panels.slabs, panels.trusted, strict=True):
        assert np.all(sums.total[slab] == n * min(60_000.0, highest) * PARTS)
