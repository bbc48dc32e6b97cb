"""Crystals added to merged data, against all merged together."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.merge_data import Lattice, Simulation, write_run
from tests.merge.stills import Stills
from tests.ranks import run_on_every
from xfel_apps.containers.merge_state import MergeState
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.errors import StoppedError
from xfel_apps.intensities.statistics import statistics
from xfel_apps.merge.__main__ import main
from xfel_apps.merge.growth import is_due_anew
from xfel_apps.merge.pipeline import merge
from xfel_apps.merge.settings import MergeSettings
from xfel_apps.mpi import serial

SETTINGS = '{"d_min_ang": 4.0}'
Crystals = list[tuple[int, Lattice]]


def written(folder: Path, run: str, lattices: Iterable[tuple[int, Lattice]]) -> Path:
    return write_run(folder / run / "reflections.json", lattices, run)


def run_merge(runs: list[Path], merged: Path, *more: str, settings: str = SETTINGS) -> int:
    inputs = ["--reflections", *map(str, runs), "--merged", str(merged)]
    return main([*inputs, "--settings", settings, *more], serial())


@pytest.fixture(scope="module")
def stills() -> Crystals:
    return list(Stills(n_crystals=160).lattices())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, stills: Crystals) -> list[Path]:
    """Two runs, of 100 and 60 crystals that need turning."""
    folder = tmp_path_factory.mktemp("runs")
    return [written(folder, "r1", stills[:100]), written(folder, "r2", stills[100:])]


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory, runs: list[Path]) -> Path:
    """The first run, merged."""
    path = tmp_path_factory.mktemp("v001") / "merged.json"
    assert run_merge(runs[:1], path) == 0
    return path


def test_what_is_added_to_comes_out_as_if_merged_together(
    runs: list[Path], older: Path, tmp_path: Path
) -> None:
    settings = MergeSettings.from_json(SETTINGS)
    whole, grown = (
        merge(serial(), *given) for given in ((runs, settings), (runs[1:], settings, older))
    )
    x, y = whole.merged.mean, grown.merged.mean
    known = whole.merged.is_measured & grown.merged.is_measured
    assert known.sum() > 0.99 * whole.merged.is_measured.sum()
    assert np.corrcoef(x.intensity[known], y.intensity[known])[0, 1] > 0.9995
    level = np.median(y.intensity[known] / x.intensity[known])  # that of the first 100 crystals
    assert np.median(y.sigma[known] / x.sigma[known]) == pytest.approx(level, rel=0.02)
    assert np.median(y.count[known] / x.count[known]) == pytest.approx(1.0, abs=0.01)
    one, two = (statistics(result.merged, result.scatter, 5).overall for result in (whole, grown))
    assert one.cc_half == pytest.approx(two.cc_half, abs=0.002)
    # added crystals are fitted to means that they are no part of, and so scatter a little more
    assert one.chi_square == pytest.approx(two.chi_square, rel=0.15)
    assert one.r_split == pytest.approx(two.r_split, rel=0.15)
    tilts = (result.state.scales.tilt_mrad[-60:] for result in (whole, grown))
    assert np.corrcoef(*(tilt.ravel() for tilt in tilts))[0, 1] > 0.98


def test_counts_add_up_on_any_number_of_ranks(
    runs: list[Path], older: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in older.parent.iterdir()}
    here = tmp_path / "here" / "merged.json"
    assert run_merge(runs[1:], here, "--onto", str(older)) == 0
    assert "60 crystals added" in capsys.readouterr().out
    inputs = ["--reflections", str(runs[1]), "--onto", str(older), "--settings", SETTINGS]
    each = [*inputs, "--merged", str(tmp_path / "{size}" / "merged.json")]
    run_on_every((1, 2, 3), "xfel_apps.merge.__main__", *each)
    found = [
        {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
        for folder in (here.parent, *(tmp_path / str(size) for size in (1, 2, 3)))
    ]
    assert all(one == found[0] for one in found)
    assert {path.name: path.read_bytes() for path in older.parent.iterdir()} == before
    manifest, first = MergedManifest.read(here), MergedManifest.read(older)
    assert (manifest.n_crystals, manifest.crystals["used"]) == (160, 160)
    assert list(manifest.inputs) == ["r1", "r2"]
    assert manifest.digest != first.digest
    assert manifest.growth["onto"] == first.digest
    assert (manifest.growth["crystals_before"], manifest.growth["crystals_anew"]) == (100, 100)
    assert manifest.growth["drift"] == pytest.approx(1.0, abs=0.3)
    state = MergeState.read(here.with_name("merged.h5"))
    assert len(np.unique(state.crystals.identity)) == 160
    assert np.bincount(state.crystals.run).tolist() == [100, 60]


def test_of_a_run_that_grew_only_what_is_new_is_added(
    stills: Crystals, older: Path, tmp_path: Path
) -> None:
    longer = written(tmp_path, "r1", stills[:130])
    assert run_merge([longer], tmp_path / "merged.json", "--onto", str(older)) == 0
    manifest = MergedManifest.read(tmp_path / "merged.json")
    assert (manifest.n_crystals, manifest.growth["crystals_before"]) == (130, 100)
    together = merge(serial(), [longer], MergeSettings.from_json(SETTINGS))
    assert manifest.n_observations == pytest.approx(together.merged.mean.count.sum(), rel=0.002)


def test_crystals_are_indexed_as_those_before(tmp_path: Path) -> None:
    simulation = Simulation(
        cell=(60, 60, 60, 90, 90, 90),
        space_group="P 21 3",
        d_min_ang=4.0,
        n_crystals=120,
        is_mixed=True,
    )
    lattices = list(simulation.lattices())
    first, second = written(tmp_path, "a", lattices[:80]), written(tmp_path, "b", lattices[80:])
    assert run_merge([first], tmp_path / "v1" / "merged.json") == 0
    onto = tmp_path / "v1" / "merged.json"
    assert run_merge([second], tmp_path / "v2" / "merged.json", "--onto", str(onto)) == 0
    state = MergeState.read(tmp_path / "v2" / "merged.h5")
    assert len(set(simulation.modes_after(state.crystals.mode).tolist())) == 1
    manifest = MergedManifest.read(tmp_path / "v2" / "merged.json")
    assert manifest.modes_chosen == "by correlation with what was merged before"
    assert sum(manifest.modes.values()) == 120


def test_all_are_merged_anew_after_doubling_or_drift(older: Path) -> None:
    manifest = MergedManifest.read(older)
    assert not is_due_anew(manifest, 200)
    assert is_due_anew(manifest, 201)
    growth = {"crystals_before": 150, "crystals_anew": 100, "drift": 1.1}
    grown = replace(manifest, growth=growth)
    assert not is_due_anew(grown, 200)
    assert is_due_anew(grown, 201)
    assert is_due_anew(replace(grown, growth={**growth, "drift": 3.0}), 190)
    assert is_due_anew(replace(manifest, files={}), 101)


def test_crystals_that_do_not_fit_what_there_is_drift(
    stills: Crystals, older: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    strange = [
        (event, replace(one, columns={**one.columns, "intensity": values * factor}))
        for event, one in stills[100:]
        for values in [np.asarray(one.columns["intensity"])]
        for factor in [rng.uniform(0.3, 3.0, len(values))]
    ]
    run = written(tmp_path, "r2", strange)
    assert run_merge([run], tmp_path / "merged.json", "--onto", str(older)) == 0
    manifest = MergedManifest.read(tmp_path / "merged.json")
    assert manifest.growth["drift"] > 2.0
    assert is_due_anew(manifest, 161)


def test_stopped_while_writing_leaves_what_it_was_added_to(
    runs: list[Path], older: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise StoppedError("in the middle")

    before = {path.name: path.read_bytes() for path in older.parent.iterdir()}
    merged = tmp_path / "v002" / "merged.json"
    with monkeypatch.context() as patch:
        patch.setattr(MergeState, "write", stopped)
        assert run_merge(runs[1:], merged, "--onto", str(older)) == 75
    assert not merged.exists()
    assert {path.name: path.read_bytes() for path in older.parent.iterdir()} == before
    assert run_merge(runs[1:], merged, "--onto", str(older)) == 0
    assert run_merge(runs[1:], merged, "--onto", str(merged)) == 1


@pytest.mark.parametrize(
    ("run", "settings", "said"),
    [
        (1, '{"d_min_ang": 3.9}', "merge.d_min_ang"),
        (1, '{"d_min_ang": 4.0, "write_unmerged": true}', "merge.write_unmerged"),
        (0, SETTINGS, "has all crystals"),
        (2, SETTINGS, "crystals of run r1 that the run now lacks"),
    ],
)
def test_what_cannot_be_added_is_said_in_one_line(
    run: int,
    settings: str,
    said: str,
    runs: list[Path],
    older: Path,
    stills: Crystals,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [*runs, written(tmp_path, "r1", stills[10:20])][run]
    merged = tmp_path / "v2" / "merged.json"
    assert run_merge([given], merged, "--onto", str(older), settings=settings) == 1
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1
    assert not merged.exists()


def test_a_damaged_state_is_said_and_left_alone(
    runs: list[Path], older: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "v1" / "merged.json"
    manifest = json.loads(older.read_text())
    damaged.parent.mkdir()
    damaged.write_text(json.dumps(manifest))
    damaged.with_name("merged.h5").write_bytes(older.with_name("merged.h5").read_bytes()[:3000])
    assert run_merge(runs[1:], tmp_path / "merged.json", "--onto", str(damaged)) == 1
    message = capsys.readouterr().err
    assert "merged.h5: cannot be added to" in message
    assert "merge all runs again" in message
