"""Watching folders: runs by name, complete when quiet."""

import os
import time
from pathlib import Path

import pytest

from xfel_apps.errors import SettingsError
from xfel_apps.live.watch import FolderWatch


def touch(path: Path, age_s: float = 0.0, size: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (time.time() - age_s,) * 2)
    return path


@pytest.mark.parametrize(
    ("pattern", "files", "expected"),
    [
        ("{run}.h5", ["r1.h5", "r2.h5", "notes.txt"], {"r1": ["r1.h5"], "r2": ["r2.h5"]}),
        (
            "{run}/*.cbf",
            ["r1/s_2.cbf", "r1/s_10.cbf", "logs/s_1.cbf", "r1/deeper/s_3.cbf"],
            {"r1": ["r1/s_2.cbf", "r1/s_10.cbf"]},
        ),
        (
            "{run}/run_{run}_?.h5",
            ["r1/run_r1_0.h5", "r1/run_r2_0.h5", "r1/run_r1_12.h5"],
            {"r1": ["r1/run_r1_0.h5"]},
        ),
        ("{run}/**/*.cbf", ["r1/a/b/1.cbf", "r1/2.cbf"], {"r1": ["r1/2.cbf", "r1/a/b/1.cbf"]}),
        ("a[0-9]_{run}.h5", ["a1_x.h5", "ab_y.h5"], {"x": ["a1_x.h5"]}),
    ],
)
def test_runs_are_found_by_their_names_in_natural_order(tmp_path, pattern, files, expected):
    for name in files:
        touch(tmp_path / name)
    seen = FolderWatch(f"{tmp_path}/{pattern}", 5.0).poll()
    found = {item.run: [str(path.relative_to(tmp_path)) for path in item.files] for item in seen}
    assert found == expected


def test_a_run_is_complete_when_it_was_quiet_and_grows_again(tmp_path):
    old = touch(tmp_path / "old.h5", age_s=60.0)
    touch(tmp_path / "new.h5")
    watch = FolderWatch(f"{tmp_path}/{{run}}.h5", 30.0)
    assert {item.run: item.is_complete for item in watch.poll()} == {"old": True, "new": False}
    before = watch.poll()
    touch(old, age_s=60.0, size=2)  # its time of change tells nothing now: it has just changed
    after = watch.poll()
    assert {item.run: item.is_complete for item in after} == {"old": False, "new": False}
    assert [a.signature == b.signature for a, b in zip(before, after, strict=True)] == [True, False]


def test_without_a_wait_all_is_complete_at_once(tmp_path):
    touch(tmp_path / "r1.h5")
    assert [item.is_complete for item in FolderWatch(f"{tmp_path}/{{run}}.h5", 0.0).poll()] == [
        True
    ]


def test_the_raw_files_of_a_run_are_named_by_its_pattern(tmp_path):
    assert FolderWatch(f"{tmp_path}/{{run}}/*.h5", 1.0).paths("r7") == [f"{tmp_path}/r7/*.h5"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("", "nothing to watch: give live.watch"),
        ("/tmp/*.h5", "write {run} where the run's name stands"),
        ("/nowhere/{run}/*.h5", "there is no folder /nowhere"),
    ],
)
def test_a_useless_pattern_is_refused(pattern, message):
    with pytest.raises(SettingsError, match=message.replace("{", r"\{")):
        FolderWatch(pattern, 1.0)
