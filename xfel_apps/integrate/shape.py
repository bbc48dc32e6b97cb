"""Size of the spots of a shot: what they scatter about where they are expected, by direction."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from xfel_apps.geometry.mosaic import FULL_WIDTH
from xfel_apps.integrate.frames import Frames

Array = NDArray[np.float64]

N_FOR_GROWTH = 30
"""Strong spots needed to tell growth with the scattering angle from size at the centre."""

TRIM = 0.1
"""Share of the largest second moments that is left out: spots of something else."""

LEAST_ROUND = 0.2
"""Smallest variance at the centre over the largest: no spot is a line."""


@dataclass(frozen=True)
class SpotShape:
    """Second moments of spots: a constant of the beam and the crystal, and two that grow.

    Attributes
    ----------
    constant_px2 : (2, 2) along the two axes across the beam (`Frames.turns`) [pixel^2]
    growth_rad2 : (2,) variance of the angle that spreads spots along (radial, tangential), times
        the throw squared [rad^2]
    """

    constant_px2: Array
    growth_rad2: Array

    @classmethod
    def expected(cls, sigma_px: float, mosaicity_deg: float) -> "SpotShape":
        """Return the shape where spots of `sigma_px` grow as the mosaic spread says."""
        spread = np.radians(mosaicity_deg) / FULL_WIDTH
        return cls(sigma_px**2 * np.eye(2), np.array([0.0, spread**2]))

    def moments_px2(self, frames: Frames) -> Array:
        """Return the second moments (n, 2, 2) along (radial, tangential)."""
        moments = frames.turns @ self.constant_px2 @ np.swapaxes(frames.turns, 1, 2)
        moments[:, [0, 1], [0, 1]] += self.growth_rad2 * frames.throw_px[:, None] ** 2
        return np.asarray(moments)

    def ellipses(self, frames: Frames, sigmas: float, limits_px: tuple[float, float]) -> Array:
        """Return the matrices (n, 2, 2) from (radial, tangential) pixels to the unit disc.

        The disc is the foreground: `sigmas` standard deviations in every direction, its half axes
        within the limits.
        """
        variance, axes = np.linalg.eigh(self.moments_px2(frames))
        half = np.clip(sigmas * np.sqrt(np.maximum(variance, 0.0)), *limits_px)
        return np.asarray(axes / half[:, None, :] @ np.swapaxes(axes, 1, 2))


def measure_shape(moments_px2: Array, frames: Frames, expected: SpotShape) -> SpotShape:
    """Return the shape of a shot's spots from its strong ones.

    Parameters
    ----------
    moments_px2 : (n, 2, 2) second moments along (radial, tangential)
    frames : (n,) theirs
    expected : its growth is kept where there are too few spots to measure it
    """
    size = np.trace(moments_px2, axis1=1, axis2=2)
    kept = size <= np.quantile(size, 1.0 - TRIM)
    frames = frames.take(kept)
    terms = np.concatenate(
        [_constant_terms(frames.turns), _growth_terms(frames.throw_px**2)], axis=2
    )
    moments, growth = moments_px2[kept][:, [0, 0, 1], [0, 1, 1]], expected.growth_rad2
    if kept.sum() < N_FOR_GROWTH:
        moments = moments - terms[:, :, 3:] @ growth
        terms = terms[:, :, :3]
    scale = np.maximum(np.abs(terms).mean(axis=(0, 1)), 1e-12)
    flat = (terms / scale).reshape(-1, terms.shape[2])
    found = _fit_signed(flat, moments.ravel()) / scale
    return SpotShape(_rounded(found[:3]), found[3:] if len(found) > 3 else growth)


def _fit_signed(terms: Array, values: Array) -> Array:
    """Return the coefficients of least squares, none negative but the second's, of xy."""
    both = np.column_stack([terms, -terms[:, 1]])
    normal = both.T @ both + 1e-9 * len(both) * np.eye(both.shape[1])
    root = np.linalg.cholesky(normal).T
    found, _ = nnls(root, np.linalg.solve(root.T, both.T @ values))
    found[1] -= found[-1]
    return np.asarray(found[:-1])


def _constant_terms(turns: Array) -> Array:
    """Return (n, 3, 3): rr, rt and tt of spots whose xx, xy or yy is one."""
    unit = np.array([[[1, 0], [0, 0]], [[0, 1], [1, 0]], [[0, 0], [0, 1]]], dtype=float)
    moments = np.einsum("nij,kjl,nml->nimk", turns, unit, turns)
    return np.asarray(moments[:, [0, 0, 1], [0, 1, 1]])


def _growth_terms(throw2: Array) -> Array:
    """Return (n, 3, 2): rr, rt and tt of spots spread by one radian, radially or tangentially."""
    terms = np.zeros((len(throw2), 3, 2))
    terms[:, 0, 0] = terms[:, 2, 1] = throw2
    return terms


def _rounded(constant: Array) -> Array:
    """Return the matrix (2, 2) of xx, xy and yy; no narrower than `LEAST_ROUND` says."""
    variance, axes = np.linalg.eigh(constant[[0, 1, 1, 2]].reshape(2, 2))
    variance = np.maximum(variance, LEAST_ROUND * max(variance[1], 1e-6))
    return np.asarray(axes * variance @ axes.T)
