"""Where merged data end: against data whose end is known."""

from dataclasses import replace

import numpy as np
import pytest

from tests.intensities.test_statistics import made_up
from xfel_apps.intensities.cutoff import cutoff
from xfel_apps.intensities.table import Merged


def fading(end_ang: float, seed: int = 4) -> Merged:
    """Return data whose CC1/2 in shells is `0.5 (1 - tanh(6 (1/d^2 - m)))`, 0.3 at `end_ang`."""
    merged = made_up()
    x = merged.unique.d_ang**-2
    level = merged.expected
    middle = end_ang**-2 - np.arctanh(0.4) / 6
    cc = 0.5 * (1 - np.tanh(6 * (x - middle)))
    rng = np.random.default_rng(seed)
    truth = level * rng.exponential(size=len(x))
    noise = level * np.sqrt(1 / np.maximum(cc, 1e-3) - 1)  # var(truth) / (var(truth) + noise^2)
    halves = tuple(
        replace(half, intensity=truth + noise * rng.normal(size=len(x))) for half in merged.halves
    )
    mean = replace(
        merged.mean,
        intensity=0.5 * (halves[0].intensity + halves[1].intensity),
        sigma=noise / np.sqrt(2),
    )
    return replace(merged, mean=mean, halves=halves)


@pytest.mark.parametrize("end_ang", [2.3, 2.8])
def test_the_end_is_where_cc_half_falls_to_three_tenths(end_ang: float) -> None:
    found = cutoff(fading(end_ang))
    assert found.d_min_ang == pytest.approx(end_ang, abs=0.07)
    assert not found.is_beyond
    # the mean's error is half of a half's: I/sigma comes to 1 where CC1/2 is 1/3
    earlier = end_ang**-2 - (np.arctanh(0.4) - np.arctanh(1 / 3)) / 6
    assert found.i_over_sigma_ang == pytest.approx(earlier**-0.5, abs=0.2)
    assert f"{found.d_min_ang:.2f} A suggested (CC1/2 falls to 0.3)" in found.sentence()


def test_data_that_go_on_beyond_are_not_cut() -> None:
    found = cutoff(made_up(noise=0.1))
    assert found.is_beyond
    assert found.cc_half_ang is None
    assert found.d_min_ang == pytest.approx(2.0, abs=0.01)


def test_noise_has_no_limit() -> None:
    merged = fading(2.5)
    rng = np.random.default_rng(1)
    halves = tuple(
        replace(half, intensity=rng.normal(size=len(half.intensity))) for half in merged.halves
    )
    found = cutoff(replace(merged, halves=halves))
    assert found.d_min_ang is None
    assert "none can be suggested" in found.sentence()


def test_completeness_ends_where_few_are_measured() -> None:
    merged = made_up()
    x = merged.unique.d_ang**-2
    kept = (x < 2.5**-2) | (np.random.default_rng(3).random(len(x)) < 0.5)
    found = cutoff(replace(merged, mean=merged.mean.where(kept)))
    assert found.completeness_ang == pytest.approx(2.5, abs=0.08)
