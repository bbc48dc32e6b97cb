"""The verbs run, trial, dataset and catalog, as people type them."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from xfel_apps.cli import app


@pytest.fixture
def xfelflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a command in an empty folder; returns what it prints, or its error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(line: str, *more: str, error: bool = False) -> str:
        result = CliRunner().invoke(app, [*line.split(), *more])
        assert result.exit_code == int(error), result.output
        return result.stderr if error else result.stdout

    return run


def test_a_shift_with_the_catalog(xfelflow):
    for run in ("r0001", "r0002", "r0010"):
        xfelflow(f"run add {run} /data/{run}.h5")
    xfelflow("run tag r00* apo")
    xfelflow("run untag r0010 apo")
    assert "r0010" not in xfelflow("run list --tag apo")
    runs = json.loads(xfelflow("run list --json"))
    assert [(run["name"], run["tags"]) for run in runs] == [
        ("r0001", ["apo"]),
        ("r0002", ["apo"]),
        ("r0010", []),
    ]
    assert xfelflow("trial new --set index.tries=2") == "trial 000\n"
    assert xfelflow("trial new --from 0 --set index.tries=3 --comment more") == "trial 001\n"
    (change,) = json.loads(xfelflow("trial diff 0 1 --json"))
    assert change == {"key": "index.tries", "before": 2, "after": 3}
    assert yaml.safe_load(xfelflow("trial show 001"))["index"]["tries"] == 3
    xfelflow("dataset new apo --trial 1 --any apo --none bad")
    assert "any of apo; none of bad" in xfelflow("dataset show apo --trial 1")
    (version,) = json.loads(xfelflow("dataset versions apo --trial 1 --json"))
    assert (version["name"], version["state"]) == ("v001", "due")
    assert version["runs"] == ["r0001", "r0002"]
    assert json.loads(xfelflow("catalog show --json"))["experiments"][0]["n_runs"] == 3


def test_what_a_trial_made_of_a_run(xfelflow, tiny_trial: Path):
    xfelflow(f"catalog sync {tiny_trial.parent}")
    found = json.loads(xfelflow("run show r0001 --trial 000 --json"))
    n_lattices = found["run"]["n_lattices"]
    assert len(found["crystals"]) == n_lattices > 0
    assert len(found["crystals"][0]["a_matrix"]) == 9
    shown = xfelflow("run show r0001 --trial 000")
    assert f"lattices {n_lattices}" in " ".join(shown.split())
    n_failed = found["run"]["outcomes"]["failed"]
    assert len(found["failed"]) == n_failed > 0
    assert found["failed"][0]["error"] in shown
    assert "known: r0001, r0002" in xfelflow("run show r9 --trial 000", error=True)


def test_what_is_wrong_is_one_line(xfelflow):
    assert "there is none" in xfelflow("run list", error=True)
    xfelflow("run add r0001 /data/r001.h5")
    assert "other raw files: /data/r001.h5" in xfelflow("run add r0001 /data/r1.h5", error=True)
    xfelflow("run add r0001 /data/r0001.h5 --replace")
    assert json.loads(xfelflow("run list --json"))[0]["paths"] == ["/data/r0001.h5"]
    for line, said in (
        ("run tag r0002 apo", "known: r0001"),
        ("run tag r0001 <b>", "a name begins with a letter or digit"),
        ("run tag r0001 apo --revision 7", "somebody else has changed it"),
        ("trial show 3", "trial '3': not in the catalog; known: none"),
        ("run list --experiment other", "known: main"),
        ("catalog show --catalog mysql://me:pw@h/db", "a password stands in the URL"),
    ):
        err = xfelflow(line, error=True)
        assert said in err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert ":pw@" not in err


def test_an_experiment_file_goes_into_the_catalog(xfelflow, tmp_path: Path):
    content = {
        "trial": "t1",
        "runs": {"r1": ["a.h5"], "r2": ["b.h5"]},
        "datasets": {"all": ["r1", "r2"], "one": ["r1"]},
        "merge": {"n_cycles": 5},
    }
    Path("experiment.yaml").write_text(yaml.safe_dump(content))
    for _ in range(2):  # again changes nothing
        xfelflow("catalog import experiment.yaml")
    assert yaml.safe_load(xfelflow("trial show t1"))["merge"]["n_cycles"] == 5
    datasets = json.loads(xfelflow("dataset list --json"))
    assert {d["name"]: d["runs"] for d in datasets} == {"all": ["r1", "r2"], "one": ["r1"]}
    assert json.loads(xfelflow("run list --json"))[0]["paths"] == [str(tmp_path / "a.h5")]
    content["merge"] = {"n_cycles": 6}
    Path("experiment.yaml").write_text(yaml.safe_dump(content))
    assert "with other settings" in xfelflow("catalog import experiment.yaml", error=True)
