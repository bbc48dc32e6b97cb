"""A run looked at while it is written ends with the events that ingest finds in it at the end."""

import gzip
import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from tests import growing_nxmx
from tests.growing_nxmx import Writer
from tests.small_nxmx import write_nxmx
from tests.sources.test_cbf import write_mini
from xfel_apps.containers.events import Events
from xfel_apps.errors import SettingsError
from xfel_apps.ingest import growing
from xfel_apps.ingest.growing import GrowingRun
from xfel_apps.ingest.run import ingest
from xfel_apps.ingest.settings import IngestSettings
from xfel_apps.ingest.shots import Shot

COLUMNS = ["frame", "outcome", "wavelength_ang", "timestamp_s", "pulse_energy_mj", "laser_on"]


class Looker:
    """Looks at a folder again and again and keeps every chunk of new shots."""

    def __init__(self, folder: Path, told: Sequence[str] = (), **settings: object) -> None:
        self.folder = folder
        self.settings = IngestSettings.checked(settings)
        self.run = GrowingRun("r1", self.settings, told)
        self.chunks: list[Events] = []

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.*"))

    def look(self, files: Sequence[Path] = (), *, is_complete: bool = False) -> list[str]:
        """Return the identities of new shots, which become a chunk of their own."""
        shots: list[Shot] = self.run.look(files or self.files, is_complete=is_complete)
        if shots:
            manifest = self.folder.parent / f"chunk{len(self.chunks)}" / "events.json"
            assert self.run.write(manifest, shots).n_events == len(shots)
            self.chunks.append(Events.read(manifest))
        return [shot.shot_id for shot in shots]

    def together(self) -> pd.DataFrame:
        """Return the rows of all chunks by identity."""
        return pd.concat([table(events) for events in self.chunks]).sort_index()

    def batch(self) -> pd.DataFrame:
        """Return the rows that `ingest` gives."""
        manifest = self.folder.parent / "batch" / "events.json"
        ingest("r1", [str(path) for path in self.files], self.settings, manifest)
        return table(Events.read(manifest))

    def ends_as_batch(self) -> None:
        """Look for the last time and compare."""
        self.look(is_complete=True)
        assert not self.look(is_complete=True)
        pd.testing.assert_frame_equal(self.together(), self.batch().sort_index())


def table(events: Events) -> pd.DataFrame:
    rows = events.frame[COLUMNS].copy()
    rows["path"] = [str(events.location(event)[0]) for event in rows.index]
    rows["z_mm"] = [
        events.detector(e).panels[0].origin_mm[2] if o == "pending" else np.nan
        for e, o in rows["outcome"].items()
    ]
    rows.index = pd.Index([events.shot_id(event) for event in rows.index])
    return rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "raw"
    path.mkdir()
    return path


def frames(n: int, first: int = 0) -> np.ndarray:
    return np.stack([growing_nxmx.frame(first + i) for i in range(n)])


def test_one_file_that_grows(folder: Path) -> None:
    looker = Looker(folder, filter="laser_on or jet_speed > 5.12")
    with Writer(folder / "a.h5") as writer:
        assert looker.look() == []
        writer.do("frames", 2)
        assert looker.look() == ["r1:a.h5:0", "r1:a.h5:1"]
        writer.do("data", 3)
        assert looker.look() == []
        writer.do("rows", 3)
        assert len(looker.look()) == 3
        assert looker.look() == []
        writer.do("frames", 1)
        writer.do("close")
    looker.ends_as_batch()
    assert list(looker.together()["outcome"]) == [
        "filtered", "pending", "filtered", "pending", "pending", "pending",
    ]  # fmt: skip


def test_a_file_whose_writer_was_killed(folder: Path) -> None:
    looker = Looker(folder)
    with Writer(folder / "a.h5") as writer:
        writer.do("frames", 3)
        assert len(looker.look()) == 3
        writer.do("frames", 1)
        writer.do("data", 1)
        writer.kill()
    looker.ends_as_batch()
    assert len(looker.together()) == 4


def test_files_that_appear_one_by_one(folder: Path) -> None:
    """The last one is cut short: one failed event, told at the end."""
    looker = Looker(folder)
    for number in (1, 2, 10):
        path = write_nxmx(folder / f"a_{number:02d}.h5", frames(2))
        size = path.stat().st_size
        content = path.read_bytes()
        os.truncate(path, size // 2)
        assert looker.look() == []
        assert "not a complete HDF5 file" in looker.run.problems[path]
        if number != 10:
            path.write_bytes(content)
            assert looker.look() == [f"r1:a_{number:02d}.h5:{frame}" for frame in (0, 1)]
            assert not looker.run.problems
    looker.ends_as_batch()
    assert list(looker.together()["outcome"]) == ["pending"] * 4 + ["failed"]


def test_data_files_that_appear_behind_their_master(folder: Path) -> None:
    looker = Looker(folder)
    master = write_nxmx(folder / "x_master.h5", frames(1), data__data=None)
    names = [f"x_data_{number:06d}" for number in (1, 2, 3)]
    with h5py.File(master, "a") as file:
        for name in names:
            file[f"entry/data/{name[2:]}"] = h5py.ExternalLink(f"{name}.h5", "entry/data/data")
    os.utime(master, (1, 1))
    assert looker.look() == []
    with Writer(folder / f"{names[0]}.h5") as writer:
        for n_frames in (1, 2):
            writer.do("frames", n_frames)
            assert len(looker.look()) == n_frames
        writer.do("close")
    write_nxmx(folder / f"{names[2]}.h5", frames(2))
    assert looker.look() == []
    looker.ends_as_batch()
    assert list(looker.together()["outcome"].value_counts()) == [5, 3]


def test_files_that_appear_behind_a_virtual_dataset(folder: Path) -> None:
    looker = Looker(folder)
    parts = [folder / f"part{number}.raw" for number in range(3)]
    layout = h5py.VirtualLayout((6, 6, 8), "i4")
    for number, part in enumerate(parts):
        layout[2 * number : 2 * number + 2] = h5py.VirtualSource(part.name, "data", (2, 6, 8))
    master = write_nxmx(folder / "v.h5", frames(1), data__data=None)
    with h5py.File(master, "a") as file:
        file.create_virtual_dataset("entry/data/data", layout)
    os.utime(master, (1, 1))
    assert looker.look([master]) == []
    for number in (0, 1):
        with h5py.File(parts[number], "w") as file:
            file["data"] = frames(2)
        os.utime(parts[number], (number + 2, number + 2))
        assert len(looker.look([master])) == 2
    shots = looker.run.look([master], is_complete=True)
    assert len(shots) == 2
    assert all("part2.raw: file of a virtual dataset is missing" in s.problem for s in shots)


@pytest.mark.parametrize("suffix", [".cbf", ".cbf.gz"])
def test_cbf_files_that_appear_one_by_one(folder: Path, suffix: str) -> None:
    """The last one stays half: its header can be read, so it fails only when its pixels are."""
    looker = Looker(folder)
    pixels = np.arange(35).reshape(5, 7)
    whole = write_mini(folder.parent / "w.cbf", pixels).read_bytes()
    pack = gzip.compress if suffix.endswith("gz") else bytes
    half = pack(whole)[: len(pack(whole)) * 3 // 4]
    for number in range(3):
        path = folder / f"a_{number}{suffix}"
        path.write_bytes(half)
        assert looker.look() == []
        if number < 2:
            path.write_bytes(pack(whole))
            assert looker.look() == [f"r1:{path.name}:0"]
    looker.ends_as_batch()


def test_what_has_not_changed_is_not_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looker = Looker(folder)
    for name in "ab":
        write_nxmx(folder / f"{name}.h5", frames(2))
        os.utime(folder / f"{name}.h5", (1, 1))
    (folder / "broken.h5").write_bytes(b"\x89HDF")
    os.utime(folder / "broken.h5", (1, 1))
    assert len(looker.look()) == 4
    opened: list[str] = []
    real = growing.open_source

    def note(path: Path, settings: IngestSettings) -> object:
        opened.append(path.name)
        return real(path, settings)

    monkeypatch.setattr(growing, "open_source", note)
    assert looker.look() == []
    assert opened == []
    write_nxmx(folder / "b.h5", frames(3))
    assert looker.look() == ["r1:b.h5:2"]
    assert opened == ["b.h5"]


def test_a_second_process_goes_on_where_the_first_one_stopped(folder: Path) -> None:
    first = Looker(folder, max_events=5)
    write_nxmx(folder / "a.h5", frames(2))
    told = first.look()
    write_nxmx(folder / "b.h5", frames(6))
    second = Looker(folder, told, max_events=5)
    assert second.look() == ["r1:b.h5:0", "r1:b.h5:1", "r1:b.h5:2"]
    assert second.look(is_complete=True) == []


def test_a_chunk_counts_only_its_own_files(folder: Path) -> None:
    looker = Looker(folder)
    for name in "abc":
        write_nxmx(folder / f"{name}.h5", frames(1))
    shots = looker.run.look(looker.files, is_complete=False)
    manifest = folder.parent / "chunk" / "events.json"
    looker.run.write(manifest, shots[1:])
    events = Events.read(manifest)
    assert [path.name for path in events.files] == ["b.h5", "c.h5"]
    assert events.location(1) == (folder / "c.h5", 0)


def test_a_filter_of_what_no_shot_has_is_refused(folder: Path) -> None:
    looker = Looker(folder, filter="pulse_energy > 1")
    write_nxmx(folder / "a.h5", frames(2))
    with pytest.raises(SettingsError, match="pulse_energy is not a scalar of this run"):
        looker.look()
