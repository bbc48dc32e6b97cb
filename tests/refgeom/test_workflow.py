"""Frames of a detector whose file says wrongly where its modules lie, through the workflow."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from tests.refgeom.simulated import rms_px
from tests.workflow.test_workflow import snakemake
from xfel_apps import mpi
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.geometry import GeometryManifest
from xfel_apps.containers.results import RunResults
from xfel_apps.simulate.run import simulate
from xfel_apps.simulate.settings import SimulateSettings
from xfel_apps.sources import open_raw

SMALL = {
    "shots": 40,
    "hit_fraction": 1.0,
    "weak_fraction": 0.0,
    "crystal": {"d_min_ang": 2.3},
    "detector": {"modules": [2, 2], "module_px": [320, 320], "distance_mm": 60.0},
}
MISPLACED_MM = np.array([[0.3, 0.1, 0.5], [-0.2, 0.3, 0.6], [0.2, -0.3, 0.55], [-0.2, 0.0, 0.65]])


def misplace(master: Path) -> None:
    """Move each module in the file, not the frames."""
    with h5py.File(master, "r+") as file:
        group = file["/entry/instrument/detector"]
        modules = [group[name] for name in group if name.startswith("module_")]
        for module, shift in zip(modules, MISPLACED_MM, strict=True):
            offset = module["module_offset"]
            moved = offset[0] * offset.attrs["vector"] + shift
            length = np.linalg.norm(moved)
            offset[0], offset.attrs["vector"] = length, moved / length


def rmsd_px(folder: Path) -> tuple[int, float]:
    """Return how many crystals a run has and their median rmsd."""
    results = RunResults(folder)
    table = results.reader(CRYSTALS).frame("crystals")
    results.close()
    return len(table), float(table["rmsd_px"].median())


@pytest.mark.slow
def test_frames_on_a_misplaced_detector_are_put_right(tmp_path):
    master = simulate(SimulateSettings.checked(SMALL), tmp_path / "raw", mpi.serial())
    true = open_raw(master).detector(0)
    misplace(master)
    wrong = open_raw(master).detector(0)
    assert rms_px(wrong, true) > 1.8
    data = {
        "trial": "000",
        "runs": {"r1": [str(master)]},
        "datasets": {"all": ["r1"]},
        "index": {"cell": "79.2 79.2 38 90 90 90", "space_group": "P43212", "max_rmsd_px": 6.0},
    }
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text(yaml.safe_dump(data))
    snakemake(experiment, "geometry")
    path = tmp_path / "results/000/geometry/all/geometry.json"
    refined = GeometryManifest.read(path).detector_of("r1")
    assert rms_px(refined, true) < 0.15
    data["trial"], data["ingest"] = "001", {"panels": str(path)}
    experiment.write_text(yaml.safe_dump(data))
    snakemake(experiment, "results/001/r1/crystals.json")
    before, after = (rmsd_px(tmp_path / "results" / trial / "r1") for trial in ("000", "001"))
    assert after[0] >= before[0] >= 30
    assert after[1] < 0.5 * before[1]
    print(before, after, rms_px(wrong, true), rms_px(refined, true))
