"""Bad files and bad frames cost themselves, never the run or the shots beside them."""

import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from xfel_apps.launch import launch
from xfel_apps.process.chain import PER_SHOT
from xfel_apps.table import read_table

CELL = '{"cell": "79.2 79.2 38 90 90 90", "space_group": "P43212"}'
N_GOOD = 16


def with_frames(master: Path, path: Path, frames: np.ndarray) -> Path:
    """Write an NXmx file with the geometry of `master` and frames of its own."""
    with h5py.File(master) as source, h5py.File(path, "w") as file:
        entry = file.create_group("entry")
        entry.attrs.update(source["entry"].attrs)
        for name in source["entry"]:
            if name != "data":
                source.copy(f"entry/{name}", entry)
        data = entry.create_group("data")
        data.attrs.update(source["entry/data"].attrs)
        data["data"] = frames
        beam = entry["instrument/beam"]
        wavelength = beam["incident_wavelength"]
        units, first = wavelength.attrs["units"], wavelength[0]
        del beam["incident_wavelength"]
        beam["incident_wavelength"] = first
        beam["incident_wavelength"].attrs["units"] = units
        for name in ("instrument/beam/pulse_energy", "laser_on", "timestamp"):
            if name in entry:
                del entry[name]
    return path


def bad_files(master: Path, folder: Path) -> list[Path]:
    """Write one file of each kind of bad input."""
    folder.mkdir()
    shape = (1, 640, 640)
    nan = with_frames(master, folder / "nan.h5", np.full(shape, np.nan, np.float32))
    saturated = np.full(shape, 2**31 - 1, np.int32)
    saturated_file = with_frames(master, folder / "saturated.h5", saturated)
    wrong = with_frames(master, folder / "wrong_shape.h5", np.ones((1, 100, 640), np.int32))
    whole = with_frames(master, folder / "whole.h5", np.ones((4, 640, 640), np.int32))
    truncated = folder / "truncated.h5"
    truncated.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    whole.unlink()
    empty = folder / "empty.h5"
    empty.touch()
    text = folder / "text.cbf"
    text.write_text("this is not an image")
    (folder / "linked").mkdir()
    missing = folder / "linked" / "run_master.h5"
    shutil.copy(master, missing)
    shutil.copy(master.with_name("run_data_000001.h5"), missing.parent)
    return [nan, saturated_file, wrong, truncated, empty, text, missing]


def through_every_stage(paths: list[Path], run: Path) -> Path:
    launch("ingest", [*map(str, paths), "--run", "r1", "--events", str(run / "events.json")])
    for stage, inputs, output in PER_SHOT:
        files = [x for name in (*inputs, output) for x in (f"--{name}", str(run / f"{name}.json"))]
        launch(stage, [*files, "--settings", CELL if stage == "index" else "{}"])
    return run


@pytest.fixture(scope="module")
def runs(simulated_runs, tmp_path_factory) -> tuple[Path, Path]:
    """Return the run folders of the good shots alone and of good and bad ones together."""
    folder = tmp_path_factory.mktemp("bad")
    master = simulated_runs.folders["r0001"] / "run_master.h5"
    good = through_every_stage([master], folder / "good")
    bad = bad_files(master, folder / "raw")
    return good, through_every_stage([master, *bad], folder / "mixed")


def test_other_shots_are_unchanged(runs):
    good, mixed = (read_table(run, "crystals") for run in runs)
    first = mixed[mixed["event"] < N_GOOD]
    assert len(good) >= 8
    pd.testing.assert_frame_equal(
        first.drop(columns="run").reset_index(drop=True), good.drop(columns="run")
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nan.h5", "nan|NaN|finite|usable|valid"),
        ("saturated.h5", "saturated|usable|valid|trusted"),
        ("wrong_shape.h5", "100"),
        ("truncated.h5", r"truncated\.h5"),
        ("empty.h5", r"empty\.h5"),
        ("text.cbf", r"text\.cbf"),
    ],
)
def test_each_bad_file_is_a_failed_event_with_a_reason(runs, name, reason):
    events = read_table(runs[1], "events")
    rows = events[events["file"].str.endswith(name)]
    assert rows["outcome"].tolist() == ["failed"]
    assert pd.Series(rows["reason"]).str.contains(reason).all(), rows["reason"].tolist()


def test_frames_in_a_missing_file_fail_and_name_it(runs):
    events = read_table(runs[1], "events")
    rows = events[events["file"].str.endswith("linked/run_master.h5")]
    assert len(rows) == N_GOOD
    assert (rows["outcome"][:8] != "failed").all()
    assert (rows["outcome"][8:] == "failed").all()
    assert rows["reason"][8:].str.contains("run_data_000002.h5").all()


def test_an_empty_run_is_an_error_in_one_line(tmp_path):
    (tmp_path / "raw").mkdir()
    app = [sys.executable, "-m", "xfel_apps.ingest", str(tmp_path / "raw"), "--run", "r1"]
    result = subprocess.run(
        [*app, "--events", str(tmp_path / "events.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert str(tmp_path / "raw") in result.stderr
