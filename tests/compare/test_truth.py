"""Scores of lattices whose errors are known."""

import gemmi
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from xfel_apps import mpi
from xfel_apps.compare.truth import Truth, lattice_errors, score_lattices
from xfel_apps.errors import SourceError
from xfel_apps.simulate import SimulateSettings, simulate


@pytest.fixture(scope="module")
def truth(tmp_path_factory) -> Truth:
    settings = SimulateSettings.checked(
        {
            "shots": 30,
            "weak_fraction": 0.2,
            "crystal": {"cell": (50, 50, 40, 90, 90, 90), "d_min_ang": 4.05, "crystals_per_hit": 2},
            "detector": {"module_px": (32, 32), "pixel_mm": 2.0},
        }
    )
    path = simulate(settings, tmp_path_factory.mktemp("run"), mpi.serial())
    return Truth.read(path.with_name("truth.h5"))


def frame(shots: list[int], a_matrices: list[np.ndarray]) -> pd.DataFrame:
    flat = np.array(a_matrices).reshape(-1, 9)
    return pd.DataFrame({"shot": shots, **{f"a_matrix_{i}": flat[:, i] for i in range(9)}})


def turned(a_matrix: np.ndarray, angle_deg: float) -> np.ndarray:
    return Rotation.from_euler("y", angle_deg, degrees=True).as_matrix() @ a_matrix


def test_lattices_are_matched_with_the_nearest_crystal_of_their_shot(truth):
    hit = int(truth.shots("hit")[0])
    first, second = truth.a_matrices[hit]
    errors = lattice_errors(frame([hit, hit], [turned(second, 0.1), turned(first, 0.2)]), truth)
    assert errors["crystal"].tolist() == [1, 0]
    np.testing.assert_allclose(errors["angle_deg"], [0.1, 0.2], atol=1e-9)
    assert not errors["is_false"].any()


def test_score_counts_each_kind_and_takes_the_best_lattice_of_a_hit(truth):
    hits, weak, blank = (truth.shots(kind) for kind in ("hit", "weak", "blank"))
    shots = [hits[0], hits[0], hits[1], weak[0], blank[0]]
    a_matrices = [
        turned(truth.a_matrices[hits[0], 0], 0.3),
        turned(truth.a_matrices[hits[0], 0], 4.0),
        turned(truth.a_matrices[hits[1], 0], 0.1),
        truth.a_matrices[weak[0], 1],
        truth.a_matrices[hits[0], 0],
    ]
    score = score_lattices(frame(shots, a_matrices), truth)
    assert (score.hits, score.weak, score.blanks) == (len(hits), len(weak), len(blank))
    assert (score.hits_indexed, score.weak_indexed, score.blanks_indexed) == (2, 1, 1)
    assert score.false_lattices == 2
    assert score.orientation_deg_median == pytest.approx(0.2)
    assert score.orientation_deg_p90 == pytest.approx(0.28)
    assert score.cell_a_percent_median == pytest.approx(0.0, abs=1e-9)


def test_nothing_found_scores_nothing(truth):
    score = score_lattices(frame([], []), truth)
    assert score.hits_indexed == score.false_lattices == 0
    assert np.isnan(score.orientation_deg_median)


def test_truth_has_every_reflection(truth):
    expected = gemmi.make_miller_array(truth.cell, truth.space_group, 4.05)
    assert len(truth.intensities) == len(expected)


def test_another_file_is_refused_by_name(tmp_path):
    (tmp_path / "truth.h5").write_text("")
    with pytest.raises(SourceError, match=r"truth\.h5: not a readable truth file"):
        Truth.read(tmp_path / "truth.h5")
