"""What few domains and directions stand for, against the distribution itself."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from xfel_apps.compute.spread import (
    FWHM,
    divergent_directions,
    mosaic_rotations,
    normal_points,
)


@pytest.mark.parametrize("n", [4, 10, 100])
def test_mean_and_covariance_are_those_of_the_distribution(n: int) -> None:
    points = normal_points(n, 3, seed=n)
    np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(points.T @ points / n, np.eye(3), atol=1e-12)


def test_points_are_normal_in_every_moment() -> None:
    points = normal_points(4096, 3, seed=0)
    assert np.mean(points**4) == pytest.approx(3.0, abs=0.05)
    assert np.mean(np.abs(points) < 1.0) == pytest.approx(0.6827, abs=0.005)


def test_anisotropic_rotations() -> None:
    turns = mosaic_rotations(64, (0.2, 0.1, 0.0), seed=3)
    vectors_deg = np.degrees(Rotation.from_matrix(turns).as_rotvec())
    np.testing.assert_allclose(vectors_deg.std(axis=0) * FWHM, [0.2, 0.1, 0.0], atol=1e-9)
    np.testing.assert_array_equal(turns, mosaic_rotations(64, (0.2, 0.1, 0.0), seed=3))
    assert not np.allclose(turns, mosaic_rotations(64, (0.2, 0.1, 0.0), seed=4))


def test_one_domain_is_not_turned() -> None:
    np.testing.assert_array_equal(mosaic_rotations(1, 0.5, seed=1), [np.eye(3)])


def _profile_error(displaced: np.ndarray, ratio: float) -> float:
    """RMS difference of a spot's profile from the closed form, block of width 1, mosaicity `ratio`.

    Domains turned by small angles move the spot in the plane across q; the sum of infinitely many
    is the convolution of two Gaussians.
    """
    grid = np.linspace(-3.0, 3.0, 13) * np.hypot(1.0, ratio)
    x = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 1, 2)
    found = np.exp(-0.5 * np.sum((x - ratio * displaced) ** 2, axis=2)).mean(axis=1)
    width2 = 1.0 + ratio**2
    exact = np.exp(-0.5 * np.sum(x[:, 0] ** 2, axis=1) / width2) / width2
    return float(np.sqrt(np.sum((found - exact) ** 2) / np.sum(exact**2)))


@pytest.mark.parametrize(("ratio", "gain"), [(0.5, 5.0), (1.0, 1.8)])
def test_ten_domains_are_nearer_to_infinitely_many_than_ten_random_ones(ratio, gain) -> None:
    rng = np.random.default_rng(0)
    planes = [np.linalg.qr(rng.normal(size=(3, 3)))[0][:, :2] for _ in range(20)]
    chosen = [_profile_error(normal_points(10, 3, s) @ p, ratio) for s in range(20) for p in planes]
    drawn = [
        _profile_error(rng.standard_normal((10, 3)) @ p, ratio) for _ in range(20) for p in planes
    ]
    assert np.mean(drawn) > gain * np.mean(chosen)


def test_directions_of_a_divergent_beam() -> None:
    beam, up = np.array([0.0, 0.0, -1.0]), np.array([0.0, 1.0, 0.0])
    found = divergent_directions(32, beam, up, (2.0, 0.5), seed=0)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0)
    mrad = found[:, :2] / -found[:, 2:] * 1e3
    np.testing.assert_allclose(mrad.std(axis=0) * FWHM, [2.0, 0.5], rtol=1e-4)
    np.testing.assert_allclose(mrad.mean(axis=0), 0.0, atol=1e-9)
