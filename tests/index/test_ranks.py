"""The same crystals whatever the number of ranks, also where the run finds its own cell."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.index.tiny_run import TinyRun, write_run
from tests.ranks import run_on_every
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.manifest import open_product
from xfel_apps.index.target import TargetLattice

TARGET = TargetLattice.checked((79.2, 79.2, 38.0, 90, 90, 90), "P43212")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    return write_run(tmp_path_factory.mktemp("run"), TARGET, n_shots=9, seed=3)


def crystals(out: Path) -> tuple[dict[str, object], pd.DataFrame]:
    manifest, reader = open_product(out, CRYSTALS)
    table = reader.frame("crystals")
    reader.close()
    return {"outcomes": manifest.outcomes, "extra": manifest.extra}, table


def test_any_number_of_ranks(run: TinyRun, tmp_path: Path) -> None:
    settings = json.dumps({"max_length_ang": 90, "cell_shots": 4})
    files = ["--events", str(run.events), "--spots", str(run.spots)]
    files += ["--crystals", str(tmp_path / "{size}" / "crystals.json")]
    run_on_every((1, 2, 3), "xfel_apps.index.__main__", *files, "--settings", settings)
    expected = crystals(tmp_path / "1" / "crystals.json")
    assert expected[0]["outcomes"]["indexed"] == 5
    for ranks in (2, 3):
        found = crystals(tmp_path / str(ranks) / "crystals.json")
        assert found[0] == expected[0]
        pd.testing.assert_frame_equal(found[1], expected[1])
