"""spots: Bragg spots found on each shot, hit or miss, and the run's powder patterns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.product import Product, Shots
from xfel_apps.containers.rows import Rows, column

F4 = NDArray[np.float32]


@dataclass(frozen=True)
class SpotShots(Shots):
    """One row a shot. outcome is `miss`, `hit_not_indexed` (a hit, so far) or `failed`."""

    n_spots: NDArray[np.int32] = column("i4", "", "spots found")
    d_min_ang: F4 = column(
        "f4", "angstrom", "resolution of the outermost believable spots; 0: none"
    )
    background: F4 = column("f4", "photon", "median background a pixel")


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
