"""A run that is written again is the same run, and grows at the rate asked for."""

import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.small_nxmx import write_nxmx
from xfel_apps import mpi
from xfel_apps.errors import SettingsError, SourceError
from xfel_apps.simulate.replay import ReplayPlan, replay
from xfel_apps.simulate.run import simulate
from xfel_apps.simulate.settings import SimulateSettings
from xfel_apps.sources import open_raw
from xfel_apps.sources.hdf5_state import FileState, file_state
from xfel_apps.sources.raw import RawFile

FAST = 1e6


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = SimulateSettings.checked(
        {
            "shots": 10,
            "shots_per_file": 4,
            "crystal": {"cell": (50, 50, 40, 90, 90, 90), "d_min_ang": 2.5},
            "detector": {"modules": (2, 1), "module_px": (48, 64), "dead_fraction": 0.01},
        }
    )
    return simulate(settings, tmp_path_factory.mktemp("run"), mpi.serial())


def same_frame(found: RawFile, frame: int, expected: RawFile, number: int) -> None:
    np.testing.assert_array_equal(found.pixels(frame), expected.pixels(number))
    np.testing.assert_array_equal(found.mask(frame), expected.mask(number))
    assert found.beam(frame) == expected.beam(number)
    assert found.scalars(frame) == expected.scalars(number)
    assert found.detector(frame) == expected.detector(number)


def test_the_same_run_and_again_from_its_start(run: Path, tmp_path: Path) -> None:
    pace = replay(run, tmp_path / "a.h5", ReplayPlan(FAST, shots=13))
    assert pace.n_frames == 13
    found, expected = open_raw(tmp_path / "a.h5"), open_raw(run)
    assert found.n_frames == 13
    for frame in range(13):
        same_frame(found, frame, expected, frame % 10)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["entry/data/data"].chunks == (1, 96, 64)
        assert file["entry/data/data"].id.get_create_plist().get_nfilters() == 1


def test_one_file_for_so_many_frames(run: Path, tmp_path: Path) -> None:
    replay(run, tmp_path / "raw" / "a.h5", ReplayPlan(FAST, shots_per_file=4))
    files = sorted((tmp_path / "raw").iterdir())
    assert [path.name for path in files] == ["a_000001.h5", "a_000002.h5", "a_000003.h5"]
    assert [open_raw(path).n_frames for path in files] == [4, 4, 2]
    same_frame(open_raw(files[2]), 1, open_raw(run), 9)


def test_frames_come_at_their_time_and_can_be_read_at_once(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    command = [sys.executable, "-c", "from xfel_apps.cli import main; main()", "replay", str(run)]
    command += ["--out", str(path), "--rate-hz", "8"]
    begin_s = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        counts: list[int] = []
        while writer.poll() is None:
            if path.exists() and file_state(path) is FileState.GROWING:
                raw = open_raw(path)
                counts.append(raw.n_frames)
                if raw.n_frames:
                    assert raw.beam(raw.n_frames - 1).wavelength_ang > 1
                    assert raw.pixels(raw.n_frames - 1).any()
                raw.close()
            time.sleep(0.02)
        assert writer.stdout is not None
        assert "10 frames in" in writer.stdout.read()
    assert time.monotonic() - begin_s > 9 / 8
    assert counts == sorted(counts)
    assert len(set(counts)) > 1


def test_bad_input_is_one_clear_line(run: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="choose another --out"):
        replay(run, run, ReplayPlan(FAST))
    unchunked = write_nxmx(tmp_path / "a.h5", np.zeros((2, 6, 8), "i4"))
    with pytest.raises(SourceError, match=r"chunks of None; a replay needs one chunk a frame"):
        replay(unchunked, tmp_path / "b.h5", ReplayPlan(FAST))
    with pytest.raises(SourceError, match="no NXentry"):
        replay(run.with_name("run_data_000001.h5"), tmp_path / "b.h5", ReplayPlan(FAST))
    assert not (tmp_path / "b.h5").exists()
