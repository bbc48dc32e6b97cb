"""Powder patterns: sum and maximum of many frames, exact whatever the order of the frames.

Values are counted in sixteenths of an ADU, as whole numbers: floating-point sums would depend on
who added what first.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps import _kernels
from xfel_apps.compute.panels import Panels

PARTS = 16
"""Parts of an ADU that sums and maxima are counted in."""

NEVER = np.iinfo(np.int32).min
"""Maximum of a pixel that was never good."""

MOST = 2147483520.0
"""Largest value counted [parts of an ADU]."""


def powder_add(
    frame: NDArray[Any],
    mask: NDArray[np.uint8],
    panels: Panels,
    total: NDArray[np.int64],
    highest: NDArray[np.int32],
) -> None:
    """Add the good pixels of a frame to `total` and `highest` (slow, fast) [1/16 ADU].

    Pixels above the trusted range count as its upper end.
    """
    _kernels.powder_add(frame, mask, *panels.arrays, float(PARTS), total, highest)


def powder_add_reference(
    frame: NDArray[Any],
    mask: NDArray[np.uint8],
    panels: Panels,
    total: NDArray[np.int64],
    highest: NDArray[np.int32],
) -> None:
    """Do what `powder_add` does, the definition in plain NumPy."""
    for index, slab in enumerate(panels.slabs):
        value, good, _ = panels.trusted_values(frame, mask, index)
        exact = np.clip(value * PARTS, -MOST, MOST)
        parts = np.trunc(exact + np.copysign(0.5, exact)).astype(np.int64)
        total[slab] += parts
        highest[slab] = np.where(good, np.maximum(highest[slab], parts), highest[slab])
