"""Powder patterns: sum and maximum of many frames, exact whatever the order of the frames.

Values are counted in sixteenths of an ADU, as whole numbers: floating-point sums would depend on
who added what first.

The values of most pixels are small. They are added in 32 bits, which costs half the memory traffic,
and carried over to 64 bits before anything can overflow.
"""

from dataclasses import dataclass
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

SMALL = 1 << 20
"""Largest value that is added in 32 bits [parts of an ADU]."""

MOST_RECENT = (1 << 31) // SMALL - 1
"""Frames whose small values fit into 32 bits together."""


@dataclass
class Sums:
    """Sum and maximum of frames.

    Attributes
    ----------
    total : (slow, fast) sum [1/16 ADU], less what is still in `recent`
    highest : (slow, fast) maximum [1/16 ADU]
    recent : (slow, fast) small values of the latest frames [1/16 ADU]
    n_recent : how many frames these are
    """

    total: NDArray[np.int64]
    highest: NDArray[np.int32]
    recent: NDArray[np.int32]
    n_recent: int = 0

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> "Sums":
        """Return the sums of no frames."""
        return cls(
            np.zeros(shape, np.int64), np.full(shape, NEVER, np.int32), np.zeros(shape, np.int32)
        )

    def settle(self) -> None:
        """Carry all over to `total`."""
        self.total += self.recent
        self.recent.fill(0)
        self.n_recent = 0


def powder_add(frame: NDArray[Any], mask: NDArray[np.uint8], panels: Panels, sums: Sums) -> None:
    """Add the good pixels of a frame (slow, fast) [ADU] to the sums.

    Pixels above the trusted range count as its upper end.
    """
    if sums.n_recent == MOST_RECENT:
        sums.settle()
    sums.n_recent += 1
    _kernels.powder_add(
        frame, mask, *panels.arrays, float(PARTS), SMALL, sums.recent, sums.total, sums.highest
    )


def powder_add_reference(
    frame: NDArray[Any], mask: NDArray[np.uint8], panels: Panels, sums: Sums
) -> None:
    """Do what `powder_add` does, the definition in plain NumPy."""
    for index, slab in enumerate(panels.slabs):
        value, good, _ = panels.trusted_values(frame, mask, index)
        exact = np.clip(value * PARTS, -MOST, MOST)
        parts = np.trunc(exact + np.copysign(0.5, exact)).astype(np.int64)
        sums.total[slab] += parts
        highest = sums.highest[slab]
        sums.highest[slab] = np.where(good, np.maximum(highest, parts), highest)
