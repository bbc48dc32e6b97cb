"""Flags of DIALS' reflection tables, and which of ours they are.

Source: the names and values of `dials.array_family.flex.reflection_table.flags`, DIALS 3.12.
"""

from collections.abc import Mapping
from enum import IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.reflections import ReflectionFlag
from xfel_apps.containers.spots import SpotFlag


class DialsFlag(IntFlag):
    """Bits of the column `flags` that are used here."""

    PREDICTED = 1 << 0
    INDEXED = 1 << 2
    USED_IN_REFINEMENT = 1 << 3
    STRONG = 1 << 5
    INTEGRATED_SUM = 1 << 8
    INTEGRATED_PRF = 1 << 9
    OVERLOADED = 1 << 10
    OVERLAPPED_BG = 1 << 11
    OVERLAPPED_FG = 1 << 12
    IN_POWDER_RING = 1 << 13
    FOREGROUND_INCLUDES_BAD_PIXELS = 1 << 14
    BACKGROUND_INCLUDES_BAD_PIXELS = 1 << 15
    FAILED_DURING_BACKGROUND_MODELLING = 1 << 18
    FAILED_DURING_SUMMATION = 1 << 19
    EXCLUDED_FOR_REFINEMENT = 1 << 25


INTEGRATED = DialsFlag.INTEGRATED_SUM | DialsFlag.INTEGRATED_PRF

SPOT_BITS: Mapping[SpotFlag, DialsFlag] = {
    SpotFlag.SATURATED: DialsFlag.OVERLOADED,
    SpotFlag.EDGE: DialsFlag.FOREGROUND_INCLUDES_BAD_PIXELS,
    SpotFlag.RESOLUTION: DialsFlag.EXCLUDED_FOR_REFINEMENT,
    SpotFlag.ICE: DialsFlag.IN_POWDER_RING,
}
REFLECTION_BITS: Mapping[ReflectionFlag, DialsFlag] = {
    ReflectionFlag.OVERLAP: DialsFlag.OVERLAPPED_FG,
    ReflectionFlag.SATURATED: DialsFlag.OVERLOADED,
    ReflectionFlag.MASKED: DialsFlag.FOREGROUND_INCLUDES_BAD_PIXELS,
    ReflectionFlag.EDGE: DialsFlag.FAILED_DURING_SUMMATION,
    ReflectionFlag.BACKGROUND: DialsFlag.FAILED_DURING_BACKGROUND_MODELLING,
}


def to_dials(flags: NDArray[np.uint8], bits: Mapping[Any, DialsFlag]) -> NDArray[np.uint64]:
    """Return the bits (n,) of DIALS that stand for ours."""
    result = np.zeros(len(flags), dtype=np.uint64)
    for ours, theirs in bits.items():
        result[(flags & int(ours)) != 0] |= np.uint64(int(theirs))
    return result


def from_dials(flags: NDArray[np.uint64], bits: Mapping[Any, DialsFlag]) -> NDArray[np.uint8]:
    """Return our bits (n,) for those of DIALS."""
    result = np.zeros(len(flags), dtype=np.uint8)
    for ours, theirs in bits.items():
        result[has(flags, theirs)] |= np.uint8(int(ours))
    return result


def has(flags: NDArray[np.uint64], wanted: DialsFlag) -> NDArray[np.bool_]:
    """Return which flags (n,) have any of the bits."""
    return np.asarray((flags.astype(np.uint64) & np.uint64(int(wanted))) != 0)
