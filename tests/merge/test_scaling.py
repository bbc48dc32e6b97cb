"""The sums behind scaling, against answers worked by hand and fits by other means."""

from importlib import import_module

import numpy as np
import pytest

from xfel_apps.compute.french_wilson import french_wilson
from xfel_apps.compute.scaling import (
    ErrorModel,
    Residuals,
    ScalePrior,
    Scales,
    leave_one_out,
    scale_step,
)
from xfel_apps.compute.sums import Sums, slot_sums
from xfel_apps.compute.wilson import Prior, wilson_prior

FREE = ScalePrior(mean_log=0.0, sd_log=1e6, sd_b_ang2=1e6, sd_tilt_mrad=1e6, sd_width=1.0)


def test_mean_is_the_weighted_mean_of_scaled_intensities() -> None:
    """Two halves of 100 and 60: 50 +- 1 at x = 0.5 and 60 +- 2 at x = 1."""
    x, variance = np.array([0.5, 1.0]), np.array([1.0, 4.0])
    sums = slot_sums(np.array([1, 1]), np.array([50.0, 60.0]), x, variance, 3)
    # both estimates, 100 and 60, have variance 4
    np.testing.assert_allclose(sums.mean, [0.0, 80.0, 0.0])
    np.testing.assert_allclose(sums.weight, [0.0, 0.5, 0.0])


def test_infinite_variance_leaves_out() -> None:
    sums = slot_sums(np.zeros(2, int), np.array([5.0, 9e9]), np.ones(2), np.array([1, np.inf]), 1)
    assert sums.mean[0] == 5.0


def test_error_model_terms() -> None:
    model = ErrorModel(counting=2.0, partiality=0.1, relative=0.2)
    got = model.variance(np.array([7.0]), np.array([3.0]), np.array([0.5]), np.array([10.0]))
    assert got[0] == pytest.approx(2 * (7 + 15) + (0.1 * 30) ** 2 + (0.2 * 15) ** 2)


def test_leave_one_out_is_the_mean_of_the_others() -> None:
    intensity, x, variance = np.array([8.0, 4.0, 9.0]), np.array([1.0, 0.5, 1.0]), np.ones(3)
    slot = np.array([0, 0, 1])
    sums = slot_sums(slot, intensity, x, variance, 2)
    flat = Prior(np.full(3, 1.0), np.full(3, 1e12))
    each = Sums(sums.weighted[slot], sums.weight[slot])
    mean, unsure, is_common = leave_one_out(each, flat, intensity, x, variance)
    np.testing.assert_allclose(mean[:2], [8.0, 8.0])
    np.testing.assert_allclose(unsure[:2], [4.0, 1.0])
    assert is_common.tolist() == [True, True, False]
    assert mean[2] == pytest.approx(1.0)  # nobody else: the prior


def test_wilson_prior_finds_the_level_under_noise() -> None:
    rng = np.random.default_rng(3)
    s2 = np.sort(rng.uniform(0, 0.05, 20_000))
    level = 100 * np.exp(-40 * s2)
    truth = level * rng.exponential(size=len(s2))
    noise = rng.uniform(5, 200, len(s2))
    weight = noise**-2
    sums = Sums((truth + noise * rng.normal(size=len(s2))) * weight, weight)
    ones = np.ones(len(s2))
    prior = wilson_prior(sums, weight, s2, ones, np.zeros(len(s2), bool))
    inner = slice(400, -400)
    np.testing.assert_allclose(prior.mean[inner], level[inner], rtol=0.25)
    np.testing.assert_allclose(np.mean(prior.mean / level), 1.0, atol=0.04)


def test_wilson_prior_of_nothing_is_harmless() -> None:
    nothing = Sums(np.zeros(4), np.zeros(4))
    prior = wilson_prior(nothing, np.zeros(4), np.linspace(0, 1, 4), np.ones(4), np.zeros(4, bool))
    assert np.isfinite(prior.posterior(nothing)[0]).all()


def test_scale_steps_find_scale_and_b() -> None:
    rng = np.random.default_rng(5)
    n = 3000
    crystal = np.repeat([0, 1], n)
    s2 = rng.uniform(0.002, 0.05, 2 * n)
    mean = 1000 * rng.exponential(size=2 * n) + 50
    true = Scales.ones(2)
    true.table[:, :2] = [[1.2, 4.0], [-0.7, -6.0]]
    observed = mean * true.factor(crystal, s2) + rng.normal(0, 20, 2 * n)
    scales, slopes = Scales.ones(2), np.stack([np.ones(2 * n), -2 * s2])
    for _ in range(12):
        x = scales.factor(crystal, s2)
        res = Residuals(
            expected=x * mean,
            residual=observed - x * mean,
            variance=np.full(2 * n, 400.0),
            ignorance=np.zeros(2 * n),
            is_common=np.ones(2 * n, bool),
        )
        scales, unsure = scale_step(scales, crystal, slopes, res, FREE)
    np.testing.assert_allclose(scales.log_scale, true.log_scale, atol=0.01)
    np.testing.assert_allclose(scales.b_ang2, true.b_ang2, atol=0.3)
    assert (unsure[:, 0] < 1e-3).all()


def test_a_crystal_without_observations_keeps_its_prior() -> None:
    nothing = np.empty(0)
    res = Residuals(nothing, nothing, nothing, nothing, nothing.astype(bool))
    prior = ScalePrior(0.3, 0.5, 5.0, 1.0, 1.0)
    scales, unsure = scale_step(Scales.ones(1), np.empty(0, int), np.empty((2, 0)), res, prior)
    assert scales.log_scale[0] == pytest.approx(0.3)
    assert unsure[0, 0] == pytest.approx(0.25)


def test_french_wilson_agrees_with_reciprocalspaceship() -> None:
    module = import_module("reciprocalspaceship.algorithms.scale_merged_intensities")
    rng = np.random.default_rng(8)
    mean = np.full(400, 50.0)
    intensity = rng.exponential(mean) + rng.normal(0, 30, 400)
    centric = rng.random(400) < 0.3
    got, spread = french_wilson(intensity, np.full(400, 30.0), mean, centric)
    posterior = module._french_wilson_posterior_quad
    _, _, f, sd = posterior(intensity, np.full(400, 30.0), mean, centric)
    np.testing.assert_allclose(got, f, rtol=0.01)
    np.testing.assert_allclose(spread, sd, rtol=0.02)


def test_french_wilson_limits() -> None:
    """Precise data give the square root; data that say nothing give Wilson's mean of |F|."""
    zeros = np.zeros(1, bool)
    strong, _ = french_wilson(np.array([900.0]), np.array([1e-3]), np.array([500.0]), zeros)
    assert strong[0] == pytest.approx(30.0)
    vague, spread = french_wilson(np.array([0.0]), np.array([1e9]), np.array([100.0]), zeros)
    assert vague[0] == pytest.approx(np.sqrt(np.pi * 100 / 4), rel=1e-3)
    assert spread[0] == pytest.approx(np.sqrt(100 * (1 - np.pi / 4)), rel=1e-2)
    centric, _ = french_wilson(np.array([0.0]), np.array([1e9]), np.array([100.0]), ~zeros)
    assert centric[0] == pytest.approx(np.sqrt(2 * 100 / np.pi), rel=1e-2)
