"""spots: Bragg spots found on each shot, hit or miss, and the run's powder patterns."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.product import Product, Shots
from xfel_apps.containers.rows import Rows, RowSource, column

F4 = NDArray[np.float32]


class SpotFlag(IntFlag):
    """What is special about a spot; those with a bit of `NOT_GOOD` are not for indexing."""

    SATURATED = 1
    """It holds a pixel above the trusted range."""
    EDGE = 2
    """It touches the edge of its panel or a masked pixel."""
    RESOLUTION = 4
    """It lies outside the resolution limits."""
    ICE = 8
    """It lies on an ice ring."""


NOT_GOOD = SpotFlag.RESOLUTION | SpotFlag.ICE


@dataclass(frozen=True)
class SpotShots(Shots):
    """One row a shot. outcome is `miss`, `hit_not_indexed` (a hit, so far) or `failed`."""

    n_spots: NDArray[np.int32] = column("i4", "", "good spots, hot pixels not yet known")
    d_min_ang: F4 = column(
        "f4", "angstrom", "resolution of the outermost believable spots; 0: none"
    )
    background: F4 = column("f4", "photon", "median background a pixel")
    gain_adu: F4 = column("f4", "ADU/photon", "gain used; the median of the panels'")


@dataclass(frozen=True)
class Spots(Rows):
    """One row a spot. Pixel coordinates are (fast, slow) within the panel."""

    panel: NDArray[np.int16] = column("i2", "", "panel index")
    fast_px: F4 = column("f4", "pixel", "centroid, fast")
    slow_px: F4 = column("f4", "pixel", "centroid, slow")
    fast_var_px2: F4 = column("f4", "pixel^2", "variance of the centroid, fast")
    slow_var_px2: F4 = column("f4", "pixel^2", "variance of the centroid, slow")
    intensity: F4 = column("f4", "photon", "sum over the spot's pixels, background taken off")
    sigma: F4 = column("f4", "photon", "standard error of the intensity")
    background: F4 = column("f4", "photon", "mean local background a pixel")
    peak: F4 = column("f4", "photon", "highest pixel")
    peak_fast: NDArray[np.int16] = column("i2", "pixel", "index of the highest pixel, fast")
    peak_slow: NDArray[np.int16] = column("i2", "pixel", "index of the highest pixel, slow")
    n_pixels: NDArray[np.int16] = column("i2", "", "pixels of the spot")
    d_ang: F4 = column("f4", "angstrom", "resolution")
    flags: NDArray[np.uint8] = column("u1", "", "bits of SpotFlag")


SPOTS = Product("spots", "spotfind", 1, SpotShots, {"spots": Spots})


def good_spots(source: RowSource, event: int, hot_pixels: Sequence[Sequence[int]]) -> Spots:
    """Return the spots of one shot that are fit for indexing, in the order they were found.

    Parameters
    ----------
    source : of the spots
    event : number of the shot
    hot_pixels : (panel, slow, fast) of pixels that light up whatever is shot at, as the manifest's
        `extra["hot_pixels"]` lists them; spots with their highest pixel there are dropped
    """
    spots = source.rows("spots", event, Spots)
    return spots.take(is_good(spots, hot_pixels))


def is_good(spots: Spots, hot_pixels: Sequence[Sequence[int]]) -> NDArray[np.bool_]:
    """Return which spots (n,) are fit for indexing: no bit of `NOT_GOOD`, not a hot pixel."""
    good = (spots.flags & int(NOT_GOOD)) == 0
    if len(hot_pixels):
        good &= ~np.isin(peak_keys(spots), _pixel_keys(np.asarray(hot_pixels, dtype=np.int64).T))
    return np.asarray(good)


def peak_keys(spots: Spots) -> NDArray[np.int64]:
    """Return one number (n,) for the highest pixel of each spot: equal pixels, equal numbers."""
    return _pixel_keys(
        np.array([spots.panel, spots.peak_slow, spots.peak_fast], dtype=np.int64).reshape(3, -1)
    )


def pixels_of_keys(keys: NDArray[np.int64]) -> list[list[int]]:
    """Return [panel, slow, fast] of what `peak_keys` gave.

    >>> pixels_of_keys(_pixel_keys(np.array([[3], [184], [0]])))
    [[3, 184, 0]]
    """
    return [[int(key >> 32), int(key >> 16) & 0xFFFF, int(key) & 0xFFFF] for key in keys]


def _pixel_keys(pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    panel, slow, fast = pixels
    return np.asarray((panel << 32) | (slow << 16) | fast)
