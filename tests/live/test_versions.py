"""When a dataset with a growing run gets a new version, and what it is made of."""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.merge_data import Lattice, Simulation, write_run
from xfel_apps import mpi
from xfel_apps.containers.manifest import write_text
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.experiment import Experiment
from xfel_apps.live import version
from xfel_apps.live.layout import experiment_file
from xfel_apps.live.merges import Version, is_due, newest_version
from xfel_apps.live.settings import LiveSettings

SETTINGS = LiveSettings(merge_lattices=100, merge_wait_s=30.0)


def manifest(**changes) -> MergedManifest:
    """Return what a merge of one sealed and one growing run has written."""
    values = {
        "digest": "m", "settings": {}, "inputs": {"r1": "sealed", "r2": "snapshot"},
        "cell": (79.2, 79.2, 38.0, 90.0, 90.0, 90.0), "space_group": "P 43 21 2",
        "d_max_ang": 20.0, "d_min_ang": 2.0, "n_crystals": 500, "crystals": {"used": 500},
        "modes": {}, "n_observations": 1, "n_rejected": 0, "error_model": {},
        "statistics": {}, "files": {},
    }  # fmt: skip
    return MergedManifest(**{**values, **changes})


@pytest.mark.parametrize(
    ("age_s", "sealed", "growing", "expected"),
    [
        (60, {"r1": "sealed"}, {"r2": 200}, False),  # nothing is new
        (60, {"r1": "sealed"}, {"r2": 299}, False),
        (60, {"r1": "sealed"}, {"r2": 300}, True),  # enough lattices
        (20, {"r1": "sealed"}, {"r2": 900}, False),  # too soon
        (60, {"r1": "sealed"}, {"r2": 200, "r3": 1}, True),  # a run has come
        (60, {}, {"r2": 500}, True),  # one was left out
        (60, {"r1": "sealed", "r2": "sealed too"}, {}, True),  # one was sealed
        (60, {"r1": "sealed anew"}, {"r2": 200}, True),
    ],
)
def test_a_version_is_due(age_s, sealed, growing, expected):
    last = Version(Path("v001/merged.json"), manifest(), time.time() - age_s)
    n_lattices = 300 * len(sealed) + sum(growing.values())
    assert is_due(sealed, growing, n_lattices, last, SETTINGS) is expected


def test_the_first_version_is_due_at_once():
    assert is_due({}, {"r1": 1}, 1, None, SETTINGS)


def test_the_newest_version_is_that_with_the_highest_number(tmp_path):
    for number in (2, 999, 1000):
        manifest().write(tmp_path / f"v{number:03d}" / "merged.json")
    (tmp_path / "v1001").mkdir()  # it was never finished
    assert newest_version(tmp_path).name == "v1000"
    assert newest_version(tmp_path / "other") is None


@dataclass
class MadeVersions:
    """A trial whose versions are made by the app, of runs of made-up crystals."""

    trial: Path
    crystals: list[tuple[int, Lattice]]
    n_made: int = 0

    def write(self, run: str, crystals: slice, said: str) -> Path:
        """Write a run's reflections; `said` is their digest."""
        path = self.trial / run / "reflections.json"
        shutil.rmtree(path.parent, ignore_errors=True)
        write_run(path, self.crystals[crystals], run)
        path.write_text(json.dumps({**json.loads(path.read_text()), "digest": said}))
        return path

    def make(self, lattices: int, *runs: str) -> MergedManifest:
        """Make the next version; `runs` are arguments of the app."""
        self.n_made += 1
        path = self.trial / f"datasets/all/v{self.n_made:03d}/merged.json"
        files = ["--trial", str(self.trial), "--merged", str(path), "--key", "live-1"]
        arguments = [*files, "--lattices", str(lattices), *runs]
        assert version.main(arguments, mpi.serial()) == 0
        return MergedManifest.read(path)


@pytest.fixture
def versions(tmp_path, monkeypatch) -> MadeVersions:
    data = {"results": str(tmp_path), "trial": "000", "merge": {"d_min_ang": 5.0}}
    experiment = Experiment.checked(data)
    file = experiment_file(experiment.folder)
    write_text(file, json.dumps(experiment.model_dump(mode="json")))
    simulation = Simulation(d_min_ang=5.0, n_crystals=120, n_each=100)
    monkeypatch.setattr(version, "snapshot", lambda live, _: live.products / "reflections.json")
    return MadeVersions(experiment.folder, list(simulation.lattices()))


def test_versions_of_growing_runs_are_added_to_until_a_run_is_sealed(versions):
    versions.write("r2", slice(0, 50), "of 50")
    assert not versions.make(50, "--growing", "r2").growth
    versions.write("r2", slice(0, 80), "of 80")
    grown = versions.make(80, "--growing", "r2")
    assert (grown.n_crystals, grown.growth["crystals_before"]) == (80, 50)
    versions.write("r1", slice(80, 95), "sealed")
    grown = versions.make(95, "--sealed", "r1", "--growing", "r2")
    assert (grown.n_crystals, grown.growth["crystals_before"]) == (95, 80)
    assert grown.inputs == {"r1": "sealed", "r2": "of 80"}
    versions.write("r2", slice(0, 80), "sealed too")
    versions.write("r3", slice(95, 100), "of 5")
    anew = versions.make(100, "--sealed", "r1", "r2", "--growing", "r3")
    assert (anew.n_crystals, anew.growth) == (100, {})
    assert not versions.make(95, "--sealed", "r1", "r2").growth
    last = versions.make(100, "--sealed", "r1", "r2", "--growing", "r3")
    assert last.growth["crystals_before"] == 95


def test_versions_are_made_anew_when_they_doubled_or_lost_crystals(versions):
    versions.write("r1", slice(0, 40), "of 40")
    versions.make(40, "--growing", "r1")
    versions.write("r1", slice(0, 90), "of 90")
    assert not versions.make(90, "--growing", "r1").growth
    versions.write("r1", slice(10, 100), "others")
    anew = versions.make(90, "--growing", "r1")
    assert (anew.n_crystals, anew.growth) == (90, {})
    versions.write("r2", slice(100, 120), "of 20")
    assert versions.make(110, "--growing", "r1", "r2").growth
    assert not versions.make(20, "--growing", "r2").growth
