"""A frame that can be searched for spots, or why it cannot."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import ShotError
from xfel_apps.spotfind.levels import Levels, measure_levels
from xfel_apps.spotfind.setup import Setup

NATIVE = tuple(np.dtype(kind) for kind in ("u1", "i2", "u2", "i4", "u4", "f4", "f8"))
"""Types that the kernels take as they are."""

MOST_BAD = 0.5
"""Share of pixels saturated or not numbers beyond which a frame is no diffraction pattern."""


def as_native(frame: NDArray[Any]) -> NDArray[Any]:
    """Return the frame, contiguous, in a type that the kernels take."""
    if frame.dtype not in NATIVE or not frame.dtype.isnative:
        frame = frame.astype(np.float64)
    return np.ascontiguousarray(frame)


def checked_levels(frame: NDArray[Any], setup: Setup) -> Levels:
    """Return the levels of a frame.

    Raises
    ------
    ShotError : the frame has the wrong shape, or most of its pixels are saturated or not numbers
    """
    if frame.shape != setup.detector.slab_shape:
        expected = " x ".join(map(str, setup.detector.slab_shape))
        found = " x ".join(map(str, frame.shape))
        raise ShotError(f"frame of {found} pixels, the detector has {expected} (slow x fast)")
    levels = measure_levels(frame, setup.windows, setup.trusted)
    if levels.good_fraction < MOST_BAD:
        _check_every_pixel(frame, setup)
    return levels


def _check_every_pixel(frame: NDArray[Any], setup: Setup) -> None:
    values = frame[setup.mask].astype(float)
    if not values.size:
        raise ShotError("every pixel of the frame is masked")
    low, high = setup.trusted
    for bad, what in (
        (np.isnan(values), "not numbers (NaN)"),
        (values > high, f"saturated (above {high:g} ADU)"),
        (values < low, f"below the trusted range (below {low:g} ADU)"),
    ):
        if (share := float(bad.mean())) > MOST_BAD:
            raise ShotError(f"{share:.0%} of the frame's pixels are {what}")
