"""Crystals that follow others in the way they are indexed."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.merge_data import Simulation, write_run
from tests.ranks import run_on_every
from xfel_apps import mpi
from xfel_apps.containers.merge_state import MergeState
from xfel_apps.merge import followers
from xfel_apps.merge.__main__ import main as merge

SIMULATION = Simulation(
    cell=(60, 60, 60, 90, 90, 90),
    space_group="P 21 3",
    d_min_ang=4.0,
    n_crystals=150,
    n_each=120,
    is_mixed=True,
)


def main(argv: Sequence[str], comm: mpi.Comm) -> int:
    """Merge with few crystals that lead."""
    followers.CROWD_ROWS = 5000
    return merge(argv, comm)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    return write_run(folder / "reflections.json", SIMULATION.lattices())


def test_all_follow_into_one_way_on_any_number_of_ranks(run: Path, tmp_path: Path) -> None:
    settings = json.dumps({"d_min_ang": 4.0})
    each = ["--merged", str(tmp_path / "{size}" / "merged.json"), "--settings", settings]
    inputs = ["--reflections", str(run)]
    run_on_every((1, 2, 3), "tests.merge.test_followers", *inputs, *each)
    files = [(tmp_path / size / "merged.mtz").read_bytes() for size in "123"]
    assert files[0] == files[1] == files[2]
    mode = MergeState.read(tmp_path / "1" / "merged.h5").crystals.mode
    assert 0.3 < np.mean(mode == 0) < 0.7
    counts = np.bincount(SIMULATION.modes_after(mode))
    assert counts.max() > 0.99 * SIMULATION.n_crystals
