"""Amplitudes from intensities that may be negative."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
NODES = 96
REACH_SIGMA = 8.0
REACH_MEAN = 36.0
BLOCK = 20_000
TABLE_REACH = 30.0
"""Standard deviations from zero within which a table is used, beyond it limits."""


def french_wilson(
    intensity: Array, sigma: Array, mean: Array, centric: NDArray[np.bool_]
) -> tuple[Array, Array]:
    """Return the expected amplitude |F| (n,) and its standard deviation (n,).

    The posterior of |F| given a measured intensity with a normal error and Wilson's distribution
    about the `mean` intensity (n,) expected of each reflection, by quadrature.
    Source: French & Wilson (1978), Acta Cryst. A34, 517.

    >>> one = np.ones(1)
    >>> french_wilson(400 * one, 0.1 * one, 300 * one, np.array([False]))[0].round(2)
    array([20.])
    """
    amplitude, spread = np.empty_like(intensity), np.empty_like(intensity)
    for start in range(0, len(intensity), BLOCK):
        part = slice(start, start + BLOCK)
        amplitude[part], spread[part] = _moments(
            intensity[part], sigma[part], mean[part], centric[part]
        )
    return amplitude, spread


def normalized_amplitude(intensity: Array, sigma: Array) -> Array:
    """Return the expected amplitude |F| (n,) of acentric reflections with a mean intensity of one.

    Wilson's distribution times a normal error is a normal distribution cut at zero, so a table of
    one variable has it all: fast enough for every observation.

    >>> normalized_amplitude(np.array([4.0, -3.0]), np.array([0.01, 100.0])).round(2)
    array([2.  , 0.89])
    """
    distance = (intensity - sigma**2) / sigma
    table = np.linspace(-TABLE_REACH, TABLE_REACH, 40 * int(TABLE_REACH) + 1)
    flat = np.full(len(table), 1e9)  # next to this mean, all intensities are alike
    amplitude, _ = french_wilson(table, np.ones(len(table)), flat, flat < 0)
    far = np.abs(distance) > TABLE_REACH
    limit = np.where(distance > 0, 1.0, np.sqrt(np.pi) / 2.0 / np.maximum(np.abs(distance), 1e-30))
    limit *= np.sqrt(np.where(distance > 0, np.maximum(distance, 0), np.abs(distance)))
    near = np.interp(distance, table, amplitude)
    return np.asarray(np.sqrt(sigma) * np.where(far, limit, near))


def _moments(
    intensity: Array, sigma: Array, mean: Array, centric: NDArray[np.bool_]
) -> tuple[Array, Array]:
    """Return mean and standard deviation of the posteriors."""
    low = np.sqrt(np.maximum(intensity - REACH_SIGMA * sigma, 0.0))
    high = np.maximum(intensity, 0.0) + REACH_SIGMA * sigma
    high = np.sqrt(np.minimum(high, np.maximum(low**2 * 1.01, REACH_MEAN * mean)))
    high = np.maximum(high, low * 1.001)
    nodes = (np.arange(NODES) + 0.5) / NODES
    f = low[:, None] + (high - low)[:, None] * nodes
    scaled = f**2 / mean[:, None]
    log_prior = np.where(centric[:, None], -0.5 * scaled, np.log(f) - scaled)
    log_posterior = log_prior - 0.5 * ((f**2 - intensity[:, None]) / sigma[:, None]) ** 2
    weight = np.exp(log_posterior - log_posterior.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    amplitude = (weight * f).sum(axis=1)
    variance = (weight * (f - amplitude[:, None]) ** 2).sum(axis=1)
    return amplitude, np.sqrt(variance)
