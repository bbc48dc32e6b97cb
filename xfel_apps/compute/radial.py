r"""Strong pixels above the background at their radius, the method of peakfinder8.

Where the background is strong and round (solvent rings), pixels at one scattering angle are each
other's background: of each radial bin the mean and the standard deviation are taken over again
without the pixels above :math:`\mu + s \sigma`, and those are strong in the end (Barty et al. 2014,
J. Appl. Cryst. 47, 1118-1131). The standard deviation is at least that of counting photons.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps import _kernels
from xfel_apps.compute.panels import Panels

Array = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Bins = NDArray[np.uint16]

NO_BIN = 0xFFFF
"""Bin of pixels that take no part."""

ITERATIONS = 5
"""As peakfinder8 does."""

MIN_COUNT = 20
"""Pixels that a bin needs; without, nothing in it is strong."""


def radial_bins(radius: Array, width: float) -> Bins:
    """Return the bin of each pixel, `NO_BIN` where the radius is not finite.

    >>> radial_bins(np.array([[0.4, 2.3, np.nan]]), 1.0).tolist()
    [[0, 2, 65535]]
    """
    with np.errstate(invalid="ignore"):
        bins = np.floor(radius / width)
    return np.where(np.isfinite(bins) & (bins < NO_BIN), bins, NO_BIN).astype(np.uint16)


@dataclass(frozen=True)
class Rings:
    """Which pixels are each other's background.

    Attributes
    ----------
    bins : (slow, fast) radial bin of each pixel
    """

    bins: Bins

    @cached_property
    def n_bins(self) -> int:
        """Number of bins; at least 1."""
        used = self.bins[self.bins != NO_BIN]
        return int(used.max()) + 1 if used.size else 1

    @cached_property
    def order(self) -> NDArray[np.int32]:
        """Flat slab indices (n,) of the pixels in a bin, by bin."""
        flat = self.bins.ravel()
        order = np.argsort(flat, kind="stable").astype(np.int32)
        return order[: int(np.count_nonzero(flat != NO_BIN))]

    @cached_property
    def ends(self) -> NDArray[np.int32]:
        """Where the pixels of each bin end in `order`, (n_bins,)."""
        counts = np.bincount(self.bins.ravel(), minlength=self.n_bins)[: self.n_bins]
        return np.cumsum(counts).astype(np.int32)


def radial_strong_pixels(
    frame: NDArray[Any],
    mask: Bytes,
    panels: Panels,
    rings: Rings,
    sigmas: float,
    out: Bytes | None = None,
) -> tuple[Bytes, Array, Array]:
    """Return which pixels are strong (slow, fast) and each bin's mean and deviation (n,) [photon].

    Parameters
    ----------
    frame : (slow, fast) [ADU], of any real dtype
    mask : (slow, fast), not 0 where a pixel is good
    panels : where the panels lie and what their values mean
    rings : which pixels are in each bin
    sigmas : standard deviations that a strong pixel lies above its bin's mean
    out : array to fill, so that none is made
    """
    strong = np.empty(frame.shape, np.uint8) if out is None else out
    mean, deviation = np.empty(rings.n_bins), np.empty(rings.n_bins)
    _kernels.radial_strong_pixels(
        frame,
        mask,
        *panels.arrays,
        rings.order,
        rings.ends,
        sigmas,
        MIN_COUNT,
        ITERATIONS,
        mean,
        deviation,
        strong,
    )
    return strong, mean, deviation


def radial_strong_pixels_reference(
    frame: NDArray[Any], mask: Bytes, panels: Panels, rings: Rings, sigmas: float
) -> tuple[Bytes, Array, Array]:
    """Return what `radial_strong_pixels` does, the definition in plain NumPy."""
    photons, good = np.zeros(frame.shape), np.zeros(frame.shape, dtype=bool)
    for index, slab in enumerate(panels.slabs):
        value, good[slab], _ = panels.trusted_values(frame, mask, index)
        photons[slab] = value / panels.gain[index]
    bins, n_bins = rings.bins, rings.n_bins
    safe = np.minimum(bins, n_bins - 1)
    limits = np.full(n_bins, np.inf)
    for _ in range(ITERATIONS):
        chosen = good & (bins != NO_BIN) & (photons <= limits[safe])
        n, x, y = (
            np.bincount(safe[chosen], weights, n_bins)
            for weights in (np.ones(chosen.sum()), photons[chosen], photons[chosen] ** 2)
        )
        enough = n >= MIN_COUNT
        mean = np.where(enough, x / np.maximum(n, 1), 0.0)
        variance = np.where(enough, y / np.maximum(n, 1) - mean**2, 0.0)
        deviation = np.sqrt(np.maximum(np.maximum(variance, mean), 0.0))
        limits = np.where(enough, mean + sigmas * deviation, np.inf)
    strong = good & (bins != NO_BIN) & (photons > limits[safe])
    return strong.astype(np.uint8), mean, deviation
