"""Statistics of merged data, against answers worked by hand, gemmi and limits."""

from dataclasses import replace

import gemmi
import numpy as np
import pytest

from xfel_apps.intensities.agreement import cc_star, correlation, r_split
from xfel_apps.intensities.asu import UniqueReflections, unique_reflections
from xfel_apps.intensities.scatter import Scatter
from xfel_apps.intensities.statistics import (
    shell_edges_ang,
    shell_of,
    statistics,
)
from xfel_apps.intensities.table import Mean, Merged
from xfel_apps.plots.merging import curves
from xfel_apps.plots.style import save_svg

CELL = gemmi.UnitCell(79.2, 79.2, 38, 90, 90, 90)


def made_up(b_ang2: float = 20.0, noise: float = 0.0) -> Merged:
    """Return merged data with Wilson's distribution of intensities and a B factor."""
    unique: UniqueReflections = unique_reflections(
        CELL, gemmi.SpaceGroup("P 43 21 2"), (2.0, 1000.0), friedel_apart=False
    )
    rng = np.random.default_rng(2)
    s2 = 0.25 / unique.d_ang**2
    weights = {"C": 5.0, "N": 1.35, "O": 1.5, "H": 8.0, "S": 0.05}
    atoms = {name: gemmi.Element(name).it92 for name in weights}
    square = np.array(
        [sum(n * atoms[name].calculate_sf(x) ** 2 for name, n in weights.items()) for x in s2]
    )
    level = 30 * square * np.exp(-2 * b_ang2 * s2) * unique.epsilon
    truth = level * rng.exponential(size=len(unique))
    ones, count = np.ones(len(unique)), np.full(len(unique), 4)

    def measured() -> Mean:
        return Mean(truth + noise * level * rng.normal(size=len(unique)), ones, count)

    first, second = measured(), measured()
    mean = replace(first, intensity=0.5 * (first.intensity + second.intensity))
    return Merged(unique, mean, (first, second), None, None, level, np.sqrt(truth), ones)


def as_expected(merged: Merged) -> Scatter:
    """Return four observations of each reflection that scatter as their sigmas say."""
    return Scatter(np.full(len(merged.unique), 4.0), np.full(len(merged.unique), 4.0))


def test_scatter_is_told_by_shell_and_by_intensity() -> None:
    """Observations of the stronger half of the reflections scatter by twice their sigmas."""
    merged = made_up()
    strong = merged.mean.intensity > np.median(merged.mean.intensity)
    scattered = replace(as_expected(merged), square=np.where(strong, 16.0, 4.0))
    stats = statistics(merged, scattered, 4)
    assert stats.overall.chi_square == pytest.approx(2.5, abs=0.01)
    assert [found.chi_square for found in stats.intensities] == pytest.approx([1] * 5 + [4] * 5)
    means = [found.mean_intensity for found in stats.intensities]
    assert means == sorted(means)


def test_correlation_by_hand() -> None:
    """x = 1 2 4, y = 2 1 3: covariance 4/3, variances 14/3 and 2 times 1: r = 0.654654."""
    assert correlation(np.array([1.0, 2.0, 4.0]), np.array([2.0, 1.0, 3.0])) == pytest.approx(
        2 / np.sqrt(14 / 3 * 2)
    )
    assert correlation(np.ones(5), np.arange(5.0)) is None
    assert correlation(np.array([1.0, 2.0]), np.array([1.0, 2.0])) is None


def test_cc_star_of_the_paper() -> None:
    """Karplus & Diederichs (2012): CC1/2 of 0.09 still gives CC* of 0.41."""
    assert cc_star(0.09) == pytest.approx(0.41, abs=0.01)
    assert cc_star(None) is None


def test_r_split_limits() -> None:
    x = np.array([1.0, 2.0, np.nan])
    assert r_split(x, x) == 0.0
    assert r_split(x, -x) is None
    # 2 |I1 - I2| / (I1 + I2) / sqrt(2), by hand: |3-1| / (4/2) / 1.41421
    assert r_split(np.array([3.0]), np.array([1.0])) == pytest.approx(0.7071068)


def test_shells_have_equal_volume_and_hold_all() -> None:
    d_ang = unique_reflections(
        CELL, gemmi.SpaceGroup("P 43 21 2"), (2.0, 1000.0), friedel_apart=False
    ).d_ang
    edges = shell_edges_ang(d_ang, 10)
    counts = np.bincount(shell_of(d_ang, edges), minlength=10)
    assert counts.sum() == len(d_ang)
    assert counts.min() > 0.85 * counts.max()
    assert shell_of(d_ang, edges)[[np.argmin(d_ang), np.argmax(d_ang)]].tolist() == [9, 0]


def test_perfect_data() -> None:
    merged = made_up()
    stats = statistics(merged, as_expected(merged), 10, merged.mean.intensity)
    for shell in (stats.overall, *stats.shells):
        assert shell.cc_half == pytest.approx(1.0)
        assert shell.cc_star == pytest.approx(1.0)
        assert shell.cc_reference == pytest.approx(1.0)
        assert shell.r_split == pytest.approx(0.0)
        assert shell.completeness == 1.0
        assert shell.multiplicity == 4.0
    assert stats.wilson_b_ang2 == pytest.approx(20.0, abs=2.0)


def test_cc_half_is_that_of_gemmi() -> None:
    """gemmi's random halves of two observations each are ours up to which is which."""
    merged = made_up(noise=0.5)
    both = np.concatenate([half.intensity for half in merged.halves])
    data = gemmi.Intensities()
    hkl = np.concatenate([merged.unique.hkl, merged.unique.hkl])
    data.set_data(CELL, gemmi.SpaceGroup("P 43 21 2"), hkl, both, np.ones(len(both)))
    data.type = gemmi.DataType.Unmerged
    data.sort()
    expected = data.calculate_merging_stats(None, use_weights="U")[0].cc_half()
    assert statistics(merged, as_expected(merged), 5).overall.cc_half == pytest.approx(
        expected, abs=0.02
    )


def test_shells_add_up_and_unmeasured_do_not_count() -> None:
    merged = made_up()
    measured = np.arange(len(merged.unique)) % 3 != 0
    merged = replace(merged, mean=merged.mean.where(measured))
    stats = statistics(merged, as_expected(merged), 7)
    assert sum(shell.n_possible for shell in stats.shells) == len(merged.unique)
    assert sum(shell.n_unique for shell in stats.shells) == measured.sum()
    assert stats.overall.n_observations == 4 * measured.sum()
    assert stats.overall.cc_reference is None


def test_nothing_measured_gives_no_numbers(tmp_path) -> None:
    merged = made_up()
    merged = replace(merged, mean=merged.mean.where(np.zeros(len(merged.unique), bool)))
    stats = statistics(merged, as_expected(merged), 3)
    assert stats.overall.n_unique == 0
    assert stats.overall.cc_half is None
    assert stats.wilson_b_ang2 is None
    save_svg(curves(stats.as_dict()), tmp_path / "empty.svg")
    assert (tmp_path / "empty.svg").read_text().startswith("<?xml")
