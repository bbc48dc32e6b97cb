"""The mosaic spread of a run's lattices together, where single stills cannot tell it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.reader import ProductReader
from xfel_apps.integrate.width import SPREADS_DEG

Array = NDArray[np.float64]

N_STEPS = 4001
"""Steps in which the likelihood is integrated."""


def pooled(log_likelihood: Array) -> tuple[float, float]:
    """Return mean and standard deviation [degree] of the spread that lattices have in common.

    Between the spreads that were tried the logarithm of the likelihood is a parabola. The deviation
    is that of counting alone; a spread that differs from lattice to lattice gives about the mean.

    Parameters
    ----------
    log_likelihood : (n, n_spreads) of `SPREADS_DEG`, one row a lattice

    >>> steps = SPREADS_DEG - 0.1
    >>> mean, deviation = pooled(np.stack(9 * [-0.5 * (steps / 0.03) ** 2]))
    >>> round(mean, 3), round(deviation, 3)
    (0.1, 0.01)
    """
    if not len(log_likelihood):
        return 0.0, 0.0
    total = log_likelihood.sum(axis=0)
    best = int(np.clip(np.argmax(total), 1, len(SPREADS_DEG) - 2))
    around = slice(best - 1, best + 2)
    spread = np.linspace(SPREADS_DEG[around][0], SPREADS_DEG[around][-1], N_STEPS)
    curve = np.polyval(np.polyfit(SPREADS_DEG[around], total[around], 2), spread)
    weight = np.exp(curve - curve.max())
    mean = float(weight @ spread / weight.sum())
    return mean, float(np.sqrt(weight @ (spread - mean) ** 2 / weight.sum()))


def run_mosaic(reader: ProductReader) -> tuple[Mapping[str, Any], Mapping[int, Outcome]]:
    """Return what the manifest says of the mosaic model of all lattices; changes no outcome."""
    fits = reader.frame("mosaic")
    if not len(fits):
        return {}, {}
    columns = [f"log_likelihood_{number}" for number in range(len(SPREADS_DEG))]
    spread, error = pooled(fits[columns].to_numpy(dtype=float))
    block = fits["block_size_ang"].to_numpy(dtype=float)
    found = {
        "mosaicity_deg": round(spread, 4),
        "mosaicity_error_deg": round(error, 4),
        "block_size_ang": round(float(np.median(block)), 1),
        "block_size_quartiles_ang": np.quantile(block, [0.25, 0.75]).round(1).tolist(),
    }
    return {"mosaic": found}, {}
