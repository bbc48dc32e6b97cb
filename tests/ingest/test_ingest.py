"""ingest: every frame becomes one event, in order, whatever is wrong with some of them."""

import os
import subprocess
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.ranks import on_ranks
from tests.small_nxmx import write_nxmx
from xfel_apps.containers.events import EVENTS, Events
from xfel_apps.containers.manifest import open_product
from xfel_apps.containers.outcome import Outcome
from xfel_apps.errors import SettingsError, SourceError, XfelError
from xfel_apps.ingest.__main__ import main
from xfel_apps.ingest.run import ingest
from xfel_apps.ingest.settings import IngestSettings


def frames(n: int, shape: tuple[int, int] = (6, 8)) -> np.ndarray:
    return np.arange(n * shape[0] * shape[1], dtype="i4").reshape(n, *shape)


def run_ingest(tmp_path: Path, *paths: Path, **settings: object) -> Events:
    manifest = tmp_path / "r1" / "events.json"
    ingest("r1", [str(p) for p in paths], IngestSettings.checked(settings), manifest)
    return Events.read(manifest)


def test_events_know_where_each_frame_lies(tmp_path: Path) -> None:
    a = write_nxmx(
        tmp_path / "a.h5", frames(3), instrument__beam__incident_wavelength=[1.1, 1.2, 1.3]
    )
    b = write_nxmx(tmp_path / "b.h5", frames(2))
    events = run_ingest(tmp_path, a, b)
    assert events.manifest.n_events == 5
    assert [events.location(i) for i in (0, 2, 3, 4)] == [(a, 0), (a, 2), (b, 0), (b, 1)]
    ids = [text.decode() for text in events.frame["shot_id"]]
    assert ids == ["r1:a.h5:0", "r1:a.h5:1", "r1:a.h5:2", "r1:b.h5:0", "r1:b.h5:1"]
    assert events.beam(1).wavelength_ang == pytest.approx(1.2)
    assert list(events.pending) == [0, 1, 2, 3, 4]
    assert list(events.frame["complete_s"]) == [p.stat().st_mtime for p in (a, a, a, b, b)]


def test_equal_detectors_share_one_entry(tmp_path: Path) -> None:
    a, b = (write_nxmx(tmp_path / f"{name}.h5", frames(2)) for name in "ab")
    c = write_nxmx(tmp_path / "c.h5", frames(1, (4, 4)))
    events = run_ingest(tmp_path, a, b, c)
    assert list(events.frame["detector"]) == [0, 0, 0, 0, 1]
    assert [detector.slab_shape for detector in events.detectors] == [(6, 8), (4, 4)]


def test_scalars_and_filter(tmp_path: Path) -> None:
    path = write_nxmx(
        tmp_path / "a.h5",
        frames(4),
        laser_on=np.array([1, 0, 1, 1]),
        instrument__beam__pulse_energy_mj=[0.2, 0.9, 0.8, 0.6],
        instrument__jet_speed=[1.0, 2.0, 3.0, 4.0],
    )
    events = run_ingest(tmp_path, path, filter="pulse_energy_mj > 0.5 and laser_on")
    assert [str(o) for o in events.outcomes.values()] == [
        "filtered", "filtered", "pending", "pending",
    ]  # fmt: skip
    assert events.manifest.outcomes["filtered"] == 2
    assert events.frame["reason"][0] == "not pulse_energy_mj > 0.5 and laser_on"
    assert list(events.frame["laser_on"]) == [1, 0, 1, 1]
    _, reader = open_product(tmp_path / "r1" / "events.json", EVENTS)
    table = reader.frame("scalars")
    reader.close()
    assert list(table["name"].unique()) == ["jet_speed"]
    assert list(table["value"]) == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("pulse_energy > 0.5", "known: frame, wavelength_ang"),
        ("laser_on", "laser_on is not a scalar of this run"),
        ("frame >", "not an expression"),
        ("frame + 1", "expected true or false"),
        ("__import__('os')", "not allowed"),
    ],
)
def test_a_bad_filter_is_one_clear_line(tmp_path: Path, expression: str, message: str) -> None:
    path = write_nxmx(tmp_path / "a.h5", frames(2))
    with pytest.raises(SettingsError, match=message) as caught:
        run_ingest(tmp_path, path, filter=expression)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "r1" / "events.json").exists()


def test_a_truncated_file_is_one_failed_event(tmp_path: Path) -> None:
    a, bad, c = (write_nxmx(tmp_path / f"{name}.h5", frames(2)) for name in ("a", "bad", "c"))
    os.truncate(bad, bad.stat().st_size // 2)
    events = run_ingest(tmp_path, tmp_path)
    assert events.manifest.outcomes["failed"] == 1
    assert events.outcomes[2] == Outcome.FAILED
    assert str(bad) in events.frame["reason"][2]
    assert [events.location(i) for i in events.pending] == [(a, 0), (a, 1), (c, 0), (c, 1)]


def test_frames_of_a_missing_linked_file_fail_and_numbers_stay(tmp_path: Path) -> None:
    master = write_nxmx(tmp_path / "x_master.h5", frames(2), data__data=None)
    for number in (1, 2, 3):
        with h5py.File(tmp_path / f"x_data_{number:06d}.h5", "w") as file:
            file["entry/data/data"] = frames(2)
        with h5py.File(master, "a") as file:
            name = f"data_{number:06d}"
            file[f"entry/data/{name}"] = h5py.ExternalLink(f"x_{name}.h5", "entry/data/data")
    whole = run_ingest(tmp_path, tmp_path)
    (tmp_path / "x_data_000002.h5").unlink()
    events = run_ingest(tmp_path, tmp_path)
    assert list(whole.pending) == list(range(6))
    assert list(events.pending) == [0, 1, 4, 5]
    assert list(events.frame["shot_id"]) == list(whole.frame["shot_id"])
    assert "x_data_000002.h5: linked file is missing" in events.frame["reason"][2]


@pytest.mark.parametrize("how", ["no frames", "no images", "no such file", "all broken"])
def test_an_empty_run_is_an_error(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    path = folder / "a.h5"
    if how == "no frames":
        write_nxmx(path, frames(0))
    if how == "all broken":
        path.write_bytes(b"\x89HDF\r\n\x1a\n and then nothing")
    given = path if how == "no such file" else folder
    with pytest.raises(SourceError, match=r"a\.h5|raw|run r1 is empty"):
        run_ingest(tmp_path, given)


def test_overrides_of_wavelength_distance_and_gain(tmp_path: Path) -> None:
    path = write_nxmx(tmp_path / "a.h5", frames(2), instrument__beam__incident_wavelength=None)
    with pytest.raises(XfelError, match="wavelength"):
        run_ingest(tmp_path, path)
    events = run_ingest(tmp_path, path, wavelength_ang=1.5, distance_mm=100.0, gain=7.5)
    assert events.beam(0).wavelength_ang == 1.5
    (panel,) = events.detector(0).panels
    assert panel.origin_mm == pytest.approx((-0.4, 0.3, -100.0))
    assert panel.gain == 7.5


def test_max_events_takes_the_first_shots(tmp_path: Path) -> None:
    events = run_ingest(tmp_path, write_nxmx(tmp_path / "a.h5", frames(5)), max_events=3)
    assert list(events.frame["frame"]) == [0, 1, 2]


def test_the_digest_follows_settings_and_files(tmp_path: Path) -> None:
    path = write_nxmx(tmp_path / "a.h5", frames(2))
    first = run_ingest(tmp_path, path).manifest.digest
    assert run_ingest(tmp_path, path).manifest.digest == first
    assert run_ingest(tmp_path, path, filter="frame > 0").manifest.digest != first
    os.utime(path, (1, 1))
    assert run_ingest(tmp_path, path).manifest.digest != first


def test_a_mask_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = write_nxmx(tmp_path / "a.h5", frames(1))
    np.savez(tmp_path / "mask.npz", mask=np.zeros((3, 3)))
    with pytest.raises(SourceError, match=r"mask of \(3, 3\).*\(6, 8\)"):
        run_ingest(tmp_path, path, mask=tmp_path / "mask.npz")


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_nxmx(tmp_path / "a.h5", frames(2))
    manifest = tmp_path / "out" / "events.json"
    assert main(["--events", str(manifest), "--run", "r7", str(path)]) == 0
    assert "ingest r7: 2 events: 2 pending" in capsys.readouterr().out
    assert main(["--events", str(manifest), "--run", "r7", str(tmp_path / "none.h5")]) == 1
    assert "none.h5: no such file" in capsys.readouterr().err


def test_ten_thousand_events_in_a_second_or_two(tmp_path: Path) -> None:
    n = 10_000
    path = write_nxmx(
        tmp_path / "a.h5", np.zeros((n, 2, 2), "u2"), instrument__jet=np.arange(n) / 7
    )
    start = time.process_time()
    events = run_ingest(tmp_path, path)
    assert events.manifest.n_events == n
    assert time.process_time() - start < 5.0


def test_a_folder_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_nxmx(tmp_path / "a.h5", frames(2))
    (tmp_path / "file").touch()
    manifest = tmp_path / "file" / "events.json"
    assert main(["--events", str(manifest), "--run", "r7", str(path)]) == 1
    error = capsys.readouterr().err
    assert "cannot write here" in error
    assert error.count("\n") == 1


def test_on_several_ranks_the_work_is_done_and_an_error_said_once(tmp_path: Path) -> None:
    path = write_nxmx(tmp_path / "a.h5", frames(3))
    command = on_ranks(2, "-m", "xfel_apps.ingest", "--run", "r1", str(path))
    command += ["--events", str(tmp_path / "r1" / "events.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.count("ingest r1: 3 events: 3 pending") == 1
    command += ["--settings", '{"filter": "nothing > 1"}']
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1
    assert done.stderr.count("nothing is not a scalar of this run") == 1


def test_ranks_of_srun_that_do_not_see_one_another_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_nxmx(tmp_path / "a.h5", frames(2))
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    assert main([str(path), "--run", "r1", "--events", str(tmp_path / "events.json")]) == 1
    assert "srun started 4 ranks, but MPI sees one" in capsys.readouterr().err
    assert not (tmp_path / "events.json").exists()
