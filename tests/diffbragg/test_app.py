"""The app on frames that the forward model made, with lattices a little off."""

from pathlib import Path

import numpy as np
import pytest

from tests.diffbragg.tiny_run import (
    EMPTY_SHOT,
    N_CELLS,
    NAMES,
    WRONG_SHOT,
    true_a_matrix,
    write_run,
)
from tests.ranks import run_on_every
from xfel_apps import mpi
from xfel_apps.compare.orientation import rotation_angle_deg
from xfel_apps.containers.manifest import open_product
from xfel_apps.containers.refined import REFINED, Pixels, PredictedSpots, RefinedCrystals
from xfel_apps.diffbragg.__main__ import main
from xfel_apps.geometry.stills import metric_cell

GOOD = (0, 1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder)
    return folder


def refine(folder: Path, *more: str, **replaced: Path) -> int:
    paths = {name: folder / f"{name}.json" for name in (*NAMES, "refined")} | replaced
    return main([*(f"--{name}={path}" for name, path in paths.items()), *more], mpi.serial())


def test_lattices_come_nearer_to_the_truth(run: Path) -> None:
    """And shots whose lattice is another crystal's, or that have no spots, say so."""
    assert refine(run) == 0
    manifest, reader = open_product(run / "refined.json", REFINED)
    assert (manifest.outcomes["integrated"], manifest.outcomes["failed"]) == (2, 2)
    assert manifest.extra["n_lattices"] == 2
    shots = reader.shots()
    for event in (WRONG_SHOT, EMPTY_SHOT):
        assert "lattice 0 is rejected" in shots.loc[event, "reason"]
        assert "is the geometry right?" in shots.loc[event, "reason"]
    for event in GOOD:
        crystal, true = reader.rows("crystals", event, RefinedCrystals), true_a_matrix(event)
        assert rotation_angle_deg(crystal.a_matrix[0] @ np.linalg.inv(true)) < 0.006
        np.testing.assert_allclose(crystal.cell[0], metric_cell(true), rtol=1e-4)
        np.testing.assert_allclose(crystal.n_cells[0], N_CELLS, rtol=0.15)
        assert crystal.misfit_after[0] < crystal.misfit_before[0] - 50
        assert crystal.offset_px_after[0] < 0.2
        assert 0.95 < crystal.sigma_z_after[0] < 1.05
        assert crystal.turn_sigma_deg.max() < 0.01
    reader.close()


def test_predictions_and_pixels_belong_together(run: Path) -> None:
    assert refine(run) == 0
    _, reader = open_product(run / "refined.json", REFINED)
    for event in GOOD:
        spots = reader.rows("spots", event, PredictedSpots)
        pixels = reader.rows("pixels", event, Pixels)
        counts = spots.n_fast.astype(int) * spots.n_slow
        assert counts.sum() == len(pixels)
        assert ((spots.fast_px >= spots.start_fast) & (spots.slow_px >= spots.start_slow)).all()
        box = np.repeat(np.arange(len(spots)), counts)
        net = np.nan_to_num(pixels.photons - spots.background[box])
        found = np.bincount(box, net, len(spots))
        bright = spots.photons > 300
        assert bright.sum() > 10
        np.testing.assert_allclose(found[bright], spots.photons[bright], rtol=0.3)
    reader.close()


def test_any_number_of_ranks_gives_the_same(run: Path, tmp_path: Path) -> None:
    files = [f"--{name}={run / name}.json" for name in NAMES]
    out = tmp_path / "refined-{size}.json"
    run_on_every([1, 3], "xfel_apps.diffbragg.__main__", *files, f"--refined={out}")
    found = []
    for size in (1, 3):
        _, reader = open_product(tmp_path / f"refined-{size}.json", REFINED)
        found.append([reader.rows("crystals", event, RefinedCrystals) for event in GOOD])
        reader.close()
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one.a_matrix, other.a_matrix)


def test_a_file_without_intensities_is_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "merged.json").write_text((run / "merged.json").read_text())
    (tmp_path / "merged.mtz").write_text("nothing")
    assert refine(run, merged=tmp_path / "merged.json") == 1
    error = capsys.readouterr().err
    assert "merged.mtz: not a readable MTZ file" in error
    assert error.count("\n") == 1
