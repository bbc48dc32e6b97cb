r"""Spots: strong pixels that touch, and what is measured of each.

Pixels touch along sides and corners (as in DIALS) within one panel. A spot is measured on its
strong pixels and those around them (its footprint, less the pixels that two spots share), which
hold the tails that the threshold cut off. With photons :math:`p_i`, the mean :math:`b` of
the :math:`m` good pixels about the spot that belong to none, their variance :math:`x (b + r^2)`
(where detectors are noisier than counting, :math:`x > 1`; never less), readout noise :math:`r`, and
weights :math:`w_i = \sqrt{p_i - b}` where :math:`p_i - b > 2.5 \sqrt{x (b + r^2)}`, else 0:

.. math::
    I = \sum_i (p_i - b), \qquad
    \sigma_I^2 = \sum_i (p_i + r^2) + n (b + r^2) \left(x + x \frac{n}{m} - 1\right), \qquad
    \bar f = \frac{\sum_i w_i f_i}{\sum_i w_i}

    \sigma_{\bar f}^2 = \sum_i \frac{(f_i - \bar f)^2 (p_i + r^2)}{4 w_i^2 (\sum_i w_i)^2}
        + \frac{1}{12} \frac{\sum_i w_i^2}{(\sum_i w_i)^2}

The square root is there because spots of small crystals are narrower than a pixel or two: weighted
by intensity the centroid is drawn to the middle of the brightest pixel (on simulated stills, whose
true positions are known, the median distance falls from 0.22 to 0.13 pixels; DIALS has 0.20 on the
same spots). The last term is for where in its pixel a photon fell, and for pixels left out.
Counting statistics as in Leslie (1999), Acta Cryst. D55, 1696-1702.

The signal to noise of a spot is that of its :math:`k` strong pixels alone, with the square root
that makes counts of any level equally spread (Anscombe 1948, Biometrika 35, 246-254), so that one
limit serves dim and bright backgrounds:

.. math::
    \left(2 \sqrt{\textstyle\sum_k (p_k + r^2) + 3/8} - 2 \sqrt{k (b + r^2) + 3/8}\right)
    / \sqrt{x}
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from xfel_apps import _kernels
from xfel_apps.compute.panels import Panels

Array = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]

COLUMNS = (
    "panel",
    "fast_px",
    "slow_px",
    "fast_var_px2",
    "slow_var_px2",
    "intensity",
    "sigma",
    "background",
    "peak",
    "peak_fast",
    "peak_slow",
    "n_pixels",
    "flags",
    "snr",
)
"""What is measured of a spot, in this order; pixels count within the panel, the rest is photons."""

SATURATED, EDGE = 1, 2
"""Bits of `flags`: a pixel is saturated; the panel's edge or a bad pixel is touched."""

CENTROID_SIGMAS = 2.5
"""Standard deviations of background above which a pixel counts for the centroid."""

TOUCHING = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class SpotLimits:
    """Which groups of strong pixels are spots, and how their background is taken.

    Attributes
    ----------
    min_pixels, max_pixels : strong pixels of a spot
    margin_px : how far the background reaches beyond the box around the footprint; twice as far
        where it finds too few pixels
    min_background : good pixels that the background needs; without, there is no spot
    """

    min_pixels: int = 1
    max_pixels: int = 200
    margin_px: int = 3
    min_background: int = 12


def find_spots(
    frame: NDArray[Any], mask: Bytes, strong: Bytes, panels: Panels, limits: SpotLimits
) -> Array:
    """Return the spots of a frame, (n, 14) with the columns `COLUMNS`, by panel and first pixel.

    Parameters
    ----------
    frame : (slow, fast) [ADU], of any real dtype
    mask : (slow, fast), not 0 where a pixel is good
    strong : (slow, fast), 1 where a pixel is strong, else 0; the pixels around are set to 2
    panels : where the panels lie and what their values mean
    limits : what counts as a spot
    """
    return np.asarray(
        _kernels.find_spots(
            frame,
            mask,
            strong,
            *panels.arrays,
            limits.min_pixels,
            limits.max_pixels,
            limits.margin_px,
            limits.min_background,
        )
    )


def find_spots_reference(
    frame: NDArray[Any], mask: Bytes, strong: Bytes, panels: Panels, limits: SpotLimits
) -> Array:
    """Return what `find_spots` does, the definition in plain NumPy; `strong` is left as it is."""
    rows = [
        row
        for index in range(len(panels.starts))
        for row in _panel_spots(frame, mask, strong, panels, index, limits)
    ]
    return np.array(rows, dtype=float).reshape(-1, len(COLUMNS))


def _panel_spots(
    frame: NDArray[Any], mask: Bytes, strong: Bytes, panels: Panels, index: int, limits: SpotLimits
) -> Iterator[list[float]]:
    value, good, saturated = panels.trusted_values(frame, mask, index)
    photons, noise = value / panels.gain[index], (panels.noise_adu[index] / panels.gain[index]) ** 2
    is_strong = strong[panels.slabs[index]] == 1
    labels, n_labels = ndimage.label(is_strong, TOUCHING)
    footprints = [
        ndimage.binary_dilation(labels == label, TOUCHING) & (~is_strong | (labels == label))
        for label in range(1, n_labels + 1)
    ]
    owners = np.sum(footprints, axis=0) if footprints else np.zeros_like(labels)
    for label, footprint in enumerate(footprints, start=1):
        size = int(np.sum(labels == label))
        own = footprint & (owners == 1)
        about = _background(own, good & (owners == 0), limits)
        if not limits.min_pixels <= size <= limits.max_pixels or about is None:
            continue
        edge = not np.all(good[own]) or _at_border(own)
        flags = SATURATED * bool(np.any(saturated[own])) + EDGE * edge
        own &= good
        core = own & (labels == label)
        measured = _measure(photons, own, core, photons[about], noise)
        yield [index, *measured, size, flags, _snr(photons[core], photons[about], noise)]


def _at_border(own: Mask) -> bool:
    return bool(own[0].any() or own[-1].any() or own[:, 0].any() or own[:, -1].any())


def _background(own: Mask, free: Mask, limits: SpotLimits) -> Mask | None:
    """Return the pixels of a spot's background, or None where there are too few."""
    slow, fast = np.nonzero(own)
    for margin in (limits.margin_px, 2 * limits.margin_px):
        box = np.zeros_like(own)
        box[
            max(slow.min() - margin, 0) : slow.max() + margin + 1,
            max(fast.min() - margin, 0) : fast.max() + margin + 1,
        ] = True
        if np.sum(box & free) >= limits.min_background:
            return np.asarray(box & free)
    return None


def _measure(photons: Array, own: Mask, core: Mask, about: Array, noise: float) -> list[float]:
    """Return the columns from fast_px to peak_slow."""
    b, p = float(np.mean(about)), photons[own]
    each = max(b, 0.0) + noise
    highest = np.flatnonzero(np.where(core, photons, -np.inf) == photons[core].max())[0]
    peak_slow, peak_fast = np.unravel_index(highest, photons.shape)
    centre = _centroid(photons - b, own, (int(peak_slow), int(peak_fast)), noise, about)
    excess = _excess(about, noise) * (1 + len(p) / len(about)) - 1
    sigma = float(np.sqrt(np.sum(np.maximum(p, 0.0) + noise) + len(p) * each * excess))
    peak = [float(photons[core].max()), float(peak_fast), float(peak_slow)]
    return [*centre, float(np.sum(p - b)), sigma, b, *peak]


def _centroid(
    above: Array, own: Mask, peak: tuple[int, int], noise: float, about: Array
) -> list[float]:
    """Return the centroid (fast, slow) and its variance; of the peak where no pixel counts."""
    b = float(np.mean(about))
    least = CENTROID_SIGMAS * np.sqrt((max(b, 0.0) + noise) * _excess(about, noise))
    slow, fast = np.nonzero(own & (above > least))
    if not len(slow):
        return [peak[1] + 0.5, peak[0] + 0.5, 1 / 12, 1 / 12]
    signal = above[slow, fast]
    weights = np.sqrt(signal)
    share = weights / weights.sum()
    variance = (np.maximum(signal + b, 0.0) + noise) / (4 * signal * weights.sum() ** 2)
    centre = [float(share @ (axis + 0.5)) for axis in (fast, slow)]
    within = float(share @ share) / 12
    spread = [
        float((axis + 0.5 - c) ** 2 @ variance) + within
        for axis, c in zip((fast, slow), centre, strict=True)
    ]
    return [*centre, *spread]


def _excess(about: Array, noise: float) -> float:
    """Return how many times the variance of counting the background's is, at least 1."""
    expected = max(float(about.mean()), 0.0) + noise
    return max(float(about.var(ddof=1)) / expected, 1.0) if expected > 0 else 1.0


def _snr(core: Array, about: Array, noise: float) -> float:
    """Return the signal to noise of the strong pixels."""
    each = max(float(about.mean()), 0.0) + noise
    signal = np.sqrt(max(float(core.sum()) + len(core) * noise + 0.375, 0.0))
    return float(2 * (signal - np.sqrt(len(core) * each + 0.375)) / np.sqrt(_excess(about, noise)))
