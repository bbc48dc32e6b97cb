"""The same crystals whatever the number of ranks, also where the run finds its own cell."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.index.tiny_run import TinyRun, write_run
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.manifest import open_product
from xfel_apps.index.target import TargetLattice

MPIEXEC = Path(sys.executable).with_name("mpiexec")
TARGET = TargetLattice.checked((79.2, 79.2, 38.0, 90, 90, 90), "P43212")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    return write_run(tmp_path_factory.mktemp("run"), TARGET, n_shots=9, seed=3)


def crystals(run: TinyRun, out: Path, ranks: int) -> tuple[dict[str, object], pd.DataFrame]:
    settings = json.dumps({"max_length_ang": 90, "cell_shots": 4})
    app = [sys.executable, "-m", "mpi4py", "-m", "xfel_apps.index", "--settings", settings]
    app += ["--events", str(run.events), "--spots", str(run.spots), "--crystals", str(out)]
    command = app if ranks == 1 else [str(MPIEXEC), "-n", str(ranks), *app]
    subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[2])
    manifest, reader = open_product(out, CRYSTALS)
    table = reader.frame("crystals")
    reader.close()
    return {"outcomes": manifest.outcomes, "extra": manifest.extra}, table


def test_any_number_of_ranks(run: TinyRun, tmp_path: Path) -> None:
    expected = crystals(run, tmp_path / "1" / "crystals.json", 1)
    assert expected[0]["outcomes"]["indexed"] == 5
    for ranks in (2, 3):
        found = crystals(run, tmp_path / str(ranks) / "crystals.json", ranks)
        assert found[0] == expected[0]
        pd.testing.assert_frame_equal(found[1], expected[1])
