"""Who has which shot, and sums that do not depend on it."""

import numpy as np

from xfel_apps import mpi
from xfel_apps.factors.share import GRAIN, add_at, share_by_cost, total


def test_loads_are_level_whatever_the_costs() -> None:
    costs = np.random.default_rng(1).exponential(size=200)
    parts = share_by_cost(costs.tolist(), 7)
    assert sorted(np.concatenate(parts).tolist()) == list(range(200))
    loads = [costs[part].sum() for part in parts]
    assert max(loads) / np.mean(loads) < 1.05


def test_sums_are_the_same_in_any_order() -> None:
    rng = np.random.default_rng(2)
    slot, values = (
        rng.integers(0, 5, 1000),
        rng.normal(size=1000) * 10.0 ** rng.integers(-6, 5, 1000),
    )
    found = []
    for order in (np.arange(1000), rng.permutation(1000)):
        sums = np.zeros(5, dtype=np.int64)
        add_at(sums, slot[order], values[order])
        found.append(total(mpi.serial(), sums))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0], np.bincount(slot, values), atol=1000 * GRAIN)
