"""Gain and background from a frame alone."""

import numpy as np
import pytest

from xfel_apps.compute.panels import Panels
from xfel_apps.compute.window_moments import WINDOW_PX
from xfel_apps.spotfind.levels import measure_levels, sample_windows

TRUSTED = (-400.0, 1e5)
SQUARE = np.indices((WINDOW_PX, WINDOW_PX)).reshape(2, -1)


def panels(size: int) -> Panels:
    half = size // 2
    return Panels(
        np.array([[0, 0], [half, 0]]),
        np.array([[half, size], [half, size]]),
        np.array([TRUSTED, TRUSTED]),
        np.ones(2),
        np.zeros(2),
    )


def frame_of(gain: float, noise_adu: float, rng: np.random.Generator) -> np.ndarray:
    """A frame whose background falls from 12 to 1 photons, with spots."""
    slow, _ = np.indices((420, 420))
    photons = rng.poisson(1 + 11 * np.exp(-slow / 200)).astype(float)
    for _ in range(80):
        s, f = rng.integers(2, 418, 2)
        photons[s : s + 2, f : f + 2] += 100
    return photons * gain + rng.normal(0, 1, photons.shape) * noise_adu


@pytest.mark.parametrize(("gain", "noise_adu"), [(4.4, 2.5), (25.0, 3.0), (1.0, 0.4)])
def test_gain_comes_from_the_background(gain: float, noise_adu: float) -> None:
    frame = frame_of(gain, noise_adu, np.random.default_rng(1))
    windows = sample_windows(np.ones(frame.shape, bool), panels(420))
    levels = measure_levels(frame, windows, TRUSTED)
    assert not levels.are_photons
    assert levels.gain_adu == pytest.approx(gain, rel=0.05)
    assert levels.noise_adu == pytest.approx(noise_adu, abs=0.3 * gain)
    assert levels.background_adu == pytest.approx(np.median(frame), rel=0.2)


def test_photons_are_left_alone() -> None:
    frame = np.random.default_rng(2).poisson(4.0, (210, 210)).astype(np.int32)
    levels = measure_levels(frame, sample_windows(np.ones(frame.shape, bool), panels(210)), TRUSTED)
    assert levels.are_photons
    assert (levels.gain_adu, levels.noise_adu) == (None, None)
    assert levels.background_adu == pytest.approx(4.0, rel=0.02)


def test_windows_hold_good_pixels_of_one_panel() -> None:
    mask = np.ones((210, 210), bool)
    mask[50:55] = False
    mask[:, 17] = False
    windows = sample_windows(mask, panels(210))
    slow, fast = (windows[:, axis, None] + square for axis, square in enumerate(SQUARE))
    assert mask[slow, fast].all()
    assert ((fast < 105).all(axis=1) | (fast >= 105).all(axis=1)).all()
    assert len(windows) > 500


def test_no_good_window_gives_no_gain() -> None:
    mask = np.indices((70, 70)).sum(axis=0) % 2 == 0
    windows = sample_windows(mask, panels(70))
    levels = measure_levels(np.zeros((70, 70)), windows, TRUSTED)
    assert (levels.gain_adu, levels.good_fraction) == (None, 0.0)
