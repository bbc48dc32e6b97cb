"""Raw files that another process is writing: what is whole can be read, the rest is to come."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests import growing_nxmx
from tests.growing_nxmx import Writer
from tests.small_nxmx import write_nxmx
from tests.sources.test_cbf import write_mini
from xfel_apps.errors import NotYetError, SourceError
from xfel_apps.sources import FrameCache, open_raw
from xfel_apps.sources.hdf5_state import FileState, file_state
from xfel_apps.sources.raw import RawFile


def looked_at(path: Path) -> RawFile:
    """Return the file as it is now; closed, so that its numbers only can be asked."""
    raw = open_raw(path)
    raw.close()
    return raw


def frames(n: int, first: int = 0) -> np.ndarray:
    return np.stack([growing_nxmx.frame(first + i) for i in range(n)])


def test_a_frame_counts_once_all_that_belongs_to_it_is_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with Writer(path) as writer:
        assert file_state(path) is FileState.GROWING
        assert looked_at(path).n_frames == 0
        writer.do("frames", 2)
        assert looked_at(path).n_frames == looked_at(path).n_complete() == 2
        writer.do("data", 3)
        assert looked_at(path).n_frames == 2
        writer.do("rows", 2)
        assert looked_at(path).n_frames == 4
        writer.do("rows", 1)
        writer.do("shape", 3)
        writer.do("rows", 3)
        raw = open_raw(path)
        assert raw.n_frames == 5
        np.testing.assert_array_equal(raw.pixels(4), growing_nxmx.frame(4))
        assert raw.beam(4).wavelength_ang == pytest.approx(1.3 * 1.04)
        assert raw.scalars(3) == pytest.approx(
            {"timestamp_s": 1030, "laser_on": 1, "pulse_energy_mj": 1.03, "jet_speed": 5.15}
        )
        raw.close()


def test_the_cache_finds_frames_that_came_after_it_opened_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with Writer(path) as writer:
        writer.do("frames", 1)
        cache = FrameCache()
        assert cache.pixels(path, 0)[0, 0] == 100
        with pytest.raises(SourceError, match="no frame 3, it has 1"):
            cache.pixels(path, 3)
        writer.do("frames", 3)
        assert cache.pixels(path, 3)[0, 0] == 103
        writer.do("frames")
        writer.do("close")
        assert cache.pixels(path, 4)[0, 0] == 104
        cache.close()


def test_what_a_killed_writer_left_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with Writer(path) as writer:
        writer.do("frames", 3)
        writer.kill()
    raw = open_raw(path)
    assert raw.n_frames == 3
    assert raw.pixels(2)[0, 0] == 102
    raw.close()


def test_a_file_that_cannot_be_opened_yet_is_told_from_a_broken_one(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with Writer(path, swmr=False) as writer:
        writer.do("frames", 3)
        with pytest.raises(NotYetError, match=r"a\.h5: another process is writing"):
            open_raw(path)
        writer.do("close")
        assert looked_at(path).n_frames == 3
    whole = write_nxmx(tmp_path / "b.h5", frames(3))
    os.truncate(whole, whole.stat().st_size - 1)
    for empty_or_cut in (tmp_path / "new.h5", whole):
        empty_or_cut.touch()
        with pytest.raises(NotYetError):
            open_raw(empty_or_cut)
    write_nxmx(tmp_path / "c.h5", frames(3), data__data=None)
    with pytest.raises(SourceError, match="no dataset of frames") as caught:
        open_raw(tmp_path / "c.h5")
    assert not isinstance(caught.value, NotYetError)


def test_linked_files_count_from_the_first_one_on(tmp_path: Path) -> None:
    """Numbers behind a file that grows are not certain yet: they are looked at again."""
    master = write_nxmx(tmp_path / "x_master.h5", frames(1), data__data=None)
    files = [tmp_path / f"x_data_{number:06d}.h5" for number in (1, 2, 3)]
    with h5py.File(master, "a") as file:
        for path in files:
            file[f"entry/data/{path.stem[2:]}"] = h5py.ExternalLink(path.name, "entry/data/data")
    with pytest.raises(SourceError, match="linked file is missing"):
        open_raw(master)
    write_nxmx(files[0], frames(2))
    assert looked_at(master).n_complete() == 2
    write_nxmx(files[2], frames(2, first=7))
    assert looked_at(master).n_complete() == 2
    with Writer(files[1]) as writer:
        writer.do("frames", 1)
        assert looked_at(master).n_complete() == 3
        cache = FrameCache()
        assert cache.pixels(master, 3)[0, 0] == 107
        writer.do("frames", 2)
        assert looked_at(master).n_complete() == 5
        writer.do("close")
    assert looked_at(master).n_complete() == 7
    assert [int(cache.pixels(master, i)[0, 0]) for i in (3, 5)] == [101, 107]
    cache.close()


def test_a_virtual_dataset_counts_up_to_the_first_file_that_is_not_whole(tmp_path: Path) -> None:
    master = write_nxmx(tmp_path / "v.h5", frames(1), data__data=None)
    layout = h5py.VirtualLayout((6, 6, 8), "i4")
    parts = [tmp_path / f"part{number}.h5" for number in range(3)]
    for number, part in enumerate(parts):
        layout[2 * number : 2 * number + 2] = h5py.VirtualSource(part.name, "data", (2, 6, 8))
    with h5py.File(master, "a") as file:
        file.create_virtual_dataset("entry/data/data", layout, fillvalue=-1)
    cache = FrameCache()
    for number, part in enumerate(parts):
        assert looked_at(master).n_complete() == 2 * number
        with pytest.raises(SourceError, match=f"{part.name}: file of a virtual dataset"):
            cache.pixels(master, 2 * number)
        with h5py.File(part, "w") as file:
            file["data"] = frames(2, first=2 * number)
        size = part.stat().st_size
        os.truncate(part, size - 100)
        assert looked_at(master).n_complete() == 2 * number
        with pytest.raises(SourceError, match=f"{part.name}: file of a virtual .* cut short"):
            cache.pixels(master, 2 * number)
        with h5py.File(part, "w") as file:
            file["data"] = frames(2, first=2 * number)
        assert cache.pixels(master, 2 * number + 1)[0, 0] == 101 + 2 * number
    assert looked_at(master).n_complete() == 6
    cache.close()


def test_a_cbf_file_counts_once_its_image_is_whole(tmp_path: Path) -> None:
    whole = write_mini(tmp_path / "a.cbf", np.arange(35).reshape(5, 7)).read_bytes()
    path = tmp_path / "b.cbf"
    start = whole.index(b"\x0c\x1a\x04\xd5")
    for size in (20, start - 30, start, start + 20):
        path.write_bytes(whole[:size])
        assert open_raw(path).n_complete() == 0
    with pytest.raises(NotYetError, match="cut short"):
        open_raw(path).pixels(0)
    path.write_bytes(whole)
    assert open_raw(path).n_complete() == 1
