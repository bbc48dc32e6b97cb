"""Panels as the kernels see them: rectangles of the slab and what a value in them means."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Panels:
    """Rectangles of the slab.

    Attributes
    ----------
    starts : (n, 2) slab index (fast, slow) of each panel's first pixel
    sizes : (n, 2) pixels along (fast, slow)
    trusted : (n, 2) lowest and highest trusted value [ADU]
    gain : (n,) [ADU a photon]
    noise_adu : (n,) standard deviation of the readout noise [ADU]; 0 for counters
    """

    starts: IntArray
    sizes: IntArray
    trusted: Array
    gain: Array
    noise_adu: Array

    @cached_property
    def arrays(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """(n, 4) fast, slow, width, height and (n, 4) lowest, highest, gain, noise^2."""
        return (
            np.ascontiguousarray(np.hstack([self.starts, self.sizes]), dtype=np.int32),
            np.ascontiguousarray(
                np.column_stack([self.trusted, self.gain, self.noise_adu**2]), dtype=np.float32
            ),
        )

    @cached_property
    def slabs(self) -> list[tuple[slice, slice]]:
        """Where each panel lies: slab_array[slabs[i]]."""
        return [
            (slice(s, s + height), slice(f, f + width))
            for (f, s), (width, height) in zip(self.starts, self.sizes, strict=True)
        ]

    def trusted_values(
        self, frame: NDArray[Any], mask: NDArray[np.uint8], index: int
    ) -> tuple[Array, NDArray[np.bool_], NDArray[np.bool_]]:
        """Return a panel's values, which of them are good, and which of these are saturated.

        Values are 0 where not good, and at most the highest trusted one.
        """
        value = frame[self.slabs[index]].astype(float)
        lowest, highest = self.trusted[index]
        with np.errstate(invalid="ignore"):
            good = (mask[self.slabs[index]] != 0) & (value >= lowest)
        saturated = good & (value > highest)
        return np.where(good, np.minimum(value, highest), 0.0), good, saturated
