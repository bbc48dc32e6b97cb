"""Frames read chunk by chunk are those that HDF5 itself reads."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from xfel_apps.errors import SourceError
from xfel_apps.sources.chunks import read_frame
from xfel_apps.sources.hdf5 import FrameStack

SHAPE = (3, 50, 70)


def written(path: Path, dtype: str, **options: object) -> np.ndarray:
    values = np.random.default_rng(3).poisson(40.0, SHAPE).astype(dtype)
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=values, **options)
    return values


@pytest.mark.parametrize("dtype", ["u1", "<u2", "<i4", "<f4", "<f8", ">i4"])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("chunks", [(1, 50, 70), (1, 20, 32), (2, 50, 70)])
def test_gzip(tmp_path: Path, dtype: str, shuffle: bool, chunks: tuple[int, ...]) -> None:
    options = {"compression": "gzip", "shuffle": shuffle, "chunks": chunks}
    values = written(tmp_path / "a.h5", dtype, **options)
    with h5py.File(tmp_path / "a.h5") as file:
        for index, expected in enumerate(values):
            found = read_frame(file["data"], index)
            assert found.dtype == expected.dtype
            assert found.flags.writeable
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "lzf", "chunks": (1, 50, 70)},
        {"compression": "gzip", "fletcher32": True, "chunks": (1, 50, 70)},
    ],
)
def test_other_storage(tmp_path: Path, options: dict[str, object]) -> None:
    values = written(tmp_path / "a.h5", "<u2", **options)
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(read_frame(file["data"], 1), values[1])


def test_modules_and_chunks_that_nobody_wrote(tmp_path: Path) -> None:
    """Frames of several modules; what is not there is the fill value, as HDF5 has it."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset(
            "data", (2, 3, 8, 9), "<i4", chunks=(1, 1, 8, 9), compression="gzip", fillvalue=-7
        )
        data[0] = np.arange(216).reshape(3, 8, 9)
        data[1, 1] = 5
        np.testing.assert_array_equal(read_frame(data, 0), data[0])
        expected = np.full((3, 8, 9), -7)
        expected[1] = 5
        np.testing.assert_array_equal(read_frame(data, 1), expected)


def test_damaged_chunks_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    written(path, "<i4", compression="gzip", chunks=(1, 50, 70))
    with h5py.File(path) as file:
        place = file["data"].id.get_chunk_info(1)
    with path.open("r+b") as raw:
        raw.seek(place.byte_offset + place.size // 2)
        raw.write(bytes(64))
    with h5py.File(path) as file:
        stack = FrameStack(file, path, ["data"])
        assert stack.read(0).shape == SHAPE[1:]
        with pytest.raises(SourceError, match="cannot read frame 1 of data"):
            stack.read(1)
