"""The comparison with truth, on files of other programs whose errors were published with them."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.peer_files import read_expt
from xfel_apps.compare.intensities import agreement, read_mtz
from xfel_apps.compare.truth import Truth, score_lattices


@pytest.fixture
def folder(data_dir: Path) -> Path:
    return data_dir / "nanobragg_lysozyme"


def test_orientations_of_dials(folder: Path) -> None:
    """71 of 72 hits, 0.043 / 0.085 / 0.136 degrees, cell 0.009 / 0.015 % (notes on the peers)."""
    paths = sorted((folder / "peers").glob("idx-*_integrated.expt"))
    score = score_lattices(read_expt(paths), Truth.read(folder / "truth.h5"))
    assert (score.hits, score.weak, score.blanks) == (72, 26, 32)
    assert (score.hits_indexed, score.blanks_indexed, score.false_lattices) == (71, 0, 0)
    assert score.orientation_deg_median == pytest.approx(0.043, abs=5e-4)
    assert score.orientation_deg_p90 == pytest.approx(0.085, abs=5e-4)
    assert score.orientation_deg_max == pytest.approx(0.136, abs=5e-4)
    assert score.cell_a_percent_median == pytest.approx(0.009, abs=5e-4)
    assert score.cell_c_percent_median == pytest.approx(0.015, abs=5e-4)


def test_intensities_of_cctbx(folder: Path) -> None:
    """3,326 merged to 2.3 A, CC to the true intensities 0.864 (notes on the peers)."""
    truth = Truth.read(folder / "truth.h5")
    merged = read_mtz(folder / "peers" / "xfel_merge_mark1_all.mtz")
    found = agreement(merged, truth.intensities, truth.cell, (np.inf, 2.3))
    assert found.n_merged == 3326
    assert found.fraction == pytest.approx(0.58, abs=0.005)
    assert found.cc == pytest.approx(0.864, abs=5e-4)
