"""Which crystals do not belong to a dataset, told by how they agree with all others."""

import numpy as np
from numpy.typing import NDArray

from xfel_apps import mpi
from xfel_apps.compute.scaling import STUDENT, Residuals
from xfel_apps.compute.sums import total_by
from xfel_apps.errors import ContainerError
from xfel_apps.merge.averaging import Averager
from xfel_apps.merge.blocks import Block
from xfel_apps.merge.crystals import Verdict
from xfel_apps.merge.delta import delta_cc_half, unusual
from xfel_apps.merge.observations import Observations, correlation_by_group
from xfel_apps.merge.settings import MergeSettings
from xfel_apps.merge.totals import State

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

CHANCE_SIGMA = 2.0
"""A correlation counts as too low only by more than so many of its standard errors, 1/sqrt(n)."""
MIN_COMMON = 10
"""A crystal is judged by its correlation only over so many common reflections."""


def refuse(
    averager: Averager, state: State, verdict: NDArray[np.int8], settings: MergeSettings
) -> bool:
    """Refuse crystals that do not agree with the others, in place; return whether there were any.

    Their observations are forgotten.
    """
    n_before = int((verdict == Verdict.USED.code).sum())
    parts = [np.zeros((0, 2), dtype=bool)]
    for block, obs, res in averager.each_residuals(state):
        found, by_chance = _correlation(block, obs, res)
        unlike = log_odds(averager, state, block, obs, res) < settings.min_log_odds
        parts.append(np.stack([found + by_chance < settings.min_correlation, unlike], axis=1))
    uncorrelated, unlike = np.concatenate(mpi.gather_all(averager.comm, np.concatenate(parts))).T
    _judge(verdict, uncorrelated, Verdict.CORRELATION)
    _judge(verdict, unlike, Verdict.UNLIKE)
    if settings.max_delta_cc_half_sigma is not None:
        used = verdict == Verdict.USED.code
        delta = delta_cc_half(averager, state)
        _judge(verdict, unusual(delta, used, settings.max_delta_cc_half_sigma), Verdict.DELTA)
    n_left = int((verdict == Verdict.USED.code).sum())
    if not n_left:
        raise ContainerError(
            f"none of {len(verdict)} crystals agrees with the others: noise, or several ways of "
            "indexing (give merge.reference); lower merge.min_correlation and merge.min_log_odds "
            "to merge all the same"
        )
    averager.drop(verdict != Verdict.USED.code)
    return n_left < n_before


def _judge(verdict: NDArray[np.int8], refused: Mask, why: Verdict) -> None:
    """Note in `verdict` why crystals in use are refused."""
    verdict[refused & (verdict == Verdict.USED.code)] = why.code


def log_odds(
    averager: Averager, state: State, block: Block, obs: Observations, res: Residuals
) -> Array:
    """Return the log of the odds (n,) that the crystals of a block are of the dataset.

    That is the likelihood of their intensities given what all others make of the same reflections,
    over that given only the mean intensity at their resolution, which is all there is to say of a
    crystal with wrong indices: positive for crystals that agree, however weakly, about zero for
    those that tell nothing. Residuals follow Student's t; the uncertainty of the others' mean and
    Wilson's spread of intensities are part of their variances.
    """
    own = obs.crystal - block.groups.start
    x, _ = averager.expectation(obs, state.scales, state.model, state.weigh_by)
    partiality = obs.partiality.astype(float)
    mean, spread = state.prior.mean[obs.slot], x * x * state.prior.variance[obs.slot]
    by_chance = state.model.variance(obs.noise, x / partiality, partiality, mean) + spread
    gain = _log_density(res.residual, res.variance + res.ignorance)
    gain -= _log_density(obs.intensity - x * mean, by_chance)
    return total_by(own, gain * res.is_common, block.groups.stop - block.groups.start)


def _log_density(residual: Array, variance: Array) -> Array:
    """Return the log of the density (n,) of Student's t, up to a constant."""
    tail = 0.5 * (STUDENT + 1.0) * np.log1p(residual**2 / variance / STUDENT)
    return np.asarray(-0.5 * np.log(variance) - tail)


def _correlation(block: Block, obs: Observations, res: Residuals) -> tuple[Array, Array]:
    """Return the correlation (n,) of a block's crystals with the others, and how much is chance."""
    own = obs.crystal - block.groups.start
    n = block.groups.stop - block.groups.start
    count = np.maximum(np.bincount(own, minlength=n), 1)
    quiet = (total_by(own, np.sqrt(obs.noise), n) / count)[own]
    expected = np.arcsinh(res.expected / quiet)  # so that one zinger condemns no crystal
    observed = np.where(res.is_common, np.arcsinh(obs.intensity / quiet), np.nan)
    found = correlation_by_group(observed, expected, own, n)
    common = np.bincount(own[res.is_common], minlength=n)
    judged = np.where(common >= MIN_COMMON, found, np.inf)
    return judged, CHANCE_SIGMA / np.sqrt(np.maximum(common, 1))
