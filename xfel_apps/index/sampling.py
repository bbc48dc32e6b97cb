"""Directions, rotations and the best of many trials."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]

BLOCK = 16
"""Of so many neighbouring scores only the best is looked at."""


def directions(n: int) -> Float32:
    """Return n unit vectors (3, n) of a hemisphere, the first of a sequence that is ever denser.

    Source: Roberts (2018), the sequence R2, an additive recurrence with the plastic number.
    """
    return _sequence(1 << (n - 1).bit_length())[:, :n]


@lru_cache(maxsize=1)
def _longest_sequence() -> list[Float32]:
    """Return the place where the longest sequence made so far is kept."""
    return []


def _sequence(n: int) -> Float32:
    kept = _longest_sequence()
    if not kept or kept[0].shape[1] < n:
        index, plastic = np.arange(n), 1.32471795724474602596
        z = (0.5 + index / plastic) % 1.0
        azimuth = 2.0 * np.pi * ((0.5 + index / plastic**2) % 1.0)
        radius = np.sqrt(1.0 - z**2)
        vectors = np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), z])
        kept[:] = [vectors.astype(np.float32)]
    return kept[0]


def frames(axes: Array) -> Array:
    """Return rotations (n, 3, 3) whose third columns are the unit axes (n, 3)."""
    helper = np.eye(3)[np.argmin(np.abs(axes), axis=1)]
    x = np.cross(helper, axes)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.stack([x, np.cross(axes, x), axes], axis=2)


def rotate(axes: Array, angles_rad: Array) -> Array:
    """Return rotations (n, 3, 3) about unit axes (n, 3) by angles (n,) [rad]."""
    quaternion = np.column_stack([np.cos(angles_rad / 2), np.sin(angles_rad / 2)[:, None] * axes])
    w, x, y, z = quaternion.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def highest(scores: Float32, n: int) -> NDArray[np.intp]:
    """Return the positions of about the n highest scores, in order; one of each block."""
    whole = len(scores) // BLOCK * BLOCK
    blocks = scores[:whole].reshape(-1, BLOCK)
    best = np.arange(0, whole, BLOCK) + np.argmax(blocks, axis=1)
    best = np.concatenate([best, np.arange(whole, len(scores))])
    if len(best) > n:
        best = best[np.argpartition(scores[best], -n)[-n:]]
    return np.asarray(best[np.argsort(-scores[best], kind="stable")])
