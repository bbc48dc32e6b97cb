"""Modulation: how much of a narrow spot is recorded depends on where in its pixel it lies.

Pixels with gaps between their sensitive areas, pixels that lose charge at their corners, and
simulated images that are sampled at points record more of a spot on the centre of a pixel than of
one on a corner, the more so the narrower spots are. Such a factor is the same for all crystals and
is fitted with their scales; Kabsch (2010), Acta Cryst. D66, 125, does so over the face of a
detector. Along each axis of a panel it is ``1 + sum (c + d (2 A / d)^2) w`` with the two waves
``w = cos 2 pi u, sin 2 pi u`` of the place u in the pixel; both axes' factors are multiplied.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
U1 = NDArray[np.uint8]

N_COEFFICIENTS = 8
"""For fast: c and d of the cosine, then those of the sine; then the same for slow."""
SD = 0.2
"""Standard deviation expected of coefficients."""
LEAST = 0.2
"""Factors are never taken to be smaller."""
N_PLACES = 256
_ANGLE = 2.0 * np.pi * (np.arange(N_PLACES) + 0.5) / N_PLACES
_WAVES = np.stack([np.cos(_ANGLE), np.sin(_ANGLE)])


def place(position_px: NDArray[np.floating]) -> U1:
    """Return where in its pixel each position (n,) lies, in 1/256 of a pixel.

    >>> place(np.array([0.0, 7.5, 3.999])).tolist()
    [0, 128, 255]
    """
    within = position_px.astype(float) % 1.0
    return np.minimum(N_PLACES * within, N_PLACES - 1).astype(np.uint8)


def factor(coefficients: Array, places: tuple[U1, U1], s2: Array) -> Array:
    """Return the factors (n,) of observations.

    Parameters
    ----------
    places : in fast and slow, as `place` gives them (n,) each
    s2 : (n,) 1 / (4 d^2) [1/Angstrom^2]

    >>> centre, corner = (np.array([p, p], dtype=np.uint8) for p in (127, 255))
    >>> flat = np.array([-0.3, 0, 0, 0, -0.3, 0, 0, 0])
    >>> s2 = np.zeros(2)
    >>> factor(flat, (centre, corner), s2).round(2).tolist()
    [0.91, 0.91]
    """
    fast, slow = (
        np.maximum(1.0 + np.einsum("k,kn->n", own, _basis(at, s2)), LEAST)
        for own, at in zip(coefficients.reshape(2, -1), places, strict=True)
    )
    return np.asarray(fast * slow)


def amplitudes(coefficients: Array) -> tuple[float, float]:
    """Return the amplitudes along fast and slow at low resolution.

    >>> amplitudes(np.array([-0.3, 0, 0.4, 0, 0.1, 0, 0, 0]))
    (0.5, 0.1)
    """
    fast, slow = np.hypot(coefficients[[0, 4]], coefficients[[2, 6]])
    return float(fast), float(slow)


def slopes(coefficients: Array, places: tuple[U1, U1], s2: Array) -> Array:
    """Return how the logarithm of each factor changes with the coefficients (8, n)."""
    parts = []
    for own, at in zip(coefficients.reshape(2, -1), places, strict=True):
        basis = _basis(at, s2)
        parts.append(basis / np.maximum(1.0 + np.einsum("k,kn->n", own, basis), LEAST))
    return np.concatenate(parts)


def _basis(at: U1, s2: Array) -> Array:
    """Return (4, n): each wave, and each wave times (2 A / d)^2."""
    waves, outer = _WAVES[:, at], 16.0 * s2
    return np.stack([waves[0], outer * waves[0], waves[1], outer * waves[1]])


def step(coefficients: Array, normal: Array, gradient: Array) -> Array:
    """Return the coefficients (8,) after a Gauss-Newton step with a normal prior.

    Parameters
    ----------
    normal, gradient : (8, 8) and (8,) sums over all observations
    """
    precision = np.full(N_COEFFICIENTS, SD**-2.0)
    change = np.linalg.solve(normal + np.diag(precision), gradient - precision * coefficients)
    return np.asarray(coefficients + change)
