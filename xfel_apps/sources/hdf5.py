"""HDF5 files and the stacks of frames in them: one dataset, a virtual one, or many linked files."""

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - registers bitshuffle, LZ4, Blosc and others
import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import SourceError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
N_LINKED_OPEN = 4


def is_hdf5(path: Path) -> bool:
    """Return whether the file begins as an HDF5 file does."""
    with path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def open_hdf5(path: Path) -> h5py.File:
    """Return the HDF5 file, open for reading; disks that cannot lock are no hindrance."""
    try:
        return h5py.File(path, "r", locking="best-effort")
    except OSError as err:
        raise SourceError(f"{path}: not a complete HDF5 file ({err})") from err


@contextmanager
def reading(path: Path, item: str) -> Iterator[None]:
    """Turn what h5py raises into a `SourceError` that names the file and the item."""
    try:
        yield
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as err:
        raise SourceError(f"{path}: cannot read {item} ({err})") from err


@dataclass(frozen=True)
class Block:
    """Frames that lie one after the other in one dataset.

    Attributes
    ----------
    start, count : first frame and number of frames
    path, name : file and dataset
    problem : why they cannot be read; empty if they can
    """

    start: int
    count: int
    path: Path
    name: str
    problem: str = ""


@dataclass(frozen=True)
class _Dataset:
    """A dataset as it was found: the shape (frames, ...) and dtype, or a problem instead."""

    path: Path
    name: str
    shape: tuple[int, ...] = ()
    dtype: Any = None
    problem: str = ""


class FrameStack:
    """The frames of one or more datasets as one stack.

    Parameters
    ----------
    file, path : master file
    names : datasets that hold the frames, in order; external links are followed
    n_expected : frames in all, if the master says so; what a missing file held is guessed from it

    Attributes
    ----------
    n_frames : number of frames
    frame_shape : (slow, fast), or (module, slow, fast)
    dtype : of the pixels
    """

    def __init__(
        self, file: h5py.File, path: Path, names: Sequence[str], n_expected: int = 0
    ) -> None:
        self.path = path
        self._master = file
        self._linked: OrderedDict[Path, h5py.File] = OrderedDict()
        found = [_look(file, path, name) for name in names]
        sound = [item for item in found if not item.problem]
        if not sound:
            problems = "; ".join(item.problem for item in found) or "no dataset of frames"
            raise SourceError(f"{path}: {problems}")
        self.frame_shape = sound[0].shape[1:]
        self.dtype = np.dtype(sound[0].dtype)
        self.blocks = _blocks(found, self.frame_shape, n_expected)
        self.n_frames = self.blocks[-1].start + self.blocks[-1].count
        self._starts = np.array([block.start for block in self.blocks])
        self._missing = missing_sources(file, path, names) if len(names) == 1 else []

    def block(self, frame: int) -> Block:
        """Return the block that holds a frame."""
        return self.blocks[int(np.searchsorted(self._starts, frame, side="right")) - 1]

    def problem(self, frame: int) -> str:
        """Return why the frame cannot be read, as known without reading it; empty if it can."""
        for start, stop, problem in self._missing:
            if start <= frame < stop:
                return problem
        return self.block(frame).problem

    def read(self, frame: int) -> NDArray[Any]:
        """Return one frame in `frame_shape`."""
        problem = self.problem(frame)
        if problem:
            raise SourceError(problem)
        block = self.block(frame)
        with reading(block.path, f"frame {frame - block.start} of {block.name}"):
            dataset = self._file(block.path)[block.name]
            data = dataset[frame - block.start] if dataset.ndim > 2 else dataset[()]
        return np.asarray(data)

    def _file(self, path: Path) -> h5py.File:
        if path == self.path:
            return self._master
        if path not in self._linked:
            while len(self._linked) >= N_LINKED_OPEN:
                self._linked.popitem(last=False)[1].close()
            self._linked[path] = open_hdf5(path)
        self._linked.move_to_end(path)
        return self._linked[path]

    def close(self) -> None:
        """Close the linked files; the master is its opener's."""
        while self._linked:
            self._linked.popitem()[1].close()


def _look(file: h5py.File, path: Path, name: str) -> _Dataset:
    """Return what dataset `name` is, with the file it really lies in."""
    link = file.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        target = path.parent / os.fsdecode(link.filename)
        if not target.is_file():
            return _Dataset(
                target, link.path, problem=f"{target}: linked file is missing ({name} of {path})"
            )
        try:
            with open_hdf5(target) as linked:
                return _describe(linked, target, link.path)
        except SourceError as err:
            return _Dataset(target, link.path, problem=str(err))
    return _describe(file, path, name)


def _describe(file: h5py.File, path: Path, name: str) -> _Dataset:
    """Return shape and dtype of a dataset of frames; two dimensions are one frame."""
    try:
        dataset = file[name]
        shape = tuple(dataset.shape)
    except (KeyError, OSError, RuntimeError, AttributeError) as err:
        return _Dataset(path, name, problem=f"{path}: no dataset {name} ({err})")
    if not 2 <= len(shape) <= 4:
        return _Dataset(
            path,
            name,
            problem=f"{path}: {name} has shape {shape}; expected (frames, slow, fast) or "
            "(frames, modules, slow, fast)",
        )
    return _Dataset(path, name, shape if len(shape) > 2 else (1, *shape), dataset.dtype)


def _blocks(
    found: Sequence[_Dataset], frame_shape: tuple[int, ...], n_expected: int
) -> list[Block]:
    """Return the blocks of a stack; a missing one keeps its place, so that numbers stay."""
    counts = [None if item.problem else item.shape[0] for item in found]
    known = [count for count in counts if count is not None]
    rest = n_expected - sum(known)
    guess = rest if counts.count(None) == 1 and rest > 0 else known[0]
    blocks, start = [], 0
    for item, count in zip(found, counts, strict=True):
        problem = item.problem
        if not problem and item.shape[1:] != frame_shape:
            problem = (
                f"{item.path}: frames of {item.name} have shape {item.shape[1:]}, "
                f"expected {frame_shape}"
            )
        size = guess if count is None else count
        blocks.append(Block(start, size, item.path, item.name, problem))
        start += size
    return blocks


def missing_sources(
    file: h5py.File, path: Path, names: Sequence[str]
) -> list[tuple[int, int, str]]:
    """Return (first frame, end, problem) of the missing files of a virtual dataset.

    HDF5 itself would give the fill value for them and say nothing.
    """
    dataset = file.get(names[0])
    if dataset is None or not dataset.is_virtual:
        return []
    missing = []
    for source in dataset.virtual_sources():
        target = path.parent / source.file_name
        if source.file_name == "." or target.is_file() or Path(source.file_name).is_file():
            continue
        first, last = source.vspace.get_select_bounds()
        problem = f"{target}: file of a virtual dataset is missing ({names[0]} of {path})"
        missing.append((int(first[0]), int(last[0]) + 1, problem))
    return missing
