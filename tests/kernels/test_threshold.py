"""The compiled threshold is its NumPy twin."""

import math

import numpy as np
import pytest

from tests.kernels.frames import SHAPE, random_frame, random_panels
from xfel_apps.compute.local_noise import window_grids
from xfel_apps.compute.panels import Panels
from xfel_apps.compute.threshold import (
    MAX_HALF_WIDTH,
    Dispersion,
    strong_pixels,
    strong_pixels_reference,
)

DTYPES = [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64]


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize("half_width", range(1, MAX_HALF_WIDTH + 1))
def test_kernel_is_twin(half_width: int, extended: bool) -> None:
    rng = np.random.default_rng(half_width)
    frame, mask = random_frame(rng)
    panels = random_panels(rng)
    how = Dispersion(half_width, 4.0, 2.5, 5, extended)
    expected = strong_pixels_reference(frame, mask, panels, how)
    assert 20 < expected.sum() < 3000
    np.testing.assert_array_equal(strong_pixels(frame, mask, panels, how), expected)


@pytest.mark.parametrize("extended", [True, False])
def test_kernel_is_twin_with_local_noise(extended: bool) -> None:
    rng = np.random.default_rng(8)
    frame, mask = random_frame(rng)
    panels = random_panels(rng)
    how = Dispersion(extended=extended)
    n_windows = sum(map(math.prod, window_grids(panels)))
    excess = rng.uniform(1.0, 5.0, n_windows).astype(np.float32)
    expected = strong_pixels_reference(frame, mask, panels, how, excess)
    without = strong_pixels(frame, mask, panels, how)
    assert 20 < expected.sum() < without.sum()
    np.testing.assert_array_equal(strong_pixels(frame, mask, panels, how, excess), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(dtype: type) -> None:
    rng = np.random.default_rng(3)
    frame, mask = random_frame(rng, np.float64)
    frame = (np.minimum(frame, 250) if dtype is np.uint8 else frame).astype(np.float64)
    if not np.issubdtype(dtype, np.floating):
        frame = np.nan_to_num(frame)
    frame, panels, how = frame.astype(dtype), random_panels(rng), Dispersion()
    expected = strong_pixels_reference(frame, mask, panels, how)
    assert expected.any()
    np.testing.assert_array_equal(strong_pixels(frame, mask, panels, how), expected)


def test_buffers_are_reused() -> None:
    rng = np.random.default_rng(5)
    panels, how = random_panels(rng), Dispersion()
    buffers = (np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8))
    for _ in range(3):
        frame, mask = random_frame(rng)
        found = strong_pixels(frame, mask, panels, how, out=buffers)
        assert found is buffers[1]
        assert not buffers[0].any()
        np.testing.assert_array_equal(found, strong_pixels(frame, mask, panels, how))
        found[:] = 0


@pytest.mark.parametrize("extended", [True, False])
def test_windows_end_at_panels(extended: bool) -> None:
    """What lies on another panel, or between panels, changes nothing."""
    rng = np.random.default_rng(9)
    frame = rng.poisson(5.0, (60, 60)).astype(np.int32)
    frame[30, 29] += 60
    halves = [[0, 0], [30, 0]], [[30, 60], [30, 60]]
    panels = Panels(*map(np.array, halves), np.full((2, 2), [0, 1e6]), np.ones(2), np.zeros(2))
    mask = np.ones((60, 60), np.uint8)
    how = Dispersion(extended=extended)
    before = strong_pixels(frame, mask, panels, how)
    frame[:, 30:] += 500
    after = strong_pixels(frame, mask, panels, how)
    assert before[30, 29] == 1
    np.testing.assert_array_equal(before[:, :30], after[:, :30])


def test_masked_pixels_never_enter() -> None:
    rng = np.random.default_rng(11)
    frame, mask = random_frame(rng)
    panels, how = random_panels(rng), Dispersion()
    expected = strong_pixels(frame, mask, panels, how)
    frame[mask == 0] = 10**6
    np.testing.assert_array_equal(strong_pixels(frame, mask, panels, how), expected)


def test_gain_scales_everything() -> None:
    """The same photons at a gain of 7 give the same strong pixels."""
    rng = np.random.default_rng(13)
    frame, mask = random_frame(rng)
    one = Panels(
        np.array([[0, 0]]),
        np.array([SHAPE[::-1]]),
        np.array([[-0.5, 1e4]]),
        np.ones(1),
        np.zeros(1),
    )
    seven = Panels(one.starts, one.sizes, one.trusted * 7, one.gain * 7, one.noise_adu)
    np.testing.assert_array_equal(
        strong_pixels(frame, mask, one, Dispersion()),
        strong_pixels(frame * 7, mask, seven, Dispersion()),
    )


def test_poisson_noise_alone_is_not_strong() -> None:
    frame = np.random.default_rng(17).poisson(8.0, (512, 512)).astype(np.uint16)
    panels = Panels(
        np.array([[0, 0]]), np.array([[512, 512]]), np.array([[0, 1e4]]), np.ones(1), np.zeros(1)
    )
    strong = strong_pixels(frame, np.ones_like(frame, np.uint8), panels, Dispersion())
    assert strong.sum() == 0


@pytest.mark.parametrize("half_width", [0, MAX_HALF_WIDTH + 1])
def test_half_width_has_bounds(half_width: int) -> None:
    rng = np.random.default_rng(1)
    frame, mask = random_frame(rng)
    with pytest.raises(ValueError, match="half width"):
        strong_pixels(frame, mask, random_panels(rng), Dispersion(half_width))
