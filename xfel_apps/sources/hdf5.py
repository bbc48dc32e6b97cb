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

from xfel_apps.errors import NotYetError, SourceError
from xfel_apps.sources.chunks import read_frame
from xfel_apps.sources.hdf5_state import FileState, file_state, written_frames
from xfel_apps.sources.virtual import missing_sources, problem_of

N_LINKED_OPEN = 4


def open_hdf5(path: Path) -> h5py.File:
    """Return the HDF5 file, open for reading, also one that another process appends to (SWMR).

    Disks that cannot lock are no hindrance.
    """
    state = file_state(path)
    options = {"libver": "latest", "swmr": True} if state is FileState.GROWING else {}
    try:
        return h5py.File(path, "r", locking="best-effort", **options)
    except BlockingIOError as err:
        raise NotYetError(f"{path}: another process is writing this file ({err})") from err
    except OSError as err:
        kind = NotYetError if state is FileState.UNFINISHED else SourceError
        raise kind(f"{path}: not a complete HDF5 file ({err})") from err


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
    grows : more may come, which moves what lies behind
    """

    start: int
    count: int
    path: Path
    name: str
    problem: str = ""
    grows: bool = False


@dataclass(frozen=True)
class _Dataset:
    """A dataset as it was found: the shape (frames, ...) and dtype, or a problem instead."""

    path: Path
    name: str
    shape: tuple[int, ...] = ()
    dtype: Any = None
    problem: str = ""
    grows: bool = False


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
    n_known : as many as were whole on disk when the file was opened, one after the other
    awaits : files that cannot be read or grow
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
            linked = [item.path for item in found if item.path != path]
            raise (
                NotYetError(f"{path}: {problems}", linked)
                if linked
                else SourceError(f"{path}: {problems}")
            )
        self.frame_shape = sound[0].shape[1:]
        self.dtype = np.dtype(sound[0].dtype)
        self.blocks = _blocks(found, self.frame_shape, n_expected)
        self.n_frames = self.blocks[-1].start + self.blocks[-1].count
        self._starts = np.array([block.start for block in self.blocks])
        self._missing = missing_sources(file, path, names) if len(names) == 1 else []
        self.n_known = min([_n_certain(self.blocks), *(item.start for item in self._missing)])
        self.awaits = tuple(
            [block.path for block in self.blocks if (block.problem or block.grows)]
            + [item.path for item in self._missing]
        )

    def limit(self, n_frames: int) -> None:
        """Take no more than the first `n_frames` frames; the others lack something yet."""
        self.n_frames = min(self.n_frames, n_frames)
        self.n_known = min(self.n_known, n_frames)

    def block(self, frame: int) -> Block:
        """Return the block that holds a frame."""
        return self.blocks[int(np.searchsorted(self._starts, frame, side="right")) - 1]

    def problem(self, frame: int) -> str:
        """Return why the frame cannot be read, as known without reading it; empty if it can."""
        return problem_of(self._missing, frame) or self.block(frame).problem

    def read(self, frame: int) -> NDArray[Any]:
        """Return one frame in `frame_shape`."""
        problem = self.problem(frame)
        if problem:
            raise SourceError(problem)
        block = self.block(frame)
        with reading(block.path, f"frame {frame - block.start} of {block.name}"):
            return read_frame(self._file(block.path)[block.name], frame - block.start)

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
    if len(shape) == 2:
        return _Dataset(path, name, (1, *shape), dataset.dtype)
    if not file.swmr_mode:
        return _Dataset(path, name, shape, dataset.dtype)
    return _Dataset(path, name, (written_frames(dataset), *shape[1:]), dataset.dtype, grows=True)


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
        blocks.append(Block(start, size, item.path, item.name, problem, item.grows))
        start += size
    return blocks


def _n_certain(blocks: Sequence[Block]) -> int:
    """Return how many frames can be read, up to where more may still come in between."""
    n_frames = 0
    for block in blocks:
        if block.problem:
            return n_frames
        n_frames += block.count
        if block.grows:
            break
    return n_frames
