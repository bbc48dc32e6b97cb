"""What the first bytes of an HDF5 file say: whether it is whole, or another process writes it.

Source: HDF5 File Format Specification 4.0, II.A (superblock; its "file consistency flags" say
that a writer has the file open, and whether readers may look on: SWMR, single writer and multiple
readers).
"""

import os
from enum import Enum
from itertools import product
from pathlib import Path
from typing import Any

import h5py

from xfel_apps.errors import SourceError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
SUPERBLOCK_BYTES = 64
FLAGS_AT = 11
OPEN_FOR_WRITING, OPEN_FOR_SWMR = 0x01, 0x04
END_AT = {0: 40, 1: 44, 2: 28, 3: 28}
"""Version of the superblock -> where the address of the file's end is."""


class FileState(Enum):
    """What can be done with an HDF5 file now."""

    WHOLE = "whole"
    GROWING = "growing"
    """A writer appends to it, or was killed; what is there can be read (SWMR)."""
    UNFINISHED = "unfinished"
    """Cut short, or a writer has it open and nobody else can read it."""


def is_hdf5(path: Path) -> bool:
    """Return whether the file begins as an HDF5 file does."""
    with path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def file_state(path: Path) -> FileState:
    """Return the state of the HDF5 file, from its superblock and size."""
    try:
        with path.open("rb") as file:
            head = file.read(SUPERBLOCK_BYTES)
            size = os.fstat(file.fileno()).st_size
    except OSError as err:
        raise SourceError(f"{path}: cannot read this file ({err})") from err
    version = head[8] if len(head) > FLAGS_AT else -1
    if version not in END_AT or not head.startswith(SIGNATURE):
        return FileState.UNFINISHED
    flags = head[FLAGS_AT] if version == max(END_AT) else 0
    if flags & OPEN_FOR_SWMR:
        return FileState.GROWING
    end = int.from_bytes(head[END_AT[version] : END_AT[version] + 8], "little")
    whole = not flags & OPEN_FOR_WRITING and end <= size
    return FileState.WHOLE if whole else FileState.UNFINISHED


def grows(item: Any) -> bool:
    """Return whether rows may still be added to the dataset `item`."""
    if not isinstance(item, h5py.Dataset) or not item.maxshape:
        return False
    return bool(item.file.swmr_mode and item.maxshape[0] is None)


def written_frames(dataset: h5py.Dataset) -> int:
    """Return how many frames, from the first on, are on disk.

    HDF5 gives the fill value for what lies within the shape and was not written; where chunks are
    missing, frames are taken to be written in order.
    """
    low, high = 0, int(dataset.shape[0])
    if dataset.chunks is None or high == 0 or _is_written(dataset, high - 1):
        return high
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if _is_written(dataset, middle) else (low, middle)
    return low


def _is_written(dataset: h5py.Dataset, frame: int) -> bool:
    """Return whether all chunks of a frame are there."""
    steps = [range(0, n, step) for n, step in zip(dataset.shape, dataset.chunks, strict=True)][1:]
    return all(
        dataset.id.get_chunk_info_by_coord((frame, *place)).byte_offset is not None
        for place in product(*steps)
    )
