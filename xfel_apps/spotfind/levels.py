r"""Background level and gain of a frame, from a sample of small windows.

Where the gain is unknown it comes from the frame itself: over background the variance in a window
grows with the mean as :math:`v = g \bar x + r^2` (photon transfer, Janesick 2001, "Scientific
charge-coupled devices", SPIE Press, chapter 2; `dials.estimate_gain` takes the same from one
level). The windows are put in order of their means, in tenths; a straight line through the tenths'
medians gives the gain :math:`g` and the readout noise :math:`r`. The highest two tenths are left
out: spots are there, and the edges of rings. Medians do not mind few windows with spots elsewhere.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.panels import Panels
from xfel_apps.compute.window_moments import (
    GOOD,
    MEAN,
    N_PIXELS,
    ODD,
    VARIANCE,
    WINDOW_PX,
    Corners,
    window_moments,
    window_values,
)

Array = NDArray[np.float64]

MAX_WINDOWS = 2048
"""Windows sampled a frame: the median of their means is good to 1 % or so."""

FEWEST_WINDOWS = 100
"""Below, nothing is estimated."""

TENTHS_USED = 8
"""Tenths of the windows that the line goes through."""

MEDIAN_OF_VARIANCE = (1 - 2 / (9 * (N_PIXELS - 1))) ** 3
"""Median over mean of a variance estimated from one window (Wilson and Hilferty 1931)."""

NOT_PHOTONS = 0.001
"""Share of values below -0.5 or not whole beyond which values are not counts of photons."""


@dataclass(frozen=True)
class Levels:
    """What the sampled windows say of a frame.

    Attributes
    ----------
    background_adu : median over windows of their mean [ADU]; 0 without windows
    gain_adu, noise_adu : [ADU a photon], [ADU]; None where values look like photons or where
        there is too little to tell
    good_fraction : share of the sampled pixels with a value in the trusted range
    are_photons : values are counts of photons
    """

    background_adu: float
    gain_adu: float | None
    noise_adu: float | None
    good_fraction: float
    are_photons: bool = True


def sample_windows(mask: NDArray[np.bool_], panels: Panels) -> Corners:
    """Return first pixels (n, 2) (slow, fast) of windows with good pixels only, over all panels."""
    corners = []
    for (fast, slow), (width, height) in zip(panels.starts, panels.sizes, strict=True):
        rows, columns = height // WINDOW_PX, width // WINDOW_PX
        part = mask[slow : slow + rows * WINDOW_PX, fast : fast + columns * WINDOW_PX]
        whole = part.reshape(rows, WINDOW_PX, columns, WINDOW_PX).all(axis=(1, 3))
        corners.append(np.argwhere(whole) * WINDOW_PX + [slow, fast])
    found = np.concatenate(corners)
    chosen = found[np.linspace(0, len(found) - 1, min(len(found), MAX_WINDOWS)).astype(np.int64)]
    return np.ascontiguousarray(chosen, dtype=np.int32)


def measure_levels(frame: NDArray[Any], windows: Corners, trusted: tuple[float, float]) -> Levels:
    """Return the levels of a frame (slow, fast) [ADU].

    Parameters
    ----------
    frame : the frame, of a type that the kernels take
    windows : of `sample_windows`
    trusted : lowest and highest trusted value of all panels [ADU]
    """
    table = window_moments(frame, windows, trusted)
    n_good = table[:, GOOD].sum()
    if n_good == 0:
        return Levels(0.0, None, None, 0.0)
    whole = table[table[:, GOOD] == N_PIXELS]
    fraction = float(n_good) / (N_PIXELS * len(table))
    if len(whole) < FEWEST_WINDOWS:
        return Levels(_median_adu(frame, windows, trusted), None, None, fraction)
    background = median(whole[:, MEAN])
    if whole[:, ODD].sum() < NOT_PHOTONS * N_PIXELS * len(whole):
        return Levels(background, None, None, fraction)
    gain_adu, noise_adu = photon_transfer(whole[:, MEAN], whole[:, VARIANCE])
    return Levels(background, gain_adu, noise_adu, fraction, are_photons=False)


def median(values: Array) -> float:
    """Return the median of values (n,), n > 0, sooner than NumPy does, which looks for NaN too.

    >>> median(np.array([3.0, 1.0, 2.0])), median(np.array([4.0, 1.0, 2.0, 3.0]))
    (2.0, 2.5)
    """
    half = len(values) // 2
    parted = np.partition(values, half)
    return float(parted[half] if len(values) % 2 else (parted[half] + parted[:half].max()) / 2)


def _median_adu(frame: NDArray[Any], windows: Corners, trusted: tuple[float, float]) -> float:
    """Return the median of the good values, where whole windows are few."""
    values = window_values(frame, windows)
    with np.errstate(invalid="ignore"):
        good = (values >= trusted[0]) & (values <= trusted[1])
    return float(np.median(values[good]))


def photon_transfer(means: Array, variances: Array) -> tuple[float | None, float | None]:
    """Return gain [ADU a photon] and readout noise [ADU] from windows (n,).

    The gain is None where the variance does not grow with the mean (no photons).

    >>> means = np.linspace(5.0, 50.0, 1000)
    >>> gain, noise = photon_transfer(means, (4.0 * means + 9.0) * MEDIAN_OF_VARIANCE)
    >>> round(gain, 2), round(noise, 2)
    (4.0, 3.0)
    """
    tenths = np.array_split(np.argsort(means, kind="stable"), 10)[:TENTHS_USED]
    level = np.array([np.median(means[part]) for part in tenths])
    spread = np.array([np.median(variances[part]) for part in tenths]) / MEDIAN_OF_VARIANCE
    slope, constant = np.polyfit(level, spread, 1, w=1 / np.maximum(spread, 1e-6))
    if slope <= 0:
        return None, float(np.sqrt(max(constant, 0.0)))
    if constant < 0:
        positive = level > 0
        return float(np.median(spread[positive] / level[positive])), 0.0
    return float(slope), float(np.sqrt(constant))
