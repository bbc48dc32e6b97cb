"""Amplitudes from intensities that may be negative."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
NODES = 96
REACH_SIGMA = 8.0
REACH_MEAN = 36.0
BLOCK = 20_000


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
