"""When a dataset with a growing run gets a new version."""

import time
from pathlib import Path

import pytest

from xfel_apps.containers.merged import MergedManifest
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
