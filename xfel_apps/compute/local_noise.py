"""How much noisier than counting photons each part of a frame is.

Integrating detectors are not equally noisy everywhere: gain and pedestal wander, and some parts of
an ASIC flicker. One gain for all makes thousands of spots of the noisy parts. So the index of
dispersion is measured in windows over the frame (variance over what gain, mean and readout noise
explain), and a high quantile of it over the windows about each one tells how noisy it is there;
spots, which few of them hold, do not change it (order statistics as in Hadian-Jazi et al. 2017,
J. Appl. Cryst. 50, 1705-1715).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps import _kernels
from xfel_apps.compute.panels import Panels

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

WINDOW_PX = 7
"""Side of a window."""

REACH = 2
"""Windows on each side that tell how noisy it is at one."""

MIN_GOOD = 25
"""Good pixels that a window needs."""

QUANTILE = 0.75
"""Quantile of the index of dispersion: above the median, since noise has heavy tails."""

_SPREAD = 2 / (9 * (WINDOW_PX**2 - 1))
TYPICAL = (1 - _SPREAD + 0.6745 * np.sqrt(_SPREAD)) ** 3
"""That quantile where there is counting alone (Wilson and Hilferty 1931, PNAS 17, 684-688)."""


def local_noise(frame: NDArray[Any], mask: Bytes, panels: Panels) -> Floats:
    """Return how many times the variance of counting each window's is, (n_windows,), at least 1.

    Windows go by panel, row and column; those that reach beyond a panel's edge are none.

    Parameters
    ----------
    frame : (slow, fast) [ADU], of any real dtype
    mask : (slow, fast), not 0 where a pixel is good
    panels : where the panels lie and what their values mean
    """
    excess = np.empty(sum(map(math.prod, window_grids(panels))), np.float32)
    _kernels.local_noise(frame, mask, *panels.arrays, QUANTILE, TYPICAL, excess)
    return excess


def local_noise_reference(frame: NDArray[Any], mask: Bytes, panels: Panels) -> Floats:
    """Return what `local_noise` does, the definition in plain NumPy."""
    parts = [
        _smooth(_dispersion(frame, mask, panels, index)).ravel()
        for index in range(len(panels.starts))
    ]
    return np.concatenate(parts).astype(np.float32)


def window_grids(panels: Panels) -> list[tuple[int, int]]:
    """Return rows and columns of the windows of each panel."""
    return [(int(h) // WINDOW_PX, int(w) // WINDOW_PX) for w, h in panels.sizes]


def noise_maps(excess: Floats, panels: Panels) -> list[Floats]:
    """Return the excess of each pixel (slow, fast) of each panel, that of its window.

    The last windows reach to the panel's edge; panels smaller than a window have 1.

    Parameters
    ----------
    excess : (n_windows,) of `local_noise`
    panels : where the panels lie
    """
    maps, first = [], 0
    for (width, height), (n_rows, n_columns) in zip(
        panels.sizes, window_grids(panels), strict=True
    ):
        n = n_rows * n_columns
        grid = excess[first : first + n].reshape(n_rows, n_columns)
        rows = np.minimum(np.arange(height) // WINDOW_PX, n_rows - 1)
        columns = np.minimum(np.arange(width) // WINDOW_PX, n_columns - 1)
        maps.append(grid[np.ix_(rows, columns)] if n else np.ones((height, width), np.float32))
        first += n
    return maps


def _dispersion(frame: NDArray[Any], mask: Bytes, panels: Panels, index: int) -> Array:
    """Return the index of dispersion of each window of a panel, (rows, columns); NaN: unknown."""
    value, good, _ = panels.trusted_values(frame, mask, index)
    rows, columns = (size // WINDOW_PX for size in value.shape)
    shape = rows, WINDOW_PX, columns, WINDOW_PX
    n, x, y = (
        part[: rows * WINDOW_PX, : columns * WINDOW_PX].reshape(shape).sum(axis=(1, 3))
        for part in (good.astype(float), value, value**2)
    )
    expected = panels.gain[index] * np.maximum(x, 0) + panels.noise_adu[index] ** 2 * n
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (n * y - x * x) / ((n - 1) * expected)
    return np.where((n >= MIN_GOOD) & (expected > 0), found, np.nan)


def _smooth(dispersion: Array) -> Array:
    excess = np.ones_like(dispersion)
    for row, column in np.ndindex(dispersion.shape):
        about = dispersion[
            max(row - REACH, 0) : row + REACH + 1, max(column - REACH, 0) : column + REACH + 1
        ]
        known = np.sort(about[np.isfinite(about)])
        if known.size:
            rank = int(np.float32(QUANTILE) * (known.size - 1))
            excess[row, column] = max(known[rank] / TYPICAL, 1.0)
    return excess
