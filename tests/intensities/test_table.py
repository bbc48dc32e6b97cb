"""Which reflections count as measured."""

import gemmi
import numpy as np
import pytest

from xfel_apps.compute.sums import Sums
from xfel_apps.compute.wilson import Prior
from xfel_apps.intensities.asu import unique_reflections
from xfel_apps.intensities.table import Half, Limits, build


@pytest.mark.parametrize("friedel_apart", [False, True])
def test_halves_have_what_they_measured_by_themselves(*, friedel_apart: bool) -> None:
    """The first half tells of the first ten reflections alone, with standard errors of 5 W."""
    unique = unique_reflections(
        gemmi.UnitCell(30, 30, 40, 90, 90, 90),
        gemmi.SpaceGroup("P 4"),
        (4.0, 1000.0),
        friedel_apart=friedel_apart,
    )
    n = unique.n_slots
    level, few = np.full(n, 100.0), np.arange(n) < 10 * unique.slots_each
    good, bad = np.full(n, 1e-2), np.where(few, 500.0**-2, 1e-2) / unique.slots_each
    halves = [Half(Sums(50.0 * weight, weight), weight) for weight in (bad, good)]
    sums, weight = halves[0].sums.plus(halves[1].sums), bad + good
    merged = build(
        unique,
        (sums, np.full(n, 2), weight),
        (halves[0], halves[1]),
        Prior(level, level),
        Limits(1, 2.0),
    )
    assert merged.is_measured.all()
    first, second = (np.isfinite(half.intensity) for half in merged.halves)
    assert second.all()
    np.testing.assert_array_equal(np.flatnonzero(~first), np.arange(10))
    if friedel_apart:
        assert merged.mates_of_halves is not None
        plus = merged.mates_of_halves[0][0].intensity
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(plus)), np.arange(10))


def test_a_mate_that_is_hardly_measured_is_left_out() -> None:
    unique = unique_reflections(
        gemmi.UnitCell(30, 30, 40, 90, 90, 90),
        gemmi.SpaceGroup("P 4"),
        (4.0, 1000.0),
        friedel_apart=True,
    )
    level, weight = np.full(unique.n_slots, 100.0), np.full(unique.n_slots, 1e-2)
    dim = int(np.flatnonzero(~unique.centric)[3])
    weight[2 * dim + 1] = 500.0**-2
    half = Half(Sums(50.0 * weight, weight), weight)
    whole = (Sums(100.0 * weight, 2.0 * weight), np.full(unique.n_slots, 2), 2.0 * weight)
    merged = build(unique, whole, (half, half), Prior(level, level), Limits(1, 2.0))
    assert merged.is_measured.all()
    assert merged.mates is not None
    plus, minus = (np.isfinite(mate.intensity) for mate in merged.mates)
    assert plus.all()
    np.testing.assert_array_equal(np.flatnonzero(~minus & ~unique.centric), [dim])
