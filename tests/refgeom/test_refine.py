"""Two runs whose detector was recorded displaced: what is found against what is true."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.ranks import run_on_every
from tests.refgeom.simulated import (
    TARGET,
    design,
    displaced,
    rms_px,
    shifted,
    take_stills,
    write_crystals,
    write_run,
)
from xfel_apps import mpi
from xfel_apps.containers.geometry import GeometryManifest
from xfel_apps.containers.manifest import Manifest
from xfel_apps.errors import ContainerError, GeometryError, SettingsError
from xfel_apps.ingest.override import with_panels
from xfel_apps.refgeom.__main__ import main, summary
from xfel_apps.refgeom.dataset import Dataset
from xfel_apps.refgeom.run import refine_geometry
from xfel_apps.refgeom.settings import RefgeomSettings
from xfel_apps.sources.geom import read_geom
from xfel_apps.sources.geom_detector import GeomLayout
from xfel_apps.sources.geom_write import new_geom
from xfel_apps.sources.nxmx import open_file

DRIFT_MM = np.array([[0.06, -0.03, 0.1], [-0.06, 0.03, -0.1]])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of 60 crystals, on a detector that moves between them; the true detector."""
    folder = tmp_path_factory.mktemp("refgeom")
    rng = np.random.default_rng(5)
    true = displaced(design(), rng)
    for name, drift in zip(("r1", "r2"), DRIFT_MM, strict=True):
        stills = take_stills(shifted(true, tuple(drift)), 60, rng)
        write_run(folder / name, design(), stills, name)
        write_crystals(folder / name, stills, name)
    return folder, true


@pytest.fixture(scope="module")
def refined(runs):
    folder, _ = runs
    path = folder / "geometry" / "geometry.json"
    manifests = [folder / name / "crystals.json" for name in ("r1", "r2")]
    refine_geometry(mpi.serial(), manifests, path, RefgeomSettings())
    return path


def test_panels_distance_and_drift_are_found(runs, refined):
    _, true = runs
    manifest = GeometryManifest.read(refined)
    assert rms_px(design(), true) > 4.0
    assert rms_px(manifest.detector_of("another"), true) < 0.12
    for name, drift in zip(("r1", "r2"), DRIFT_MM, strict=True):
        np.testing.assert_allclose(manifest.drift_mm[name], drift, atol=0.02)
        assert rms_px(manifest.detector_of(name), shifted(true, tuple(drift))) < 0.12
    assert manifest.converged
    assert manifest.distance_mm_after - manifest.distance_mm_before == pytest.approx(1.0, abs=0.05)
    assert manifest.rms_px_before["both"] > 3.0
    assert manifest.rms_px_after["both"] == pytest.approx(0.2 * np.sqrt(2.0), rel=0.05)


def test_members_of_a_group_move_against_each_other(refined):
    nodes = GeometryManifest.read(refined).nodes
    for parent in ("detector", "q0", "q2m3"):
        moved = [n["shift_mm"] + n["rotation_mrad"] for n in nodes if n["parent"] == parent]
        assert len(moved) > 1
        np.testing.assert_allclose(np.sum(moved, axis=0), 0.0, atol=1e-9)
    assert nodes[0]["rotation_mrad"][2] == pytest.approx(0.0, abs=1e-12)


def test_what_is_written_reads_back(refined):
    manifest = GeometryManifest.read(refined)
    wanted = manifest.detector_of("another")
    layout = GeomLayout(read_geom(refined.with_name(manifest.files["geom"])))
    clen = layout.geom.source("clen").value
    geom = layout.detector(clen, 9500.0, (0.0, 0.0), np.dtype("i4"))
    nxmx = open_file(refined.with_name(manifest.files["nxmx"]), None).detector(0)
    for made in (geom, nxmx):
        assert [p.name for p in made.panels] == [p.name for p in wanted.panels]
        assert [p.slab_start for p in made.panels] == [p.slab_start for p in wanted.panels]
        np.testing.assert_allclose(made.origins_mm, wanted.origins_mm, atol=1e-6)
        np.testing.assert_allclose(made.axes, wanted.axes, atol=1e-9)


def test_a_new_trial_takes_the_refined_panels(refined):
    manifest = GeometryManifest.read(refined)
    for run in ("r1", "another"):
        placed = with_panels(design(), refined, run)
        assert placed.to_json() == manifest.detector_of(run).to_json()
    other = replace(design().panels[0], name="else")
    with pytest.raises(GeometryError, match="no panel else"):
        with_panels(replace(design(), panels=(other,)), refined, "r1")


def test_the_number_of_ranks_changes_no_bit(runs, refined, tmp_path):
    folder, _ = runs
    crystals = [str(folder / name / "crystals.json") for name in ("r1", "r2")]
    settings = ["--settings", '{"n_cycles": 1}']
    geometry = str(tmp_path / "{size}" / "geometry.json")
    run_on_every(
        (1, 3),
        "xfel_apps.refgeom.__main__",
        "--crystals",
        *crystals,
        "--geometry",
        geometry,
        *settings,
    )
    texts = {(tmp_path / str(size) / "geometry.json").read_text() for size in (1, 3)}
    assert len(texts) == 1


def test_few_spots_keep_panels_with_their_parents(runs, tmp_path):
    folder, _ = runs
    path = tmp_path / "geometry.json"
    settings = RefgeomSettings(min_spots=100, n_cycles=2, drift=False, distance=False)
    manifest = refine_geometry(mpi.serial(), [folder / "r1" / "crystals.json"], path, settings)
    kept = {panel["name"]: panel["kept_with"] for panel in manifest.panels if panel["kept_with"]}
    assert 0 < len(kept) < 32
    moved = {node["name"] for node in manifest.nodes}
    assert not moved & set(kept)
    assert set(kept.values()) <= moved
    assert manifest.nodes[0]["shift_mm"][2] == pytest.approx(0.0, abs=1e-12)
    lines = "\n".join(summary(manifest))
    assert f"{len(kept)} of 32 panels have too few spots" in lines
    assert "the distance is kept" in lines


def test_a_cell_found_in_the_data_says_nothing_of_the_distance(runs, tmp_path):
    folder, _ = runs
    for name in ("events", "spots", "crystals"):
        (tmp_path / name).symlink_to(folder / "r1" / name)
        (tmp_path / f"{name}.json").write_text((folder / "r1" / f"{name}.json").read_text())
    path = tmp_path / "crystals.json"
    extra = {"cell_found": {"cell": list(TARGET.cell)}}
    replace(Manifest.read(path), extra=extra).write(path)
    for settings, is_known in (
        (RefgeomSettings(), False),
        (RefgeomSettings(cell=TARGET.cell), True),
    ):
        dataset = Dataset.open([tmp_path], settings)
        dataset.close()
        assert dataset.target.is_known == is_known


def test_a_geometry_file_says_what_moves_together_and_is_written_again(runs, tmp_path):
    folder, _ = runs
    for name in ("events", "spots", "crystals"):
        (tmp_path / name).symlink_to(folder / "r1" / name)
        (tmp_path / f"{name}.json").write_text((folder / "r1" / f"{name}.json").read_text())
    left = ",".join(panel.name for panel in design().panels if panel.name[1] in "03")
    text = new_geom(design(), 1.3, "as designed") + f"rigid_group_left = {left}\nmask = /mask\n"
    geometry = tmp_path / "designed.geom"
    geometry.write_text(text)
    events = Manifest.read(tmp_path / "events.json")
    extra = {**events.extra, "geometry": str(geometry)}
    replace(events, extra=extra).write(tmp_path / "events.json")
    settings = RefgeomSettings(n_cycles=2, panels=False)
    path = tmp_path / "geometry.json"
    manifest = refine_geometry(mpi.serial(), [tmp_path / "crystals.json"], path, settings)
    assert [node["name"] for node in manifest.nodes] == ["detector", "left"]
    geom = read_geom(path.with_name(manifest.files["geom"]))
    assert geom.top["mask"] == "/mask"
    made = GeomLayout(geom).detector(0.1, 9500.0, (0.0, 0.0), np.dtype("i4"))
    wanted = manifest.detector_of("r1")
    np.testing.assert_allclose(made.origins_mm, wanted.origins_mm, atol=1e-7)
    np.testing.assert_allclose(made.axes, wanted.axes, atol=1e-10)


def test_bad_input_is_one_line(runs, tmp_path, capsys):
    folder, _ = runs
    crystals = str(folder / "r1" / "crystals.json")
    out = ["--geometry", str(tmp_path / "geometry.json")]
    for arguments, says in (
        (["--crystals", str(tmp_path / "none" / "crystals.json"), *out], "no such manifest"),
        (["--crystals", crystals, crystals, *out], "is given 2 times"),
        (["--crystals", crystals, *out, "--settings", '{"groups": "x"}'], "matches no panel"),
        (["--crystals", crystals, *out, "--settings", '{"n_cycle": 2}'], "unknown setting"),
        (
            ["--crystals", crystals, *out, "--settings", '{"min_crystal_spots": 5000}'],
            "no crystal has 5000 indexed spots",
        ),
    ):
        assert main(arguments, mpi.serial()) == 1
        error = capsys.readouterr().err.strip()
        assert says in error
        assert "\n" not in error
    assert not (tmp_path / "geometry.json").exists()


def test_runs_of_other_cells_need_one(runs, tmp_path):
    folder, _ = runs
    for name in ("events", "spots", "crystals"):
        (tmp_path / name).symlink_to(folder / "r2" / name)
        (tmp_path / f"{name}.json").write_text((folder / "r2" / f"{name}.json").read_text())
    path = tmp_path / "crystals.json"
    data = json.loads(path.read_text())
    data["settings"]["cell"][0] = 80.0
    path.write_text(json.dumps(data))
    with pytest.raises(SettingsError, match=r"refgeom\.cell"):
        refine_geometry(
            mpi.serial(),
            [folder / "r1" / "crystals.json", path],
            tmp_path / "geometry.json",
            RefgeomSettings(),
        )
    with pytest.raises(ContainerError, match="no such geometry"):
        GeometryManifest.read(tmp_path / "geometry.json")
