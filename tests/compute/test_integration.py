"""Integration against spots whose photons are known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from xfel_apps.compute.integration import Readout, Recipe, Sums, Windows, integrate

RADIUS_PX = 4.0
SPOT_SIGMA_PX = 1.0
STEP = 40
SIDE = 20
"""Spots on a side of the frame: 400 in all, 40 pixels apart."""

Array = NDArray[np.float64]


def gaussian_profile(sigma: float = SPOT_SIGMA_PX / RADIUS_PX) -> Array:
    axis = np.linspace(-1, 1, 41)
    return np.exp(-0.5 * (axis[:, None] ** 2 + axis**2) / sigma**2)


def windows(rng: np.random.Generator) -> Windows:
    """A grid of spots, each at another place in its pixel."""
    grid = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), -1).reshape(-1, 2)
    centre = (grid + 0.5) * STEP + rng.uniform(-0.5, 0.5, grid.shape)
    n = len(centre)
    to_profile = np.tile(np.eye(2) / RADIUS_PX, (n, 1, 1))
    return Windows(np.zeros(n, int), centre, to_profile, np.full(n, 10))


def mean_frame(where: Windows, photons: float, plane: Array) -> Array:
    """Expected photons: Gaussian spots on a plane (value at the corner, slopes fast and slow)."""
    size = SIDE * STEP
    axis = np.arange(size) + 0.5
    frame = plane[0] + plane[1] * axis[None, :] + plane[2] * axis[:, None]
    for fast, slow in where.centre:
        box = tuple(slice(int(c) - 10, int(c) + 11) for c in (slow, fast))
        f = np.exp(-0.5 * (axis[box[1]] - fast) ** 2 / SPOT_SIGMA_PX**2)
        s = np.exp(-0.5 * (axis[box[0]] - slow) ** 2 / SPOT_SIGMA_PX**2)
        frame[box] += photons * np.outer(s, f) / (2 * np.pi * SPOT_SIGMA_PX**2)
    return frame


def run(frame: Array, where: Windows, gain: float = 1.0, variance: float = 0.0) -> Sums:
    size = SIDE * STEP
    readout = Readout(
        np.array([[0, size, 0, size]]),
        np.array([1 / gain]),
        np.array([-1e9]),
        np.array([1e9]),
        variance,
    )
    return integrate(
        frame, np.ones(frame.shape, dtype=bool), where, readout, Recipe(gaussian_profile())
    )


def test_noiseless_tilted_plane_gives_the_spot_exactly() -> None:
    where = windows(np.random.default_rng(0))
    sums = run(mean_frame(where, 500.0, np.array([3.0, 0.02, 0.01])), where)
    inside = 1 - np.exp(-0.5 * (RADIUS_PX / SPOT_SIGMA_PX) ** 2)
    np.testing.assert_allclose(sums.intensity_sum, 500.0 * inside, rtol=2e-3)
    np.testing.assert_allclose(sums.intensity_profile, 500.0 * inside, rtol=5e-3)
    centre = 3.0 + where.centre @ [0.02, 0.01]
    np.testing.assert_allclose(sums.background, centre, rtol=1e-3)
    np.testing.assert_allclose(sums.square_uu, (SPOT_SIGMA_PX / RADIUS_PX) ** 2, rtol=0.05)
    assert np.abs(sums.mean_u).max() < 1e-2


@pytest.mark.parametrize("photons", [0.0, 5.0, 50.0, 2000.0])
@pytest.mark.parametrize("background", [0.1, 2.0, 40.0])
def test_unbiased_with_honest_sigmas(photons: float, background: float) -> None:
    """Over 2,000 Poisson spots the mean is the truth, and errors are as large as their sigmas."""
    rng = np.random.default_rng(int(10 * photons + background))
    where = windows(rng)
    truth = mean_frame(where, photons, np.array([background, 1e-3 * background, 0.0]))
    parts = [run(rng.poisson(truth).astype(np.int32), where) for _ in range(5)]
    for kind in ("sum", "profile"):
        value = np.concatenate([getattr(part, f"intensity_{kind}") for part in parts])
        variance = np.concatenate([getattr(part, f"variance_{kind}") for part in parts])
        error = value - photons
        standard_error = error.std() / np.sqrt(len(error))
        # |u| <= 1 holds 99.97 % of the spot
        assert abs(error.mean()) < 4.0 * standard_error + 1e-3 * photons
        # where nothing is, a count of 0 must still have a sigma: it is too large rather than small
        low = 0.4 if photons == 0.0 else 0.85
        assert low < np.mean(error**2 / variance) < 1.12


def test_profile_fit_is_better_where_background_rules() -> None:
    rng = np.random.default_rng(3)
    where = windows(rng)
    sums = run(
        rng.poisson(mean_frame(where, 20.0, np.array([30.0, 0, 0]))).astype(np.uint16), where
    )
    assert sums.intensity_profile.std() < 0.7 * sums.intensity_sum.std()
    assert np.sqrt(sums.variance_profile).mean() < 0.7 * np.sqrt(sums.variance_sum).mean()


def test_gain_and_readout_noise_are_in_sigma() -> None:
    rng = np.random.default_rng(4)
    where = windows(rng)
    photons = rng.poisson(mean_frame(where, 300.0, np.array([2.0, 0, 0]))).astype(float)
    adu = (photons + rng.normal(0, 0.5, photons.shape)) * 7.0
    sums = run(adu.astype(np.float32), where, gain=7.0, variance=0.25)
    assert abs(sums.intensity_sum.mean() - 300.0) < 4.0
    assert 0.85 < sums.intensity_sum.var() / sums.variance_sum.mean() < 1.15
    np.testing.assert_allclose(sums.background_variance.mean(), 2.25, rtol=0.05)


def test_hot_pixels_and_unpredicted_spots_leave_the_background() -> None:
    rng = np.random.default_rng(5)
    where = windows(rng)
    frame = rng.poisson(mean_frame(where, 0.0, np.array([5.0, 0, 0])))
    clean = run(frame, where)
    for fast, slow in where.centre.astype(int):
        frame[slow + 8, fast - 2 : fast + 2] += 60
    dirty = run(frame, where)
    assert (dirty.n_rejected - clean.n_rejected).mean() > 3.5
    np.testing.assert_allclose(dirty.background, clean.background, atol=0.5)


def test_neighbours_foreground_is_not_background() -> None:
    """A strong neighbour closer than two windows leaves intensity and background alone."""
    first = windows(np.random.default_rng(6))
    second = Windows(
        first.panel, first.centre + np.array([9.0, 2.0]), first.to_profile, first.half_px
    )
    both = Windows(
        *(
            np.concatenate([a, b])
            for a, b in zip(vars(first).values(), vars(second).values(), strict=True)
        )
    )
    flat = np.array([5.0, 0, 0])
    frame = mean_frame(first, 100.0, flat) + mean_frame(second, 1000.0, flat) - 5.0
    sums = run(frame, both)
    np.testing.assert_allclose(sums.intensity_sum[: len(first)], 100.0, rtol=0.01)
    assert not sums.n_shared.any()


def test_overlap_mask_edge_and_saturation_are_counted() -> None:
    centre = np.array([[50.0, 50.0], [55.0, 50.0], [1.0, 90.0], [150.5, 150.5]])
    where = Windows(np.zeros(4, int), centre, np.tile(np.eye(2) / 4, (4, 1, 1)), np.full(4, 10))
    frame, good = np.full((200, 200), 3.0), np.ones((200, 200), dtype=bool)
    good[150, 150] = False
    frame[151, 151] = 99.0
    readout = Readout(np.array([[0, 200, 0, 200]]), np.ones(1), np.zeros(1), np.array([90.0]))
    sums = integrate(frame, good, where, readout, Recipe(gaussian_profile()))
    assert (sums.n_shared > 0).tolist() == [True, True, False, False]
    assert (sums.share < 1.0).all()
    assert (sums.n_outside > 0).tolist() == [False, False, True, False]
    assert sums.n_masked.tolist() == [0, 0, 0, 1]
    assert sums.n_saturated.tolist() == [0, 0, 0, 1]


def test_lost_pixels_are_made_up_for() -> None:
    """A spot with a dead column or cut by an edge keeps its intensity, on average."""
    where = windows(np.random.default_rng(8))
    frame = mean_frame(where, 400.0, np.array([2.0, 0, 0]))
    good = np.ones(frame.shape, dtype=bool)
    for fast, slow in where.centre.astype(int):
        good[slow - 8 : slow + 9, fast + 1] = False
    size = SIDE * STEP
    readout = Readout(np.array([[0, size, 0, size]]), np.ones(1), np.zeros(1), np.full(1, 1e9))
    sums = integrate(frame, good, where, readout, Recipe(gaussian_profile()))
    assert sums.share.max() < 0.95
    np.testing.assert_allclose(sums.intensity_sum.mean(), 400.0, rtol=0.02)
    np.testing.assert_allclose(sums.intensity_profile.mean(), 400.0, rtol=0.02)


def test_offset_below_zero_and_local_noise() -> None:
    """A pedestal taken off too much, on a noisy panel that the shot's readout noise misses."""
    rng = np.random.default_rng(9)
    where = windows(rng)
    frame = mean_frame(where, 0.0, np.array([-40.0, 0.01, 0])) + rng.normal(0, 9, (800, 800))
    sums = run(frame, where)
    z = sums.intensity_sum / np.sqrt(sums.variance_sum)
    assert abs(z.mean()) < 0.2
    assert 0.85 < z.std() < 1.1
    assert (sums.n_rejected < 10).all()
