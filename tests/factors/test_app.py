"""The app on shots of the forward model that stage 1 refined, from intensities off by 20 %."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest

from tests.diffbragg.tiny_run import NAMES, SPACE_GROUP, true_intensities, write_run
from tests.ranks import REPO_ROOT, on_ranks, run_on_every
from xfel_apps import mpi
from xfel_apps.compare.intensities import by_index, read_mtz
from xfel_apps.compute.shoebox import pixels_of, shoebox_photons
from xfel_apps.containers.factors import FactorsManifest
from xfel_apps.diffbragg.__main__ import main as refine_shots
from xfel_apps.factors.__main__ import main
from xfel_apps.factors.dataset import Dataset
from xfel_apps.factors.refine import Model, Refiner
from xfel_apps.factors.settings import FactorsSettings
from xfel_apps.factors.spots import Spots


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder)
    paths = {name: folder / f"{name}.json" for name in (*NAMES, "refined")}
    arguments = [f"--{name}={path}" for name, path in paths.items()]
    assert refine_shots([*arguments, "--settings", '{"model_error": 0.0}'], mpi.serial()) == 0
    return folder


def arguments(folder: Path, out: Path) -> list[str]:
    names = ("events", "refined", "merged")
    return [*(f"--{name}={folder / name}.json" for name in names), f"--factors={out}"]


def refine(folder: Path, out: Path, **settings: object) -> int:
    return main([*arguments(folder, out), "--settings", json.dumps(settings)], mpi.serial())


def test_intensities_come_nearer_to_the_truth(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what is printed, written and compared says the same."""
    assert refine(run, tmp_path / "factors.json", reference=str(run / "merged.mtz")) == 0
    manifest = FactorsManifest.read(tmp_path / "factors.json")
    said = capsys.readouterr().out
    assert "CC to start" in said
    assert "2 of 2 lattices used" in said
    assert manifest.rejected == {}
    assert manifest.iterations[-1]["change_sigma"] < manifest.settings["tolerance_sigma"]
    assert (np.diff([row["misfit"] for row in manifest.iterations[2:]]) < 0.0).all()
    mtz = gemmi.read_mtz_file(str(tmp_path / "refined.mtz"))
    intensity, sigma = (
        np.asarray(mtz.column_with_label(label).array, float) for label in ("IMEAN", "SIGIMEAN")
    )
    assert (sigma > 0).all()
    strong = intensity > 6.0 * sigma
    hkl = np.asarray(mtz.make_miller_array(), dtype=np.int64)
    refined = by_index(hkl[strong], intensity[strong], SPACE_GROUP)
    truth, merged = by_index(*true_intensities(), SPACE_GROUP), read_mtz(run / "merged.mtz")
    common = truth.index.intersection(merged.index).intersection(refined.index)
    before, after = (np.std(np.log(found[common] / truth[common])) for found in (merged, refined))
    assert len(common) > 50
    assert before > 0.15
    assert after < 0.7 * before
    assert manifest.compared[0]["cc_merged"] == pytest.approx(1.0)
    assert 0.9 < manifest.compared[0]["cc_refined"] < 1.0
    assert (tmp_path / "factors.svg").stat().st_size > 1000


def test_a_dark_spot_is_not_measured_better_than_an_absent_one(run: Path) -> None:
    """Pixels without a photon where a spot is expected tell no more than the background's noise."""
    paths = [[run / f"{name}.json"] for name in ("events", "refined")]
    dataset = Dataset.read(*paths, run / "merged.json", FactorsSettings())
    lattice, level = dataset.lattices_of(0, 1)[0], dataset.level
    dataset.close()
    box = pixels_of(lattice.boxes)[0]
    background, unit = lattice.unit.background[box, 0], lattice.unit
    alone = replace(unit, background=np.zeros_like(unit.background))
    bright = shoebox_photons(lattice.boxes, alone, lattice.beam)
    core = bright > 0.3 * np.array([bright[box == i].max() for i in range(len(lattice))])[box]
    dark = replace(lattice, observed=np.where(core, 0.0, background).astype(np.float32))
    spots = Spots.first(dark, level)
    for _ in range(12):
        expected = np.zeros(len(dark)) if spots.best is None else spots.measured
        spots = spots.stepped(dark, level, expected, np.full(len(dark), 10.0))
    absent = replace(spots, at=np.column_stack([np.zeros(len(dark)), spots.at[:, 1:]]), best=None)
    absent = absent.stepped(dark, level, np.zeros(len(dark)), np.full(len(dark), 10.0))
    assert (spots.measured < 0.0).mean() > 0.9
    np.testing.assert_array_less(0.8 * absent.variance, spots.variance)


def test_any_number_of_ranks_gives_the_same(run: Path, tmp_path: Path) -> None:
    inputs = arguments(run, tmp_path / "{size}" / "factors.json")
    run_on_every([1, 2], "xfel_apps.factors.__main__", *inputs)
    found = [gemmi.read_mtz_file(str(tmp_path / f"{size}" / "refined.mtz")) for size in (1, 2)]
    np.testing.assert_array_equal(found[0].array, found[1].array)


def test_a_killed_run_goes_on_to_the_same_bits(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of two ranks is killed with signal 9 after a checkpoint; one rank alone goes on."""
    settings = {"checkpoint_every": 2, "tolerance_sigma": 1e-4}
    assert refine(run, tmp_path / "whole" / "factors.json", **settings) == 0
    path = tmp_path / "factors.json"
    given = [*arguments(run, path), "--settings", json.dumps(settings)]
    command = on_ranks(2, "-m", "tests.factors.killed", "1", "5", *given)
    ended = subprocess.run(command, check=False, capture_output=True, timeout=120, cwd=REPO_ROOT)
    assert ended.returncode != 0
    assert not path.exists()
    kept = sorted(found.name for found in tmp_path.glob(".factors.checkpoint*"))
    assert kept == [f".factors.checkpoint{end}.npz" for end in ("-4-0", "-4-1", "")]
    capsys.readouterr()
    assert refine(run, path, **settings) == 0
    assert "going on after iteration 4" in capsys.readouterr().out
    assert not list(tmp_path.glob(".factors.checkpoint*"))
    manifests = [FactorsManifest.read(at / "factors.json") for at in (tmp_path / "whole", tmp_path)]
    assert manifests[0] == manifests[1]
    whole, resumed = (
        gemmi.read_mtz_file(str(at / "refined.mtz")) for at in (tmp_path / "whole", tmp_path)
    )
    np.testing.assert_array_equal(whole.array, resumed.array)


@pytest.mark.parametrize("spoiled", [".factors.checkpoint.npz", ".factors.checkpoint-2-0.npz"])
def test_a_spoiled_checkpoint_is_not_used(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoiled: str
) -> None:
    settings = {"checkpoint_every": 2, "max_iterations": 4}
    iterate = Refiner.iterate

    def stopped(self: Refiner, model: Model, *, stop: bool = False) -> Model:
        return iterate(self, model, stop=stop or model.iteration == 3)

    with monkeypatch.context() as patch:
        patch.setattr(Refiner, "iterate", stopped)
        assert refine(run, tmp_path / "factors.json", **settings) == 75
    (tmp_path / spoiled).write_bytes(b"PK")
    assert refine(run, tmp_path / "factors.json", **settings) == 0
    manifest = FactorsManifest.read(tmp_path / "factors.json")
    assert [row["iteration"] for row in manifest.iterations] == [1, 2, 3, 4]


def test_a_lattice_that_is_no_number_is_left_out(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Spots.first

    def spoiled(lattice: object, level: np.ndarray) -> Spots:
        found = first(lattice, level)  # type: ignore[arg-type]
        if lattice.number == 1:  # type: ignore[attr-defined]
            found.at[:3] = np.nan
        return found

    monkeypatch.setattr(Spots, "first", spoiled)
    assert refine(run, tmp_path / "factors.json") == 0
    manifest = FactorsManifest.read(tmp_path / "factors.json")
    assert list(manifest.rejected.values()) == ["its likelihood is not a number"]
    assert manifest.statistics["overall"]["mean_intensity"] > 0


def test_a_shot_that_fails_is_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("out of range")

    monkeypatch.setattr(Spots, "stepped", fail)
    assert refine(run, tmp_path / "factors.json") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: shot r1:")
    assert error.endswith("lattice 0: out of range\n")


def test_manifests_that_do_not_match_are_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twice = [str(run / "refined.json")] * 2
    assert main([*arguments(run, tmp_path / "f.json"), "--refined", *twice], mpi.serial()) == 1
    assert "1 manifests of events and 2 of refined shots" in capsys.readouterr().err
    events = [str(run / "events.json")] * 2
    both = ["--refined", *twice, "--events", *events]
    assert main([*arguments(run, tmp_path / "f.json"), *both], mpi.serial()) == 1
    assert "run r1 is given 2 times" in capsys.readouterr().err
