"""Size of the spots of a shot: what they scatter about their predictions, by direction."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from xfel_apps.geometry import Beam, Detector
from xfel_apps.geometry.mosaic import FULL_WIDTH
from xfel_apps.geometry.prediction import Predictions

Array = NDArray[np.float64]

N_FOR_GROWTH = 30
"""Strong spots needed to tell growth with the scattering angle from size at the centre."""

TRIM = 0.1
"""Share of the largest second moments that is left out: spots of something else."""


@dataclass(frozen=True)
class Frames:
    """Direction of each reflection on its panel, and how far spread angles carry.

    Attributes
    ----------
    directions : (n, 2, 2) from a pixel offset (fast, slow) to pixels along (radial, tangential),
        seen along the ray
    throw_px : (n,) pixels that a rotation of the crystal by 1 rad moves the spot: |q| wavelength
        times the distance from the crystal
    """

    directions: Array
    throw_px: Array

    @classmethod
    def of(cls, found: Predictions, detector: Detector, beam: Beam) -> "Frames":
        """Return the frames of predicted reflections."""
        along = found.s1 * beam.wavelength_ang
        tangential = np.cross(beam.s0, along)
        tangential /= np.maximum(np.linalg.norm(tangential, axis=1, keepdims=True), 1e-12)
        radial = np.cross(tangential, along)
        axes = detector.axes[found.panel]
        pixel_mm = np.sqrt(
            np.linalg.norm(axes[:, :, 0], axis=1) * np.linalg.norm(axes[:, :, 1], axis=1)
        )
        directions = np.stack([radial, tangential], axis=1) @ axes / pixel_mm[:, None, None]
        lab = detector.lab_mm(found.panel, found.fast_px, found.slow_px)
        throw = np.linalg.norm(lab, axis=1) / pixel_mm * found.q_length_invang * beam.wavelength_ang
        return cls(directions, throw)


@dataclass(frozen=True)
class SpotShape:
    """Second moments of spots about their predictions: constant plus growth times throw squared.

    Attributes
    ----------
    constant_px2 : (2,) along (radial, tangential) [pixel^2]
    growth_rad2 : (2,) variance of the angle that spreads them [rad^2]
    """

    constant_px2: Array
    growth_rad2: Array

    @classmethod
    def expected(cls, sigma_px: float, mosaicity_deg: float) -> "SpotShape":
        """Return the shape where spots of `sigma_px` grow as the mosaic spread says."""
        spread = np.radians(mosaicity_deg) / FULL_WIDTH
        return cls(np.full(2, sigma_px**2), np.array([0.0, spread**2]))

    def half_axes_px(self, throw_px: Array, sigmas: float, limits: tuple[float, float]) -> Array:
        """Return the half axes (n, 2) of foregrounds of `sigmas` standard deviations [pixel]."""
        variance = self.constant_px2 + self.growth_rad2 * throw_px[:, None] ** 2
        return np.clip(sigmas * np.sqrt(variance), *limits)


def measure_shape(moments_px2: Array, throw_px: Array, expected: SpotShape) -> SpotShape:
    """Return the shape of a shot's spots from its strong ones.

    Parameters
    ----------
    moments_px2 : (n, 2) second moments about the predictions along (radial, tangential)
    throw_px : (n,) see `Frames`
    expected : its growth is kept where there are too few spots to measure it
    """
    fits = [
        _fit_growth(moments_px2[:, axis], throw_px**2, float(expected.growth_rad2[axis]))
        for axis in range(2)
    ]
    return SpotShape(*np.array(fits).T)


def _fit_growth(moments: Array, throw2: Array, growth: float) -> tuple[float, float]:
    """Return constant and growth, neither negative, that fit the moments."""
    kept = moments <= np.quantile(moments, 1.0 - TRIM)
    moments, throw2 = np.maximum(moments[kept], 0.0), throw2[kept]
    if len(moments) < N_FOR_GROWTH:
        least = 0.2 * moments.mean()
        return max(float(np.mean(moments - growth * throw2)), float(least)), growth
    scale = float(throw2.mean())
    (constant, slope), _ = nnls(np.column_stack([np.ones(len(throw2)), throw2 / scale]), moments)
    return float(constant), float(slope / scale)
