"""What the pixels about spots tell: background, readout noise, and what no model knows."""

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.forward import Rectangles
from xfel_apps.compute.shoebox import pixels_of

Array = NDArray[np.float64]
F4 = NDArray[np.float32]

CORE_PX = 4.0
"""Pixels nearer to a prediction may hold its spot; the others start the background."""


def is_away(boxes: Rectangles) -> NDArray[np.bool_]:
    """Return which pixels (n_pixels,) lie away from the boxes' centres."""
    box, fast, slow = pixels_of(boxes)
    middle = 0.5 * (boxes.sizes - 1)[box]
    return np.asarray(np.hypot(fast - middle[:, 0], slow - middle[:, 1]) > CORE_PX)


def _background_pixels(boxes: Rectangles, observed: F4) -> tuple[NDArray[np.int64], Array]:
    """Return box and photons of the pixels away from the boxes' centres."""
    box, _, _ = pixels_of(boxes)
    far = is_away(boxes) & np.isfinite(observed)
    return box[far], observed[far].astype(float)


def mean_background(boxes: Rectangles, observed: F4) -> Array:
    """Return the level (n,) of each box's background, its highest pixels left out."""
    box, photons = _background_pixels(boxes, observed)
    n = len(boxes.sizes)
    for _ in range(2):
        count = np.maximum(np.bincount(box, minlength=n), 1)
        mean = np.bincount(box, photons, n) / count
        variance = np.bincount(box, photons**2, n) / count - mean**2
        near = photons - mean[box] < 4.0 * np.sqrt(np.maximum(variance[box], 0.25))
        box, photons = box[near], photons[near]
    return np.asarray(np.bincount(box, photons, n) / np.maximum(np.bincount(box, minlength=n), 1))


def readout_variance(boxes: Rectangles, observed: F4) -> float:
    """Return the variance of background pixels beyond that of counting [photon^2]."""
    mean = mean_background(boxes, observed)
    box, photons = _background_pixels(boxes, observed)
    near = np.abs(photons - mean[box]) < 5.0 * np.sqrt(np.maximum(mean[box], 0.0) + 1.0)
    box, photons = box[near], photons[near]
    count = np.bincount(box, minlength=len(mean))
    beyond = np.bincount(box, (photons - mean[box]) ** 2, len(mean)) / np.maximum(count - 1, 1)
    told = count >= 20
    return max(0.0, float(np.median((beyond - np.maximum(mean, 0.0))[told]))) if told.any() else 0.0


def unknown_variance(boxes: Rectangles, observed: F4, model_error: float) -> F4:
    """Return the variance (n_pixels,) of what the model cannot know of spots' shapes [photon^2].

    It goes with what was recorded above background: a model that set it could hide in it.
    """
    box, _, _ = pixels_of(boxes)
    above = np.maximum(observed - mean_background(boxes, observed)[box], 0.0)
    return np.nan_to_num((model_error * above) ** 2).astype(np.float32)
