"""A sealed run has the products of a batch run, whatever the crews have done and lost."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.live.live_run import ArrivingRun
from tests.live.same import assert_same_products
from tests.ranks import run_on_every
from xfel_apps import mpi
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.manifest import Manifest, open_product
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.results import run_folders
from xfel_apps.containers.spots import SPOTS
from xfel_apps.errors import ContainerError
from xfel_apps.experiment import Experiment
from xfel_apps.index.run import index_run
from xfel_apps.ingest.run import ingest
from xfel_apps.integrate.run import integrate_run
from xfel_apps.latency.times import read_log
from xfel_apps.live.chunk import Facts
from xfel_apps.live.layout import LiveRun
from xfel_apps.live.seal import is_sealed, main, seal
from xfel_apps.live.snapshot import snapshot
from xfel_apps.merge.__main__ import main as merge
from xfel_apps.simulate.run import simulate
from xfel_apps.simulate.settings import SimulateSettings
from xfel_apps.spotfind.run import spotfind_run

RUN = "r0001"
N_SHOTS = 24
FILES = ("a", "b", "c")
SIMULATED = {
    "shots": N_SHOTS // len(FILES),
    "hit_fraction": 0.7,
    "weak_fraction": 0.2,
    "crystal": {"d_min_ang": 3.0},
    "detector": {"module_px": [480, 480], "distance_mm": 60.0, "hot_fraction": 1e-5},
}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory) -> Experiment:
    """Return the settings of a run of three files with a hot pixel or two."""
    raw = tmp_path_factory.mktemp("raw")
    for seed, name in enumerate(FILES):
        simulate(SimulateSettings.checked({**SIMULATED, "seed": seed}), raw / name, mpi.serial())
    return Experiment.checked(
        {
            "runs": {RUN: [str(raw / name) for name in FILES]},
            "spotfind": {"hot_min_shots": 4, "min_spots": 6},
            "index": {"cell": "79.2 79.2 38 90 90 90", "space_group": "P43212"},
            "worker": {"flush_s": 0},
        }
    )


def process(experiment: Experiment, run: Path) -> Path:
    """Process the run as the batch does; return its folder."""
    paths = [run / f"{name}.json" for name in ("events", "spots", "crystals", "reflections")]
    ingest(RUN, experiment.runs[RUN], experiment.ingest, paths[0])
    comm, worker = mpi.serial(), experiment.worker
    spotfind_run(comm, paths[0], paths[1], experiment.spotfind, worker)
    index_run(comm, (paths[0], paths[1]), paths[2], experiment.index, worker)
    integrate_run(comm, (paths[0], paths[1], paths[2]), paths[3], experiment.integrate, worker)
    return run


@pytest.fixture(scope="module")
def batch(experiment, tmp_path_factory) -> Path:
    """Return the run as the batch makes it."""
    return process(experiment, tmp_path_factory.mktemp("batch") / RUN)


@pytest.fixture(scope="module")
def facts(batch) -> Facts:
    """Return what the whole run tells: it has hot pixels."""
    facts = Facts.of_manifest(dict(Manifest.read(batch / "spots.json").extra))
    assert facts.hot_pixels
    return facts


@pytest.fixture
def arrived(experiment, tmp_path) -> ArrivingRun:
    """Return the run with its shots come in any order, in chunks of nine."""
    order = random.Random(3).sample(range(N_SHOTS), N_SHOTS)
    return ArrivingRun.make(LiveRun(tmp_path / "000", RUN), experiment, order, 9)


def sealed(arrived: ArrivingRun) -> dict[str, int]:
    """Seal the run and return how many shots were taken over."""
    taken = seal(mpi.serial(), arrived.live, arrived.experiment).taken
    assert is_sealed(arrived.live)
    left = {path.name for path in arrived.live.folder.iterdir()}
    assert left <= {"chunks", "first.h5", "sealed.json", "snapshots.jsonl"}
    return taken


def n_of(batch: Path, *outcomes: str) -> int:
    counts = Manifest.read(batch / "reflections.json").outcomes
    return sum(counts[outcome] for outcome in outcomes)


def test_all_is_taken_over_where_the_crews_knew_all(arrived, batch, facts):
    arrived.crew("crew-a", range(0, 9), Facts(facts.hot_pixels, None))  # the gain is 1
    arrived.crew("crew-a", range(9, 14), facts, rank=2)
    arrived.crew("crew-b", range(14, 24), facts)
    n_integrated, n_hits = n_of(batch, "integrated"), n_of(batch, "integrated", "hit_not_indexed")
    assert n_integrated > 8
    taken = sealed(arrived)
    assert taken == {"spots": 24, "crystals": n_hits, "reflections": n_integrated}
    assert_same_products(arrived.live.products, batch)


def test_what_was_done_with_other_hot_pixels_is_done_anew(arrived, batch, facts):
    arrived.crew("crew-a", range(0, 9), Facts())
    arrived.crew("crew-a", range(9, 24), facts, rank=2)
    taken = sealed(arrived)
    assert taken["spots"] == 24
    assert 0 < taken["reflections"] < n_of(batch, "integrated")
    assert_same_products(arrived.live.products, batch)


def test_what_was_done_with_another_gain_is_integrated_anew(arrived, batch, facts):
    arrived.crew("crew-a", range(24), Facts(facts.hot_pixels, 2.0))
    taken = sealed(arrived)
    assert taken["crystals"] > 0
    assert taken["reflections"] == 0
    assert_same_products(arrived.live.products, batch)


def test_what_live_has_lost_is_made_up_for(arrived, batch, facts):
    arrived.crew("crew-a", range(0, 5), facts, until=CRYSTALS)
    arrived.crew("crew-b", range(9, 16), facts, until=SPOTS)
    shutil.rmtree(arrived.live.chunk(18))
    assert sealed(arrived)["spots"] == 12
    assert_same_products(arrived.live.products, batch)


def test_a_shot_that_two_crews_have_done_counts_once(arrived, batch, facts):
    arrived.crew("crew-a", range(0, 14), facts)
    arrived.crew("crew-b", range(10, 24), facts)
    taken = sealed(arrived)
    assert 14 <= taken["spots"] < 24  # what shares a powder sum with such a shot is done anew
    assert taken["reflections"] == n_of(batch, "integrated")
    assert_same_products(arrived.live.products, batch)


def test_shots_in_the_powder_of_a_crew_that_died_are_not_added_again(arrived, batch, facts):
    arrived.crew("crew-a", range(0, 9), facts)
    shutil.rmtree(arrived.live.parts("crew-a", "crystals"))
    next(arrived.live.parts("crew-a", "spots").glob("rank-*.h5")).unlink()
    arrived.crew("crew-b", range(0, 24), facts, in_powder=range(0, 9))
    assert sealed(arrived)["spots"] == 24
    assert_same_products(arrived.live.products, batch)


def test_damaged_parts_and_rows_that_failed_are_left(arrived, batch, facts):
    arrived.crew("crew-a", range(0, 24), facts)
    for number, product in enumerate((SPOTS, CRYSTALS, REFLECTIONS)):
        part = next(arrived.live.parts("crew-a", product.name).glob("rank-*.h5"))
        if product is SPOTS:
            with h5py.File(part, "r+", libver="latest") as file:
                file["shots/outcome"][:4] = Outcome.FAILED.code
        else:
            data = part.read_bytes()
            part.write_bytes(data[: len(data) // (4 * number)])
    assert sealed(arrived)["spots"] == 20
    assert_same_products(arrived.live.products, batch)


def test_a_shot_that_was_processed_with_another_wavelength_is_done_anew(arrived, batch, facts):
    folder = arrived.live.chunk(9) / "events" / "rank-0000.h5"
    with h5py.File(folder, "r+", libver="latest") as file:
        file["shots/wavelength_ang"][2] *= 1.01
    arrived.crew("crew-a", [*range(0, 11), *range(12, 24)], facts)
    arrived.crew("crew-b", [11], facts)
    taken = sealed(arrived)
    assert taken["spots"] == 23
    assert_same_products(arrived.live.products, batch)


class KilledError(BaseException):
    """Stands for kill -9."""


class Steps:
    """Counts what changes the disk for good, and dies before one of it."""

    def __init__(self, monkeypatch) -> None:
        self.deadly = -1
        self.n = 0
        for owner, name in ((Path, "replace"), (Path, "unlink"), (shutil, "rmtree")):
            monkeypatch.setattr(owner, name, self.counted(getattr(owner, name)))

    def counted(self, action: Callable) -> Callable:
        def step(*arguments, **options):
            self.n += 1
            if self.n == self.deadly:
                raise KilledError
            return action(*arguments, **options)

        return step


@pytest.mark.slow
def test_sealing_can_be_killed_at_every_step(arrived, batch, facts, monkeypatch):
    arrived.crew("crew-a", range(0, 9), Facts())
    arrived.crew("crew-b", range(9, 20), facts)
    steps = Steps(monkeypatch)
    n_kills = 0
    while True:
        steps.n, steps.deadly = 0, n_kills + 1
        try:
            seal(mpi.serial(), arrived.live, arrived.experiment)
            break
        except KilledError:
            assert not is_sealed(arrived.live)
            n_kills += 1
    assert n_kills >= 12
    assert is_sealed(arrived.live)
    assert not arrived.live.crews()
    assert_same_products(arrived.live.products, batch)


@pytest.mark.slow
def test_any_number_of_ranks(arrived, batch, facts, tmp_path):
    arrived.crew("crew-a", range(0, 9), facts)
    arrived.crew("crew-a", range(9, 14), Facts(), rank=2)
    arrived.crew("crew-b", range(14, 20), facts)
    for size in (2, 3):
        shutil.copytree(arrived.live.trial, tmp_path / f"{size}")
    trial = str(tmp_path / "{size}")
    run_on_every((2, 3), "xfel_apps.live.seal", "--trial", trial, "--run", RUN)
    for size in (2, 3):
        assert_same_products(tmp_path / f"{size}" / RUN, batch)
        assert is_sealed(LiveRun(tmp_path / f"{size}", RUN))


def test_who_did_a_shot_keeps_one_number_through_all_products(arrived, facts):
    arrived.crew("crew-a", range(0, 12), facts)
    arrived.crew("crew-b", range(12, 24), facts)
    sealed(arrived)
    ranks = {}
    for product in (SPOTS, CRYSTALS, REFLECTIONS):
        _, reader = open_product(arrived.live.products / f"{product.name}.json", product)
        ranks[product.name] = reader.shots()["rank"]
        reader.close()
    assert set(ranks["spots"]) == {0, 1}
    both = ranks["reflections"].index
    np.testing.assert_array_equal(ranks["spots"][both], ranks["reflections"][both])


def test_a_run_without_raw_files_is_refused(arrived, capsys):
    arguments = ["--trial", str(arrived.live.trial), "--run", "r0002"]
    assert main(arguments) == 1
    assert "does not say where its raw files lie" in capsys.readouterr().err
    assert main(["--trial", "nowhere", "--run", "r0002"]) == 1
    assert "no settings of a live trial" in capsys.readouterr().err


def merged(reflections: Path, folder: Path) -> MergedManifest:
    """Merge one run."""
    arguments = ["--reflections", str(reflections), "--merged", str(folder / "merged.json")]
    assert merge([*arguments, "--settings", '{"d_min_ang": 4.0, "min_correlation": -1}']) == 0
    return MergedManifest.read(folder / "merged.json")


def test_what_a_growing_run_has_can_be_merged(arrived, batch, facts, tmp_path):
    arrived.crew("crew-a", range(0, 9), Facts())
    arrived.crew("crew-b", range(9, 14), facts)
    first = snapshot(arrived.live, arrived.experiment)
    before = Manifest.read(first, REFLECTIONS)
    assert before.n_events == 14
    assert merged(first, tmp_path / "v001").n_crystals == before.outcomes["integrated"] > 4
    # Later parts of a crew, and one that is only just being made.
    arrived.crew("crew-b", range(14, 24), facts)
    arrived.live.parts("crew-c", "reflections").mkdir(parents=True)
    (arrived.live.parts("crew-c", "reflections") / "rank-0001.h5").write_bytes(b"")
    now = Manifest.read(snapshot(arrived.live, arrived.experiment), REFLECTIONS)
    assert now.digest != before.digest
    assert now.n_events == 24
    assert now.outcomes == Manifest.read(batch / "reflections.json").outcomes
    again = Manifest.read(snapshot(arrived.live, arrived.experiment), REFLECTIONS)
    assert again.digest == now.digest
    with arrived.live.snapshots.open() as lines:
        log = list(read_log(lines))
    assert [entry["digest"] for entry in log] == [before.digest, now.digest]
    assert sum(len(entry["new"]) for entry in log) == now.outcomes["integrated"]


def test_live_folders_are_not_taken_for_runs(arrived, facts):
    arrived.crew("crew-a", range(0, 9), facts)
    snapshot(arrived.live, arrived.experiment)
    with pytest.raises(ContainerError, match="no results of any run here"):
        run_folders(arrived.live.trial / RUN)
    sealed(arrived)
    shutil.rmtree(arrived.live.trial / "scratch")
    assert run_folders(arrived.live.trial.parent) == [arrived.live.products]


def test_a_run_that_grows_after_it_was_sealed_is_not_done_anew(experiment, tmp_path):
    spotfind = experiment.spotfind.model_copy(update={"hot_fraction": None})
    experiment = experiment.model_copy(update={"spotfind": spotfind})
    two_files = experiment.model_copy(update={"runs": {RUN: experiment.runs[RUN][:2]}})
    live, facts = LiveRun(tmp_path / "000", RUN), Facts((), 1.0)
    order = random.Random(4).sample(range(16), 16)
    arrived = ArrivingRun.make(live, two_files, order, 8)
    arrived.crew("crew-a", range(16), facts)
    assert sealed(arrived)["spots"] == 16
    arrived = ArrivingRun.make(live, experiment, [*order, *range(16, 24)], 8)
    assert not is_sealed(live)
    before = Manifest.read(snapshot(live, experiment), REFLECTIONS)
    assert before.n_events == 16
    arrived.crew("crew-b", range(16, 24), facts)
    taken = sealed(arrived)
    expected = process(experiment, tmp_path / "batch" / RUN)
    n_integrated = Manifest.read(expected / "reflections.json").outcomes["integrated"]
    assert (taken["spots"], taken["reflections"]) == (24, n_integrated)
    assert 4 < before.outcomes["integrated"] < n_integrated
    assert_same_products(live.products, expected)


@pytest.mark.slow
def test_a_file_that_is_touched_after_sealing_gives_no_new_work(arrived, facts):
    arrived.crew("crew-a", range(24), facts)
    once = sealed(arrived)
    raw = next(Path(arrived.experiment.runs[RUN][0]).glob("*_master.h5"))
    status = raw.stat()
    os.utime(raw, (status.st_atime, status.st_mtime + 60.0))
    try:
        assert sealed(arrived) == once
        run = arrived.live.products
        assert Manifest.read(run / "spots.json").inputs == {
            "events": Manifest.read(run / "events.json").digest
        }
    finally:
        os.utime(raw, ns=(status.st_atime_ns, status.st_mtime_ns))
