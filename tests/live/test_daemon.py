"""The daemon with everything in one process: runs come, grow, go; daemons are killed."""

import json
import shutil
import time
from pathlib import Path

import pytest
import yaml

from tests.live.in_process import InProcessFleet
from xfel_apps.containers.manifest import Manifest
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.containers.refined import REFINED
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.results import RunResults
from xfel_apps.experiment import Experiment
from xfel_apps.live.daemon import Daemon
from xfel_apps.live.lock import Identity
from xfel_apps.live.news import News
from xfel_apps.live.status import Status
from xfel_apps.live.trial import LiveTrial
from xfel_apps.live.watch import FolderWatch

INDEX = {"cell": "79.2 79.2 38 90 90 90", "space_group": "P43212"}
LIVE = {"chunk_shots": 5, "chunk_wait_s": 0.0, "merge_wait_s": 0.0, "merge_lattices": 4}


class Place:
    """A folder with raw files, an experiment file and results."""

    def __init__(self, folder: Path, raw: list[Path]) -> None:
        self.folder, self.raw = folder, raw
        (folder / "raw").mkdir()
        self.said: list[str] = []

    def come(self, run: str, *files: int) -> None:
        """Let raw files of a run come, a folder for each run."""
        for number in files:
            source = self.raw[number].parent
            shutil.copytree(source, self.folder / "raw" / run / source.name, dirs_exist_ok=True)

    def experiment(self, name: str = "experiment.yaml", trial: str = "000", **more) -> Path:
        live = {"watch": f"{self.folder}/raw/{{run}}/raw?/raw?.h5", **LIVE, **more.pop("live", {})}
        data = {"results": str(self.folder / "results"), "trial": trial, "index": INDEX}
        data |= {"merge": {"d_min_ang": 3.0}, "live": live, **more}
        path = self.folder / name
        path.write_text(yaml.safe_dump(data))
        return path

    def daemon(self, *paths: Path, quiet_s: float = 0.0) -> tuple[Daemon, InProcessFleet]:
        first = LiveTrial(paths[0])
        trials = [first, *(LiveTrial(path, first) for path in paths[1:])]
        fleet = InProcessFleet()
        news = News(self.folder / "daemon.log", self.said.append)
        watch = FolderWatch(first.experiment.live.watch, quiet_s)
        return Daemon(trials, watch, fleet, Identity.mine(), news), fleet

    def drain(self, *paths: Path) -> Daemon:
        daemon, fleet = self.daemon(*paths)
        self.go_on(daemon, fleet)
        return daemon

    def go_on(self, daemon: Daemon, fleet: InProcessFleet) -> None:
        """Let a daemon work until nothing is left to do."""
        for _ in range(60):
            daemon.step()
            if daemon.is_drained:
                return
            fleet.work()
        raise AssertionError("\n".join(self.said))

    @property
    def trial(self) -> Path:
        return self.folder / "results" / "000"

    def merged(self, number: int) -> MergedManifest:
        return MergedManifest.read(self.trial / f"datasets/all/v{number:03d}/merged.json")


@pytest.fixture
def place(tmp_path, batch) -> Place:
    return Place(tmp_path, batch.raw)


def n_versions(place: Place) -> int:
    return len(list((place.trial / "datasets" / "all").glob("v*/merged.json")))


def test_what_is_there_becomes_the_files_of_the_batch(place):
    place.come("r1", 0, 1)
    path = place.experiment(pixels="shots")
    place.drain(path)
    results = RunResults(place.trial / "r1")
    assert results.need(REFLECTIONS).n_events == 16
    sealed = Experiment.checked(yaml.safe_load((place.trial / "experiment.yaml").read_text()))
    assert list(sealed.runs) == ["r1"]
    last = place.merged(n_versions(place))
    assert last.key == sealed.dataset_key("all")
    assert last.inputs == {"r1": results.need(REFLECTIONS).digest}
    version, page = sealed.version_folder("all", last.key), place.trial / "report.html"
    refined = Manifest.read(version / "r1" / "refined.json", REFINED)
    assert refined.outcomes["integrated"] >= 0.8 * results.need(REFLECTIONS).outcomes["integrated"]
    assert page.stat().st_mtime > (version / "r1" / "refined.json").stat().st_mtime
    assert "shots refined against every pixel" in page.read_text()
    start_again_in_vain(place, path)


def start_again_in_vain(place: Place, path: Path) -> None:
    """Start a daemon where all is done: it does nothing."""
    before = n_versions(place)
    daemon, fleet = place.daemon(path)
    for _ in range(3):
        daemon.step()
        fleet.work()
    assert daemon.is_drained
    assert fleet.started == []
    assert n_versions(place) == before


def test_a_growing_run_is_merged_again_and_again(place):
    """Each file gives lattices, so each gives a version; the last one is the batch's."""
    path = place.experiment(live={"quiet_s": 1000.0})
    daemon, fleet = place.daemon(path, quiet_s=1000.0)
    for number in range(2):
        place.come("r1", number)
        for _ in range(100):
            daemon.step()
            fleet.work()
            if n_versions(place) > number:
                break
            time.sleep(0.02)
    assert place.merged(1).key.startswith("live-")
    assert place.merged(2).n_crystals > place.merged(1).n_crystals
    assert daemon.status().runs[0]["state"] == "growing"
    assert daemon.status().runs[0]["n_done"] == 16
    place.drain(path)
    assert not place.merged(3).key.startswith("live-")


def test_a_run_that_is_left_out_gives_a_version_without_it(place):
    """The experiment file is read again when it changes; other settings are left aside."""
    for number, run in enumerate(("r1", "r2")):
        place.come(run, number)
    daemon, fleet = place.daemon(place.experiment())
    place.go_on(daemon, fleet)
    before = n_versions(place)
    assert set(place.merged(before).inputs) == {"r1", "r2"}
    place.experiment(live={"exclude": ["r2"]})
    place.go_on(daemon, fleet)
    assert n_versions(place) == before + 1
    assert set(place.merged(before + 1).inputs) == {"r1"}
    assert {row["run"]: row["state"] for row in daemon.status().runs} == {
        "r1": "sealed",
        "r2": "excluded",
    }
    sealed = yaml.safe_load((place.trial / "experiment.yaml").read_text())
    assert list(sealed["runs"]) == ["r1"]
    place.experiment(spotfind={"min_spots": 12})
    place.go_on(daemon, fleet)
    assert "left aside: other settings of spotfind" in place.said[-1]
    assert n_versions(place) == before + 1


@pytest.mark.slow
def test_other_settings_are_a_trial_of_their_own(place):
    place.come("r1", 0)
    first = place.experiment()
    second = place.experiment("other.yaml", "001", spotfind={"min_spots": 12})
    place.drain(first, second)
    ends = [RunResults(place.trial.parent / name / "r1").last for name in ("000", "001")]
    assert ends[0].outcomes["integrated"] >= ends[1].outcomes["integrated"] > 0
    assert {json.loads(p.read_text())["trial"] for p in place.folder.glob("results/*/live/*.json")}


@pytest.mark.slow
def test_a_chunk_that_nobody_has_is_put_back(place, monkeypatch):
    """A daemon died between writing a chunk and putting it into the queue."""
    monkeypatch.setattr("xfel_apps.live.run.MISSING_S", 0.0)
    monkeypatch.setattr("xfel_apps.live.daemon.MISSING_EVERY_S", 0.0)
    place.come("r1", 0)
    path = place.experiment()
    daemon, _ = place.daemon(path)
    daemon.step()
    for entry in daemon.live.queue.glob("*.json"):
        entry.unlink()
    again = place.drain(path)
    assert again.runs["000", "r1"].sealed.n_events == 8


@pytest.mark.slow
def test_a_run_that_cannot_be_read_does_not_stop_the_others(place, monkeypatch):
    monkeypatch.setattr("xfel_apps.live.tasks.FIRST_WAIT_S", 0.0)
    place.come("r1", 0)
    bad = place.folder / "raw" / "r2" / "raw9" / "raw9.h5"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(b"not HDF5")
    daemon = place.drain(place.experiment())
    states = {row["run"]: row["state"] for row in daemon.status().runs}
    assert states == {"r1": "sealed", "r2": "trouble"}
    assert any("seal 000/r2" in text for text in daemon.failures)
    assert set(place.merged(n_versions(place)).inputs) == {"r1"}


@pytest.mark.slow
def test_what_the_daemon_knows_is_on_the_disk(place):
    place.come("r1", 0)
    daemon = place.drain(place.experiment())
    daemon.write_status()
    status = Status.read(daemon.live)
    (run,) = status.runs
    assert run["n_seen"] == run["n_done"] == 8
    assert run["n_indexed"] == run["n_lattices"] == daemon.runs["000", "r1"].n_lattices
    assert run["latency_s"] > 0
    assert status.datasets[0]["is_final"]
    assert status.chunks == {"live": 0, "late": 0, "taken": 0, "done": 2}
