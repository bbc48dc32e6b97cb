"""Snakemake with runs, settings and datasets of a catalog."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.small_nxmx import write_nxmx
from xfel_apps.catalog import open_catalog, queries
from xfel_apps.catalog.edits import Editor, add_run, new_dataset, new_group, new_trial, tag
from xfel_apps.catalog.parameters import Parameters
from xfel_apps.catalog.selection import Selection
from xfel_apps.catalog.workflow import work_of
from xfel_apps.containers.manifest import write_text
from xfel_apps.errors import CatalogError, SettingsError
from xfel_apps.experiment import Experiment
from xfel_apps.launch import workflow_folder

INDEX = {"cell": "79.2 79.2 38 90 90 90", "space_group": "P43212"}


@pytest.fixture
def ann(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Editor:
    """A catalog with two runs, a trial and the dataset of all `apo` runs."""
    monkeypatch.chdir(tmp_path)
    editor = Editor(open_catalog("catalog.db"), "mfx01", "ann")
    frames = np.zeros((2, 8, 8), dtype=np.uint16)
    for name in ("r0001", "r0002"):
        add_run(editor, name, [str(write_nxmx(tmp_path / f"{name}.h5", frames))])
    new_trial(editor, Parameters.checked({"index": INDEX, "merge": {"d_min_ang": 3.0}}))
    new_dataset(editor, "000", "apo", Selection(any=("apo",)))
    return editor


CONFIG = {"catalog": "catalog.db", "experiment": "mfx01", "trial": "000"}


def made(folder: Path, key: str) -> None:
    """Let a version be merged."""
    write_text(folder / "merged.json", f'{{"key": "{key}"}}')


def test_runs_settings_and_datasets_are_those_of_the_catalog(ann: Editor):
    tag(ann, "r0002", "apo")
    work = work_of(CONFIG)
    assert sorted(work.experiment.runs) == ["r0001", "r0002"]
    assert work.experiment.merge.d_min_ang == 3.0
    assert work.experiment.datasets == {"apo": ["r0002"]}
    assert work.merges["apo"].folder == Path("results/000/datasets/apo/v001")
    assert work_of(CONFIG).merges == work.merges


def test_a_version_keeps_its_number_and_runs_whatever_is_tagged_later(ann: Editor):
    tag(ann, "r0001", "apo")
    before = work_of(CONFIG)
    tag(ann, "r0002", "apo")
    after = work_of(CONFIG)
    assert after.merges["apo"].folder.name == "v002"
    assert after.merge("apo", "v001") == before.merges["apo"]
    with pytest.raises(SettingsError, match="no version v009 was begun; the present one is v002"):
        after.merge("apo", "v009")
    made(after.merges["apo"].folder, after.merges["apo"].key)
    made(after.merges["apo"].folder.with_name("v007"), "of another time")
    raw = Path(after.experiment.runs["r0001"][0])
    raw.write_bytes(raw.read_bytes() + b" ")
    assert work_of(CONFIG).merges["apo"].folder.name == "v008"
    with ann.catalog.reading() as session:
        numbers = [v.number for v in queries.versions(session, "mfx01", "000", "apo")]
    assert numbers == [1, 2, 8]


def test_what_the_file_says_otherwise_is_refused(ann: Editor):
    with pytest.raises(SettingsError, match=r"trial 000 has other settings .* merge.d_min_ang;"):
        work_of({**CONFIG, "merge": {"d_min_ang": 2.0}})
    assert work_of({**CONFIG, "merge": {"d_min_ang": 3.0}, "live": {"quiet_s": 5.0}})
    with pytest.raises(CatalogError, match="trial '001': not in the catalog; known: 000"):
        work_of({**CONFIG, "trial": "001"})
    with pytest.raises(CatalogError, match="experiment 'main': not in the catalog; known: mfx01"):
        work_of({**CONFIG, "experiment": "main"})
    with pytest.raises(CatalogError, match="there is none"):
        work_of({**CONFIG, "catalog": "other.db"})


def test_a_file_with_runs_of_its_own_stays_as_it_is(ann: Editor, tmp_path: Path):
    raw = str(tmp_path / "r0001.h5")
    work = work_of({**CONFIG, "runs": {"mine": [raw]}, "datasets": {"all": ["mine"]}})
    assert work.merges["all"].runs == ("mine",)


def test_runs_of_a_group_are_read_with_its_settings(ann: Editor):
    tag(ann, "r0001", "apo")
    before = work_of(CONFIG).merges["apo"].key
    new_group(ann, "monday", ("r0002", "r0009"), {"distance_mm": 81.5})
    experiment = work_of(CONFIG).experiment
    assert experiment.of_run("r0001").ingest.distance_mm is None
    assert experiment.of_run("r0002").ingest.distance_mm == 81.5
    assert experiment.of_run("r0002").merge == experiment.merge
    assert work_of(CONFIG).merges["apo"].key == before  # r0001 is in no group
    tag(ann, "r0002", "apo")
    with_group = work_of(CONFIG).merges["apo"].key
    given = {**experiment.model_dump(mode="json"), "datasets": {"apo": ["r0001", "r0002"]}}
    assert Experiment.checked({**given, "groups": {}}).dataset_key("apo") != with_group
    assert Experiment.checked(given).dataset_key("apo") == with_group


def test_while_the_catalog_is_away_its_last_answer_holds(ann: Editor, tmp_path: Path, capsys):
    tag(ann, "r0001", "apo")
    before = work_of(CONFIG)
    (tmp_path / "catalog.db").write_bytes(b"no database for now " * 100)
    for name in ("catalog.db-wal", "catalog.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    assert work_of(CONFIG).merges == before.merges
    assert work_of(CONFIG).experiment == before.experiment
    assert "going on with what it said last" in capsys.readouterr().err
    with pytest.raises(CatalogError, match="not a database"):
        work_of({**CONFIG, "trial": "001"})  # nothing was said of it


def dry_run(folder: Path) -> str:
    """Return the jobs that Snakemake would do."""
    root = workflow_folder()
    (folder / "experiment.yaml").write_text(yaml.safe_dump(CONFIG))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile"), "-n"]
    command += ["--profile", str(root / "profiles" / "local"), "--cores", "1"]
    command += ["--configfile", "experiment.yaml", "--directory", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_tag_makes_the_merge_of_its_datasets_due(ann: Editor, tmp_path: Path):
    assert "rule merge" not in dry_run(tmp_path)
    tag(ann, "r0001", "apo")
    text = dry_run(tmp_path)
    assert text.count("Merging dataset") == 1
    assert "Merging dataset apo v001" in text
