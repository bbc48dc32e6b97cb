"""Point spread: the signal of a photon reaches the pixels beside the one it fell in."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d
from scipy.signal import fftconvolve
from scipy.special import ndtr

Array = NDArray[np.float64]

FIBRE_WIDTH = 0.652383013252053
"""g of g / (2 pi (g^2 + r^2)^1.5) for a full width at half height of 1: 1 / sqrt(4^(4/3) - 4)."""
SIGMA = 0.42466090014400953
"""Standard deviation of a Gaussian of full width at half height 1."""


@dataclass(frozen=True)
class PointSpread:
    """How far the signal of a photon spreads.

    Attributes
    ----------
    fwhm_px : full width at half height [pixels]
    shape : "gaussian" (charge in a sensor), or "fiber" (light in a fibre-optic taper: long tails)
    reach_px : pixels beyond it, along fast and slow, get nothing
    """

    fwhm_px: float
    shape: Literal["gaussian", "fiber"] = "gaussian"
    reach_px: int = 60

    def kernel(self) -> Array:
        """Return the share (2 reach + 1, 2 reach + 1) of each pixel about the one hit, sum 1.

        The photon falls in the middle of its pixel; shares are integrals over pixels.
        """
        if self.shape == "gaussian":
            return np.outer(self._gaussian(), self._gaussian())
        edge = np.arange(-self.reach_px - 0.5, self.reach_px + 1.0)
        x, y = np.meshgrid(edge, edge)
        g = FIBRE_WIDTH * self.fwhm_px
        below = np.arctan(x * y / (g * np.sqrt(g**2 + x**2 + y**2))) / (2.0 * np.pi)
        share = np.diff(np.diff(below, axis=0), axis=1)
        return np.asarray(share / share.sum())

    def _gaussian(self) -> Array:
        """Return the shares along one axis, sum 1; those beyond 6 sigma are left out."""
        sigma = SIGMA * self.fwhm_px
        reach = min(self.reach_px, int(np.ceil(6.0 * sigma)))
        share = np.diff(ndtr(np.arange(-reach - 0.5, reach + 1.0) / sigma))
        return np.asarray(share / share.sum())


def spread(image: Array, spread: PointSpread) -> Array:
    """Return an image (slow, fast) of one panel with each pixel's signal spread.

    The sum is kept but for what is spread past the panel's edges.
    Source: Holton, Nielsen & Frankel (2012), J. Synchrotron Rad. 19, 1006-1011 (fibres).
    """
    if spread.fwhm_px == 0:
        return image
    if spread.shape == "gaussian":
        share = spread._gaussian()
        along = convolve1d(image.astype(float), share, axis=0, mode="constant")
        return np.asarray(convolve1d(along, share, axis=1, mode="constant"))
    return np.asarray(fftconvolve(image, spread.kernel(), mode="same").clip(min=0.0))
