"""Figures of merit carried on: against data whose errors are known, not against the formulas."""

import numpy as np
import pytest

from xfel_apps.dashboard.forecast import MERITS, forecast
from xfel_apps.intensities.agreement import correlation, r_split


def halves(n_lattices, rng):
    """Return the means of two halves of the observations of 4000 reflections."""
    truth = rng.exponential(100.0, 4000)
    noise = 400.0 / np.sqrt(n_lattices / 2)
    return truth + rng.normal(0, noise, 4000), truth + rng.normal(0, noise, 4000)


@pytest.mark.parametrize(("name", "measure"), [("cc_half", correlation), ("r_split", r_split)])
def test_simulated_data_reach_the_target_where_it_was_foretold(name, measure):
    rng = np.random.default_rng(7)
    points = [(n, measure(*halves(n, rng))) for n in (50, 100, 200)]
    reached = measure(*halves(3200, rng))
    found = forecast(MERITS[name], reached, points)
    assert found.n_needed == pytest.approx(3200, rel=0.1)
    assert not found.is_reached


def test_nothing_is_foretold_from_nothing():
    assert forecast(MERITS["cc_half"], 0.9, [(10, None), (20, -0.1), (30, 1.0)]) is None
