r"""Strong pixels of a frame by local dispersion, the method of DIALS.

In a window around each pixel the :math:`n` good pixels have the sum :math:`x` and the sum of
squares :math:`y`. Background alone has the variance :math:`v = (g \bar x + r^2) e` (gain :math:`g`,
readout noise :math:`r`, excess :math:`e` of `xfel_apps.compute.local_noise`, else 1), so that its
index of dispersion is 1 with a standard deviation of :math:`\sqrt{2 / (n - 1)}` (Kabsch 2010, Acta
Cryst. D66, 133-144). A window holds signal where

.. math:: n y - x^2 > n v \left(n - 1 + \sigma_b \sqrt{2 (n - 1)}\right)

and a pixel is strong where besides :math:`p > \bar x + \sigma_s \sqrt{v}` (Winter et al. 2018,
Acta Cryst. D74, 85-97). The extended form takes the second step with a background that no signal
has entered: windows of signal are eroded by half a window, which gives back the shape of the spots,
and the mean is taken over a larger window without what is left.

Windows end at the edges of panels; pixels that are masked, below the trusted range or NaN never
enter one; pixels above the trusted range count as its upper end.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps import _kernels
from xfel_apps.compute.local_noise import noise_maps
from xfel_apps.compute.panels import Panels

Array = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]
Noise = tuple[float, float, Floats | float]
"""Gain [ADU], readout noise squared [ADU^2] and the excess over both."""

NO_EXCESS: Floats = np.empty(0, np.float32)

MAX_HALF_WIDTH = 7
"""Largest half width of a window that the kernel has room for."""

BACKGROUND_MARGIN_PX = 2
"""How much further than the window the background of the extended form reaches on each side."""


@dataclass(frozen=True)
class Dispersion:
    """How strong pixels are told.

    Attributes
    ----------
    half_width_px : windows have 2 half_width_px + 1 pixels a side
    sigma_background : standard deviations that the index of dispersion lies above 1
    sigma_strong : standard deviations that a pixel lies above its local mean
    min_count : good pixels that a window needs
    extended : estimate the background again without signal
    """

    half_width_px: int = 3
    sigma_background: float = 6.0
    sigma_strong: float = 3.0
    min_count: int = 8
    extended: bool = True


def strong_pixels(
    frame: NDArray[Any],
    mask: Bytes,
    panels: Panels,
    how: Dispersion,
    excess: Floats | None = None,
    out: tuple[Bytes, Bytes] | None = None,
) -> Bytes:
    """Return which pixels are strong, (slow, fast) of 0 and 1.

    Parameters
    ----------
    frame : (slow, fast) [ADU], of any real dtype
    mask : (slow, fast), not 0 where a pixel is good
    panels : where the panels lie and what their values mean
    how : the method's settings
    excess : (n_windows,) how many times the variance of counting each window's is, of
        `local_noise`; None: 1
    out : arrays of zeros of the frame's shape, to work in and to fill, so that none are made; the
        first is left as zeros
    """
    work, strong = out or (np.zeros(frame.shape, np.uint8), np.zeros(frame.shape, np.uint8))
    _kernels.strong_pixels(
        frame,
        mask,
        *panels.arrays,
        how.half_width_px,
        how.sigma_background,
        how.sigma_strong,
        how.min_count,
        how.extended,
        NO_EXCESS if excess is None else excess,
        work,
        strong,
    )
    return strong


def strong_pixels_reference(
    frame: NDArray[Any],
    mask: Bytes,
    panels: Panels,
    how: Dispersion,
    excess: Floats | None = None,
) -> Bytes:
    """Return what `strong_pixels` does, the definition in plain NumPy."""
    strong = np.zeros(frame.shape, np.uint8)
    about = [1.0] * len(panels.slabs) if excess is None else noise_maps(excess, panels)
    for index, slab in enumerate(panels.slabs):
        value, good, _ = panels.trusted_values(frame, mask, index)
        noise = panels.gain[index], panels.noise_adu[index] ** 2, about[index]
        find = _extended if how.extended else _plain
        strong[slab] = find(value, good, noise, how)
    return strong


def window_sum(values: Array, half_width: int) -> Array:
    """Return the sums of `values` (slow, fast) over windows clipped at the edges.

    >>> window_sum(np.ones((1, 4)), 1)
    array([[2., 3., 3., 2.]])
    """
    total = values
    for axis in (0, 1):
        padding = [(half_width + 1, half_width) if i == axis else (0, 0) for i in (0, 1)]
        sums = np.cumsum(np.pad(total, padding), axis=axis)
        n = total.shape[axis]
        ends = np.arange(n) + 2 * half_width + 1
        total = sums.take(ends, axis=axis) - sums.take(np.arange(n), axis=axis)
    return np.asarray(total)


def _signal(value: Array, good: Mask, noise: Noise, how: Dispersion) -> Any:
    """Return where the dispersion in the window is too much for background; n, x and n v too."""
    n, x, y = (
        window_sum(part, how.half_width_px) for part in (good.astype(float), value, value**2)
    )
    gain, variance, excess = noise
    expected = (gain * x + variance * n) * excess
    above = n - 1 + how.sigma_background * np.sqrt(2 * np.maximum(n - 1, 0))
    signal = good & (n >= how.min_count) & (x >= 0) & (n * y - x * x > expected * above)
    return signal, n, x, expected


def _plain(value: Array, good: Mask, noise: Noise, how: Dispersion) -> Any:
    signal, n, x, expected = _signal(value, good, noise, how)
    return signal & (n * value - x > how.sigma_strong * np.sqrt(np.maximum(n * expected, 0)))


def _extended(value: Array, good: Mask, noise: Noise, how: Dispersion) -> Any:
    signal = _signal(value, good, noise, how)[0]
    background = (good & ~signal).astype(float)
    core = good & (window_sum(background, how.half_width_px) == 0)
    wide = how.half_width_px + BACKGROUND_MARGIN_PX
    rest = (good & ~core).astype(float)
    n = window_sum(rest, wide)
    mean = window_sum(value * rest, wide) / np.maximum(n, 1)
    gain, variance, excess = noise
    deviation = np.sqrt((gain * np.maximum(mean, 0) + variance) * excess)
    return core & (n > 0) & (value > mean + how.sigma_strong * deviation)
