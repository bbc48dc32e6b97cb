"""One frame of an HDF5 dataset; frames compressed by gzip are decompressed by libdeflate.

HDF5 inflates with zlib, which takes most of the time that a gzipped frame takes from disk to
spots: 1 Mpx of 4-byte counts 10 ms instead of 2. Everything else (bitshuffle and LZ4, Blosc,
virtual datasets, no compression) HDF5 reads as fast as can be.
"""

import math
from itertools import product
from typing import Any

import deflate
import h5py
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

DEFLATE, SHUFFLE = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE


def read_frame(dataset: h5py.Dataset, index: int) -> NDArray[Any]:
    """Return frame `index` of a dataset (frames, ...), or its only one (slow, fast)."""
    if dataset.ndim < 3:
        return np.asarray(dataset[()])
    if _inflates(dataset):
        frame = _inflated(dataset, index)
        if frame is not None:
            return frame
    return np.asarray(dataset[index])


def _inflates(dataset: h5py.Dataset) -> bool:
    """Return whether each frame is in chunks of its own with gzip, shuffled or not, alone."""
    if dataset.chunks is None or dataset.chunks[0] != 1 or dataset.compression != "gzip":
        return False
    is_plain = dataset.dtype.kind in "iuf" and dataset.dtype.isnative
    return is_plain and not dataset.fletcher32 and dataset.scaleoffset is None


def _inflated(dataset: h5py.Dataset, index: int) -> NDArray[Any] | None:
    """Return a frame from its chunks; None where one is missing, damaged or not as all others."""
    frame = np.empty(dataset.shape[1:], dataset.dtype)
    sizes, shuffled = dataset.chunks[1:], bool(dataset.shuffle)
    n_bytes = math.prod(sizes) * frame.itemsize
    starts = [range(0, n, size) for n, size in zip(frame.shape, sizes, strict=True)]
    for corner in product(*starts):
        try:
            filters_off, stored = dataset.id.read_direct_chunk((index, *corner))
            content = deflate.zlib_decompress(stored, n_bytes)
        except (OSError, RuntimeError, ValueError, deflate.DeflateError):
            return None
        if filters_off or len(content) != n_bytes:
            return None
        chunk = _values(content, frame.dtype, shuffled=shuffled).reshape(sizes)
        if chunk.shape == frame.shape:
            return chunk
        room = frame[tuple(slice(c, c + size) for c, size in zip(corner, sizes, strict=True))]
        room[...] = chunk[tuple(slice(0, n) for n in room.shape)]
    return frame


def _values(content: bytearray, dtype: np.dtype[Any], *, shuffled: bool) -> NDArray[Any]:
    """Return the values (n,) of a chunk: shuffled, the first bytes of all come first.

    >>> _values(bytearray([1, 2, 0, 1]), np.dtype("<u2"), shuffled=True).tolist()
    [1, 258]
    """
    if not shuffled or dtype.itemsize == 1:
        return np.frombuffer(content, dtype)
    planes: Bytes = np.frombuffer(content, np.uint8).reshape(dtype.itemsize, -1)
    if dtype.itemsize > 4 or not dtype.str.startswith("<"):
        return np.ascontiguousarray(planes.T).view(dtype).ravel()
    values = planes[-1].astype(f"<u{dtype.itemsize}")
    for plane in planes[-2::-1]:
        values <<= 8
        values |= plane
    return np.asarray(values.view(dtype))
