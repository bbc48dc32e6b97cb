"""The app: every event accounted for, the same rows whatever ran before, errors in one line."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.index.tiny_run import TinyRun, write_run
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.manifest import Manifest, open_product
from xfel_apps.index.__main__ import main
from xfel_apps.index.target import TargetLattice

TARGET = TargetLattice.checked((79.2, 79.2, 38.0, 90, 90, 90), "P43212")
SETTINGS = {"cell": "79.2 79.2 38 90 90 90", "space_group": "P43212"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    return write_run(tmp_path_factory.mktemp("run"), TARGET)


def index(run: TinyRun, out: Path, settings: dict[str, object]) -> int:
    paths = ["--events", str(run.events), "--spots", str(run.spots), "--crystals", str(out)]
    return main([*paths, "--settings", json.dumps(settings)])


def read(path: Path) -> tuple[Manifest, pd.DataFrame, pd.DataFrame]:
    manifest, reader = open_product(path, CRYSTALS)
    tables = reader.frame("crystals"), reader.frame("indexed")
    reader.close()
    return manifest, *tables


def test_every_event_ends_once(run: TinyRun, tmp_path: Path) -> None:
    assert index(run, tmp_path / "crystals.json", SETTINGS) == 0
    manifest, crystals, indexed = read(tmp_path / "crystals.json")
    counts = {name: n for name, n in manifest.outcomes.items() if n}
    assert counts == {"miss": 4, "hit_not_indexed": 1, "indexed": 7}
    assert list(crystals["event"]) == sorted(run.truth)
    for row in crystals.to_dict("records"):
        a_matrix = np.array([row[f"a_matrix_{i}"] for i in range(9)]).reshape(3, 3)
        assert TARGET.misorientation_deg(a_matrix, run.truth[row["event"]]) < 0.1
        mine = indexed[indexed["event"] == row["event"]]
        assert row["n_indexed"] == len(mine)
        assert row["rmsd_px"] < 1.0
        squares = mine["delta_fast_px"] ** 2 + mine["delta_slow_px"] ** 2
        assert row["rmsd_px"] == pytest.approx(np.sqrt(squares.mean()), rel=1e-3)
        assert row["space_group"] == "P 43 21 2"


def test_the_reason_is_kept(run: TinyRun, tmp_path: Path) -> None:
    index(run, tmp_path / "crystals.json", SETTINGS)
    _, reader = open_product(tmp_path / "crystals.json", CRYSTALS)
    shots = reader.shots()
    reader.close()
    assert "best lattice explains" in shots.at[4, "reason"]
    assert shots.at[4, "n_lattices"] == 0
    assert 2 not in shots.index


def test_without_a_cell_the_run_finds_it(run: TinyRun, tmp_path: Path) -> None:
    assert index(run, tmp_path / "crystals.json", {"max_length_ang": 100}) == 0
    manifest, crystals, _ = read(tmp_path / "crystals.json")
    found = manifest.extra["cell_found"]
    assert found["bravais"] == "tP"
    assert manifest.settings["space_group"] == "P 4 2 2"
    np.testing.assert_allclose(found["cell"], TARGET.cell, rtol=2e-3)
    assert list(crystals["event"]) == sorted(run.truth)
    assert (
        index(run, tmp_path / "crystals.json", {"space_group": "P43212", "max_length_ang": 100})
        == 0
    )
    manifest, crystals, _ = read(tmp_path / "crystals.json")
    assert set(crystals["space_group"]) == {"P 43 21 2"}


def test_where_no_cell_is_found_hits_stay_hits(run: TinyRun, tmp_path: Path) -> None:
    assert index(run, tmp_path / "crystals.json", {"max_length_ang": 20}) == 0
    manifest, crystals, _ = read(tmp_path / "crystals.json")
    assert manifest.outcomes["hit_not_indexed"] == 8
    assert manifest.extra["cell_found"] == {}
    assert not len(crystals)


def test_a_cell_without_space_group_has_the_highest_symmetry(run: TinyRun, tmp_path: Path) -> None:
    assert index(run, tmp_path / "crystals.json", {"cell": "79.2 79.2 38 90 90 90"}) == 0
    manifest, crystals, _ = read(tmp_path / "crystals.json")
    assert set(crystals["space_group"]) == {"P 4 2 2"}
    assert len(crystals) == 7
    assert "cell_found" not in manifest.extra


@pytest.mark.parametrize(
    "settings",
    [
        {**SETTINGS, "space_group": "P43213"},
        {**SETTINGS, "cell": "79.2 79.9 38 90 90 90"},
        {**SETTINGS, "celll": 1},
        {"space_group": "P43213"},
    ],
)
def test_wrong_settings_stop_before_any_work(
    run: TinyRun, tmp_path: Path, settings: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert index(run, tmp_path / "crystals.json", settings) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
