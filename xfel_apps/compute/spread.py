"""Rotations of mosaic domains and directions of a divergent beam: few that stand for a Gaussian."""

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.special import ndtri
from scipy.stats import qmc

Array = NDArray[np.float64]

FWHM = float(2.0 * np.sqrt(2.0 * np.log(2.0)))
"""Full width at half height of a Gaussian of standard deviation 1."""


def normal_points(n: int, dimensions: int, seed: int) -> Array:
    """Return `n` points (n, dimensions) that stand for a normal distribution of variance 1.

    Points of a scrambled Sobol sequence, shifted and sheared so that mean and covariance are those
    of the distribution, if there are more than dimensions. Ten such domains give the profile of a
    spot six times nearer to that of infinitely many than ten random ones, where mosaicity is half
    as wide as the block's own spot; twice as near where it is as wide (`tests/compute/
    test_spread.py`). One point is the mean.

    Source: Owen (1998), J. Complexity 14, 466-489.
    """
    if n == 1:
        return np.zeros((1, dimensions))
    with warnings.catch_warnings():
        # n need not be a power of two: mean and covariance are put right below
        warnings.filterwarnings("ignore", "The balance properties of Sobol", UserWarning)
        uniform = qmc.Sobol(dimensions, rng=np.random.default_rng(seed)).random(n)
    points = ndtri(np.clip(uniform, 1e-12, 1.0 - 1e-12))
    points -= points.mean(axis=0)
    if n > dimensions:
        root = np.linalg.cholesky(points.T @ points / n)
        points = points @ np.linalg.inv(root).T
    return np.asarray(points)


def mosaic_rotations(n: int, fwhm_deg: float | tuple[float, float, float], seed: int) -> Array:
    """Return rotations (n, 3, 3) of mosaic domains, equal ones for equal seeds.

    Parameters
    ----------
    n : domains
    fwhm_deg : full width at half height of the angles about x, y and z, or about any axis
        [degrees]. To spread about the crystal's own axes, turn by them before the orientation:
        ``A = U @ R @ B`` with B of `gemmi`'s convention has x along a and z along c*.
    seed : of the sampling
    """
    sigma_rad = np.radians(np.broadcast_to(fwhm_deg, 3)) / FWHM
    vectors = normal_points(n, 3, seed) * sigma_rad
    return np.asarray(Rotation.from_rotvec(vectors).as_matrix())


def divergent_directions(
    n: int, direction: Array, normal: Array, fwhm_mrad: tuple[float, float], seed: int
) -> Array:
    """Return unit vectors (n, 3) along which equal shares of a beam's photons travel.

    Parameters
    ----------
    n : directions
    direction : (3,) unit vector of their mean
    normal : (3,) unit vector across it, along which the second width lies
    fwhm_mrad : full width at half height of the angles, across the normal and along it [mrad]
    seed : of the sampling
    """
    side = np.cross(normal, direction)
    angles = normal_points(n, 2, seed) * np.asarray(fwhm_mrad) * 1e-3 / FWHM
    vectors = np.asarray(direction) + angles @ np.array([side, normal])
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
