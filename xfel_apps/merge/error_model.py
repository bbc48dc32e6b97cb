"""The error model: how much more observations scatter than counting explains."""

import numpy as np
from numpy.typing import NDArray

from xfel_apps import mpi
from xfel_apps.compute.scaling import ErrorModel
from xfel_apps.merge.averaging import Averager
from xfel_apps.merge.totals import State

Array = NDArray[np.float64]
STUDENT = 30.0
"""Degrees of freedom of the residuals' distribution, nearly normal: variances must be those that
the scatter has, strays included, where scales are fitted so that strays count little."""
SAMPLE = 100_000
MIN_SAMPLE = 50
BOUNDS_LOG = [(0.0, np.log(20.0)), (np.log(1e-3), np.log(2.0)), (np.log(1e-3), np.log(2.0))]
"""Of the logarithms of counting (never below one), partiality, relative."""
POWERS = np.array([1.0, 2.0, 2.0])
"""To which power counting, partiality and relative stand in the variance."""
GRADIENT_LEFT = 1e-9
"""The fit ends where a change of the logarithms by one would change the cost by less."""


def fit_error_model(averager: Averager, state: State, *, partial: bool) -> ErrorModel:
    """Return the error model under which the scatter of the observations is most probable.

    Maximum likelihood with Student's t on a sample of reflections (the same whatever the number
    of ranks), each observation against the mean of the others.

    Parameters
    ----------
    partial : whether partialities were applied, and can thus be wrong

    Source: the idea of Brewster et al. (2019), Acta Cryst. D75, 959.
    """
    comm = averager.comm
    whole = np.concatenate(mpi.gather_all(comm, _components(averager, state)))
    if len(whole) < MIN_SAMPLE:
        return state.model
    fitted = _fit(whole, partial=partial) if comm.rank == 0 else None
    return ErrorModel(*comm.bcast(fitted))


def _components(averager: Averager, state: State) -> Array:
    """Return (n, 5): residual^2 and what the terms of its variance are multiplied by."""
    share = min(1.0, SAMPLE / max(averager.comm.allreduce(len(averager.mine)), 1))
    parts = [np.empty((0, 5))]
    for block, obs, res in averager.each_residuals(state):
        hashed = (obs.slot.astype(np.uint64) * np.uint64(2654435761)) % np.uint64(2**32)
        chosen = (hashed < np.uint64(2**32 * share)) & res.is_common
        chosen &= ~averager.rejected[block.rows]
        expected = res.expected[chosen]
        columns = [
            res.residual[chosen] ** 2,
            obs.noise[chosen] + expected,
            (expected / obs.partiality[chosen]) ** 2,
            expected**2,
            res.ignorance[chosen],
        ]
        parts.append(np.stack(columns, axis=1))
    return np.concatenate(parts)


def _fit(whole: Array, *, partial: bool) -> tuple[float, float, float]:
    """Return (counting, partiality, relative) of `ErrorModel`."""
    from scipy.optimize import minimize  # slow to load, and only one rank needs it

    square, counting, full, relative, ignorance = whole.T

    def cost(logs: Array) -> tuple[float, Array]:
        """Return minus the mean logarithm of the probability, and its gradient."""
        a, k, e = np.exp(logs)
        terms = np.stack([a * counting, k**2 * full * partial, e**2 * relative])
        v = terms.sum(axis=0) + ignorance
        value = 0.5 * np.log(v) + 0.5 * (STUDENT + 1) * np.log1p(square / v / STUDENT)
        slope = 0.5 / v - 0.5 * (STUDENT + 1) * square / (v * (v * STUDENT + square))
        return float(np.mean(value)), POWERS * (terms @ slope) / len(v)

    start = np.log([1.0, 0.1, 0.1])
    options = {"ftol": 0.0, "gtol": GRADIENT_LEFT, "maxiter": 1000}
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=BOUNDS_LOG, options=options)
    counting_factor, partiality, relative_error = np.exp(found.x)
    return float(counting_factor), float(partiality) * partial, float(relative_error)
