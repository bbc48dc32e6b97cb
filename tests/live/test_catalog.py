"""Live processing with a catalog: tags, datasets and trials take effect while it works."""

import shutil
from pathlib import Path

import pytest

from tests.live.test_daemon import Place
from xfel_apps.catalog import open_catalog, queries
from xfel_apps.catalog.edits import Editor, changed, new_dataset, new_trial, tag
from xfel_apps.catalog.selection import Selection
from xfel_apps.catalog.workflow import work_of
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.errors import SettingsError
from xfel_apps.live.trial import LiveTrial


@pytest.fixture
def place(tmp_path: Path, batch) -> Place:
    """Two runs that have come."""
    made = Place(tmp_path, batch.raw)
    made.come("r1", 0)
    made.come("r2", 1)
    return made


@pytest.fixture
def ann(place: Place) -> Editor:
    return Editor(open_catalog(f"{place.folder}/catalog.db"), "mfx01", "ann")


def with_catalog(place: Place, **more) -> Path:
    return place.experiment(catalog=f"{place.folder}/catalog.db", experiment="mfx01", **more)


def newest(place: Place, trial: str, dataset: str) -> Path:
    """Return the newest version that is made."""
    return max((place.folder / "results" / trial / "datasets" / dataset).glob("v*/merged.json"))


def merged(place: Place, trial: str, dataset: str) -> list[str]:
    """Return the runs of the newest version that is made."""
    return sorted(MergedManifest.read(newest(place, trial, dataset)).inputs)


def test_tags_datasets_and_trials_take_effect_while_it_works(place: Place, ann: Editor):
    path = with_catalog(place)
    daemon, fleet = place.daemon(path)
    place.go_on(daemon, fleet)
    assert merged(place, "000", "all") == ["r1", "r2"]  # of live.datasets
    with ann.catalog.reading() as session:
        assert [run.name for run in queries.runs(session, "mfx01")] == ["r1", "r2"]
        assert queries.trial(session, "mfx01", "000").parameters["index"]["cell"][0] == 79.2

    new_dataset(ann, "000", "apo", Selection(any=("apo",)))
    tag(ann, "r1", "apo")
    ask_again(daemon)
    place.go_on(daemon, fleet)
    assert merged(place, "000", "apo") == ["r1"]
    tag(ann, "r2", "apo")
    ask_again(daemon)
    place.go_on(daemon, fleet)
    assert merged(place, "000", "apo") == ["r1", "r2"]

    new_trial(ann, changed(ann, "000", {"merge": {"d_min_ang": 3.5}}), parent="000")
    new_dataset(ann, "001", "one", Selection(any=("apo",), none=("late",)))
    tag(ann, "r2", "late")
    ask_again(daemon)
    place.go_on(daemon, fleet)
    assert merged(place, "001", "one") == ["r1"]
    assert not (place.folder / "results/001/r2").exists()
    the_batch_has_the_same_versions(place)


def ask_again(daemon) -> None:
    """Let the daemon ask the catalog now."""
    daemon.trials[0].catalog._asked_s = 0.0


def the_batch_has_the_same_versions(place: Place) -> None:
    """Numbers that live was given are those that Snakemake makes nothing anew for."""
    config = {"catalog": f"{place.folder}/catalog.db", "experiment": "mfx01", "trial": "000"}
    work = work_of({**config, "results": str(place.folder / "results")})
    assert {name: merge.folder for name, merge in work.merges.items()} == {
        name: newest(place, "000", name).parent for name in ("all", "apo")
    }


def test_science_goes_on_while_the_catalog_is_away(place: Place, ann: Editor):
    path = with_catalog(place)
    daemon, fleet = place.daemon(path)
    shutil.move(place.folder / "catalog.db", place.folder / "away.db")
    (place.folder / "catalog.db").mkdir()  # cannot be opened
    place.go_on(daemon, fleet)
    assert merged(place, "000", "all") == ["r1", "r2"]
    assert any("catalog: catalog sqlite" in line for line in place.said)


def test_datasets_by_patterns_are_refused_with_a_catalog(place: Place):
    path = with_catalog(place, live={"datasets": {"early": ["r1*"]}})
    with pytest.raises(SettingsError, match="xfelflow dataset new early --trial 000 --any TAG"):
        LiveTrial(path)
