"""Agreement with known intensities, on cases that can be counted by hand."""

import gemmi
import numpy as np
import pandas as pd
import pytest

from xfel_apps.compare.intensities import agreement, by_index, read_mtz, shell_limits
from xfel_apps.errors import SourceError

CELL, GROUP = gemmi.UnitCell(40, 40, 40, 90, 90, 90), gemmi.SpaceGroup("P4")


@pytest.fixture
def truth() -> "pd.Series[float]":
    hkl = np.array(gemmi.make_miller_array(CELL, GROUP, 3.0))
    return by_index(hkl, np.random.default_rng(0).exponential(100.0, len(hkl)), GROUP)


def test_a_set_of_half_the_reflections_with_known_noise(truth):
    """With noise as strong as the signal the correlation is 1 / sqrt(2)."""
    rng = np.random.default_rng(1)
    merged = 5.0 * (truth + truth.std() * rng.standard_normal(len(truth)))[::2]
    found = agreement(merged, truth, CELL, (np.inf, 3.0))
    assert found.n_unique == len(truth)
    assert found.fraction == pytest.approx(0.5, abs=0.001)
    assert found.cc == pytest.approx(1 / np.sqrt(2), abs=0.04)


def test_mates_are_the_same_reflection_and_others_are_not(truth):
    hkl = np.array([index for index in truth.index if 0 not in index and index[0] != index[1]])
    values = truth.loc[list(map(tuple, hkl))].to_numpy()
    mates = np.column_stack([-hkl[:, 1], hkl[:, 0], -hkl[:, 2]])
    other = hkl[:, [1, 0, 2]]
    limits = (np.inf, 3.0)
    assert agreement(by_index(mates, values, GROUP), truth, CELL, limits).cc == pytest.approx(1)
    assert abs(agreement(by_index(other, values, GROUP), truth, CELL, limits).cc) < 0.2


def test_shells_share_out_all_reflections(truth):
    limits = shell_limits(truth, CELL, 3.0, 5)
    counts = [agreement(truth, truth, CELL, shell).n_unique for shell in limits]
    assert limits[-1][1] == 3.0
    assert sum(counts) >= len(truth)
    assert max(counts) - min(counts) < 0.1 * len(truth)
    assert all(high > low for high, low in limits)


def test_mtz_is_read_by_its_mean_intensities(tmp_path, truth):
    hkl = np.array(truth.index.to_list())
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup, mtz.cell = GROUP, CELL
    mtz.add_dataset("merged")
    for label, kind in (("I(+)", "K"), ("IMEAN", "J"), ("SIGIMEAN", "Q")):
        mtz.add_column(label, kind)
    mtz.set_data(np.column_stack([hkl, -truth, truth, 0 * truth]).astype(np.float32))
    mtz.write_to_file(str(tmp_path / "merged.mtz"))
    pd.testing.assert_series_equal(read_mtz(tmp_path / "merged.mtz"), truth, rtol=1e-5)
    (tmp_path / "other.mtz").write_text("not an MTZ")
    with pytest.raises(SourceError, match=r"other\.mtz: not a readable MTZ"):
        read_mtz(tmp_path / "other.mtz")
