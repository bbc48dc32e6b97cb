"""The state of a trial: done, running, stopped, outdated, failed."""

import json
import os
import time
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.tiny_trial import spot_result
from xfel_apps.catalog.edits import Editor, add_run, new_dataset, new_trial, tag
from xfel_apps.catalog.engine import open_catalog
from xfel_apps.catalog.parameters import Parameters
from xfel_apps.catalog.selection import Selection
from xfel_apps.cli import app
from xfel_apps.containers.spots import SPOTS
from xfel_apps.containers.writer import ContainerWriter
from xfel_apps.errors import ContainerError
from xfel_apps.status.progress import State, stages_of
from xfel_apps.status.show import show_status


def text_of(folder) -> str:
    console = Console(width=140, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    console.print(show_status(folder))
    console.file.close()
    return console.export_text()


def restart_spotfind(run, monkeypatch, n_flushed: int) -> ContainerWriter:
    """Leave the run as an app does that has just flushed `n_flushed` shots and goes on."""
    monkeypatch.undo()  # the wall clock again
    for name in ("spots", "crystals", "reflections"):
        (run / f"{name}.json").unlink()
        for part in (run / name).glob("rank-*.h5"):
            part.unlink()
    writer = ContainerWriter(run / "spots", 0, SPOTS, "d")
    for event in range(1, 1 + n_flushed):
        writer.append(event, spot_result(event), time.time() - 0.25, 0.1)
    writer.flush()
    return writer


def test_all_done(tiny_trial):
    stages = {stage.stage: stage for stage in stages_of(tiny_trial / "r0001")}
    assert [stage.state for stage in stages.values()] == [State.DONE] * 4
    assert (stages["spotfind"].n_done, stages["index"].n_done) == (18, 12)
    assert stages["index"].outcomes == {"hit_not_indexed": 2, "indexed": 10}
    assert stages["ingest"].failures == {"raw.h5: frame is truncated": 2}


def test_running_is_read_while_it_is_written(tiny_trial, monkeypatch):
    with restart_spotfind(tiny_trial / "r0002", monkeypatch, 5) as writer:
        for event in (6, 7):  # not flushed yet
            writer.append(event, spot_result(event), time.time(), 0.1)
        spotfind, index = stages_of(tiny_trial / "r0002")[1:3]
        assert (spotfind.state, spotfind.n_done, spotfind.n_total) == (State.RUNNING, 5, 18)
        assert spotfind.rate_hz == pytest.approx(5 / 0.25, rel=0.3)
        assert spotfind.left_s == pytest.approx(13 / spotfind.rate_hz)
        assert (index.state, index.n_done, index.n_total) == (State.WAITING, 0, None)
        assert "running" in text_of(tiny_trial)


def test_stopped_says_how_to_go_on(tiny_trial, monkeypatch):
    restart_spotfind(tiny_trial / "r0002", monkeypatch, 5).close()
    part = next((tiny_trial / "r0002" / "spots").glob("rank-*.h5"))
    os.utime(part, (time.time() - 3700, time.time() - 3700))
    assert stages_of(tiny_trial / "r0002")[1].state is State.STOPPED
    assert "spotfind r0002 stopped 1 h 01 min ago; run the same command to go on" in text_of(
        tiny_trial
    )


def test_a_file_being_made_counts_nothing(tiny_trial, monkeypatch):
    restart_spotfind(tiny_trial / "r0002", monkeypatch, 5).close()
    (tiny_trial / "r0002" / "spots" / "rank-0001.h5").write_bytes(b"\x89HDF")
    assert stages_of(tiny_trial / "r0002")[1].n_done == 5


def test_outdated(tiny_trial):
    path = tiny_trial / "r0001" / "spots.json"
    path.write_text(path.read_text().replace('"spots-digest"', '"other-digest"'))
    states = [stage.state for stage in stages_of(tiny_trial / "r0001")]
    assert states == [State.DONE, State.DONE, State.OUTDATED, State.OUTDATED]


def test_table_has_runs_counts_and_failures(tiny_trial):
    text = text_of(tiny_trial)
    assert text.count("integrate ") == 2
    assert "2 hit not indexed, 10 indexed" in text
    assert "raw.h5: frame is truncated" in text


def test_no_results(tmp_path):
    with pytest.raises(ContainerError, match="no results of any run here"):
        show_status(tmp_path)


def test_the_catalog_beside_the_results_says_which_datasets_are_due(tiny_trial, monkeypatch):
    results = tiny_trial.parent
    ann = Editor(open_catalog(str(results.parent / "catalog.db")), "main", "ann")
    add_run(ann, "r0001", ["/data/r0001.h5"])
    new_trial(ann, Parameters.checked({}))
    new_dataset(ann, "000", "apo", Selection(any=("apo",)))
    tag(ann, "r0001", "apo")
    monkeypatch.setenv("COLUMNS", "150")
    shown = CliRunner().invoke(app, ["status", str(results)])
    assert shown.exit_code == 0, shown.output
    (line,) = [line for line in shown.stdout.splitlines() if "apo" in line]
    assert line.split() == ["000", "apo", "1", "due"]
    given = CliRunner().invoke(app, ["status", str(results), "--json"])
    found = json.loads(given.stdout)
    assert [d["is_due"] for d in found["catalog"]["datasets"]] == [True]
    assert {stage["state"] for stage in found["stages"]} == {"done"}
    assert Path(found["catalog"]["url"]).name == "catalog.db"


def test_status_without_catalog_as_json(tiny_trial):
    given = CliRunner().invoke(app, ["status", str(tiny_trial), "--json"])
    found = json.loads(given.stdout)
    assert found["catalog"] is None
    assert {stage["run"] for stage in found["stages"]} == {"r0001", "r0002"}
