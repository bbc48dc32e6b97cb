"""How well two sets of intensities agree."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def correlation(x: Array, y: Array) -> float | None:
    """Return Pearson's correlation over the pairs where both are known; None if undefined.

    >>> correlation(np.array([1.0, 2.0, 3.0, np.nan]), np.array([2.0, 4.0, 6.0, 1.0]))
    1.0
    """
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return round(float(np.corrcoef(x, y)[0, 1]), 12)


def cc_star(cc_half: float | None) -> float | None:
    """Return CC*, the correlation of the merged data with the truth that CC1/2 lets expect.

    Source: Karplus & Diederichs (2012), Science 336, 1030.

    >>> cc_star(1.0), cc_star(0.0), cc_star(-0.2)
    (1.0, 0.0, None)
    """
    if cc_half is None or cc_half < 0:
        return None
    return float(np.sqrt(2 * cc_half / (1 + cc_half)))


def r_split(x: Array, y: Array) -> float | None:
    """Return Rsplit = sum|x - y| / sum((x + y) / 2) / sqrt(2) of two half datasets.

    Source: White et al. (2012), Acta Cryst. D68, 335.

    >>> round(r_split(np.array([10.0, 20.0]), np.array([12.0, 18.0])), 6)
    0.094281
    """
    known = np.isfinite(x) & np.isfinite(y)
    scale = 0.5 * float(np.sum(x[known] + y[known]))
    if scale <= 0:
        return None
    return float(np.sum(np.abs(x[known] - y[known])) / scale / np.sqrt(2))
