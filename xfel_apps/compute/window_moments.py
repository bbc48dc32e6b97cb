"""Mean, variance and kind of the values in small windows spread over a frame."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps import _kernels

Array = NDArray[np.float64]
Corners = NDArray[np.int32]

WINDOW_PX = 7
"""Side of a window, as long as that of the threshold's."""

N_PIXELS = WINDOW_PX**2

GOOD, ODD, MEAN, VARIANCE = range(4)
"""Columns of the table: pixels in the trusted range, pixels that are below -0.5 or not whole, mean
and variance (ddof 1) of all of the window's pixels [ADU], [ADU^2]."""


def window_moments(frame: NDArray[Any], corners: Corners, trusted: tuple[float, float]) -> Array:
    """Return what the values in windows are like, (n, 4) with the columns `GOOD` to `VARIANCE`.

    Parameters
    ----------
    frame : (slow, fast) [ADU], of a type that the kernels take
    corners : (n, 2) first pixel (slow, fast) of each window, which lies on the frame
    trusted : lowest and highest trusted value [ADU]
    """
    table = np.empty((len(corners), 4))
    _kernels.window_moments(frame, corners, *trusted, table)
    return table


def window_moments_reference(
    frame: NDArray[Any], corners: Corners, trusted: tuple[float, float]
) -> Array:
    """Return what `window_moments` does, the definition in plain NumPy."""
    values = window_values(frame, corners)
    with np.errstate(invalid="ignore"):
        good = (values >= trusted[0]) & (values <= trusted[1])
        odd = (values < -0.5) | (values != np.rint(values))
        mean = values.mean(axis=1, dtype=np.float64)
        variance = values.var(axis=1, ddof=1, dtype=np.float64)
    return np.column_stack([good.sum(axis=1), odd.sum(axis=1), mean, variance])


def window_values(frame: NDArray[Any], corners: Corners) -> NDArray[np.float32]:
    """Return the values (n, 49) of each window [ADU]."""
    slow, fast = np.indices((WINDOW_PX, WINDOW_PX)).reshape(2, -1)
    values = frame[corners[:, :1] + slow, corners[:, 1:] + fast]
    return np.asarray(values, dtype=np.float32)
