"""Shapes and sums of the point spread."""

import numpy as np
import pytest

from xfel_apps.compute.point_spread import PointSpread, spread


def density(r: np.ndarray, shape: str) -> np.ndarray:
    """Return the spread at a distance, full width at half height 1, integral 1."""
    if shape == "gaussian":
        sigma = 1.0 / (2.0 * np.sqrt(2.0 * np.log(2.0)))
        return np.exp(-(r**2) / (2.0 * sigma**2)) / (2.0 * np.pi * sigma**2)
    g = 0.5 / np.sqrt(2.0 ** (2.0 / 3.0) - 1.0)
    return g / (2.0 * np.pi * (g**2 + r**2) ** 1.5)


@pytest.mark.parametrize("shape", ["gaussian", "fiber"])
def test_shares_are_integrals_over_pixels(shape) -> None:
    """By the midpoint rule; half the height lies half a width from the middle."""
    middle, half = density(np.array([0.0, 0.5]), shape)
    assert half == pytest.approx(0.5 * middle)
    fwhm = 1.7
    image = np.zeros((61, 61))
    image[30, 30] = 1.0
    found = spread(image, PointSpread(fwhm, shape, reach_px=400))
    inside = (np.arange(50) + 0.5) / 50 - 0.5
    for slow, fast in [(0, 0), (1, 0), (2, 3)]:
        x, y = np.meshgrid(fast + inside, slow + inside)
        expected = density(np.hypot(x, y) / fwhm, shape).mean() / fwhm**2
        assert found[30 + slow, 30 + fast] == pytest.approx(expected, rel=4e-3)


@pytest.mark.parametrize("shape", ["gaussian", "fiber"])
def test_no_photon_is_lost_but_past_the_edge(shape) -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((90, 120))
    image[40:50, 40:80] = rng.poisson(9.0, (10, 40))
    found = spread(image, PointSpread(1.2, shape, reach_px=30))
    assert found.sum() == pytest.approx(image.sum(), rel=1e-9)
    assert found.min() >= 0.0
    edge = np.zeros((90, 120))
    edge[:, 0] = 1.0
    assert 0.5 < spread(edge, PointSpread(1.2, shape))[20:70].sum() / 50 < 0.99


def test_kernel_is_what_a_point_becomes() -> None:
    image = np.zeros((41, 41))
    image[20, 20] = 1.0
    for shape in ("gaussian", "fiber"):
        wide = PointSpread(2.0, shape, reach_px=6)
        pad = (41 - len(wide.kernel())) // 2
        np.testing.assert_allclose(spread(image, wide), np.pad(wide.kernel(), pad), atol=1e-15)


def test_no_width_no_change() -> None:
    image = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(spread(image, PointSpread(0.0)), image)
