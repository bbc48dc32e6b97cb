"""Write a run again, frame by frame at the rate it was taken: what live processing looks at.

Frames are copied as they are compressed; each is whole on disk (SWMR: single writer, multiple
readers) before the next one is due.
"""

import time
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import h5py
import hdf5plugin
import numpy as np

from xfel_apps.errors import SettingsError, SourceError
from xfel_apps.sources.hdf5 import open_hdf5, reading
from xfel_apps.sources.nxmx import frame_datasets

ROWS_PER_CHUNK = 1024
OWN_VALUES = {hdf5plugin.Bitshuffle.filter_id: 3}
"""Filters that put so many values of their own before those that are set for them."""


@dataclass(frozen=True)
class Pace:
    """How a replay went.

    Attributes
    ----------
    n_frames : written
    took_s : from the first frame to the last [s]
    latest_s : by how much the latest frame was late [s]
    """

    n_frames: int
    took_s: float
    latest_s: float

    def __str__(self) -> str:
        return (
            f"{self.n_frames} frames in {self.took_s:.2f} s, "
            f"the latest {1e3 * self.latest_s:.0f} ms behind its time"
        )


class Recorded:
    """A finished NXmx run: frames as they are stored, and what goes with each of them.

    Parameters
    ----------
    path : NXmx file or master, one chunk a frame
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = open_hdf5(path)
        self._opened: tuple[Path, h5py.File] | None = None
        self.frame_names = frame_datasets(self.file, path)
        self._places = [place for name in self.frame_names for place in self._places_of(name)]
        self.n_frames = len(self._places)
        if not self.n_frames:
            raise SourceError(f"{path}: no frames to replay")
        first = self._dataset(0)
        self.shape, self.dtype = first.shape[1:], first.id.get_type()
        self.filters = _filters(first.id.get_create_plist())
        if first.chunks != (1, *self.shape):
            raise SourceError(
                f"{path}: frames are stored in chunks of {first.chunks}; a replay needs one "
                "chunk a frame, as `xfelflow simulate` writes them"
            )
        self.rows = self._per_frame()

    def _places_of(self, name: str) -> Iterator[tuple[Path, str, int]]:
        """Yield file, dataset and number there of each frame of a dataset."""
        with reading(self.path, name):
            dataset = self.file[name]
        if not dataset.is_virtual:
            path = Path(dataset.file.filename)
            yield from ((path, dataset.name, frame) for frame in range(len(dataset)))
            return
        found = {}
        for source in dataset.virtual_sources():
            first, last = source.vspace.get_select_bounds()
            space = source.src_space
            is_all = space.get_select_type() == h5py.h5s.SEL_ALL
            start = 0 if is_all else space.get_select_bounds()[0][0]
            for frame in range(first[0], last[0] + 1):
                place = self.path.parent / source.file_name, source.dset_name
                found[frame] = (*place, frame - first[0] + start)
        yield from (found[frame] for frame in sorted(found))

    def _per_frame(self) -> dict[str, Any]:
        """Return the arrays of one number a frame, by full name."""
        found: dict[str, Any] = {}

        def note(name: str, item: Any) -> None:
            is_row = isinstance(item, h5py.Dataset) and item.shape == (self.n_frames,)
            if is_row and item.dtype.kind in "biuf" and self.n_frames > 1:
                found[f"/{name}"] = item[()]

        self.file.visititems(note)
        return found

    def _dataset(self, frame: int) -> h5py.Dataset:
        path, name, _ = self._places[frame]
        if self._opened is None or self._opened[0] != path:
            if self._opened is not None:
                self._opened[1].close()
            self._opened = path, open_hdf5(path)
        return self._opened[1][name]

    def stored(self, frame: int) -> tuple[int, bytes]:
        """Return a frame as it is stored: the filters that were left out, and the bytes."""
        dataset = self._dataset(frame)
        with reading(self._places[frame][0], f"frame {self._places[frame][2]}"):
            offset = (self._places[frame][2], *[0] * (dataset.ndim - 1))
            mask, content = dataset.id.read_direct_chunk(offset)
        return mask, content

    def close(self) -> None:
        """Close the files."""
        if self._opened is not None:
            self._opened[1].close()
        self.file.close()


class Growing:
    """An NXmx file to which frames are added.

    Parameters
    ----------
    path : file to write
    source : what is replayed
    """

    def __init__(self, path: Path, source: Recorded) -> None:
        self._source = source
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = h5py.File(path, "x", libver="latest")
        except OSError as err:
            raise SettingsError(
                f"{path}: cannot write there ({err}); choose another --out"
            ) from err
        _copy(source.file, self._file, {*source.frame_names, *source.rows})
        self._frames = self._create_frames()
        self._rows = {name: self._create_rows(name) for name in source.rows}
        self._file.swmr_mode = True

    def _create_frames(self) -> Any:
        """Return the dataset of frames, stored as those of the source."""
        shape = self._source.shape
        parent, _, _ = self._source.frame_names[0].rpartition("/")
        space = h5py.h5s.create_simple((0, *shape), (h5py.h5s.UNLIMITED, *shape))
        group = self._file.require_group(parent)
        group.attrs["signal"] = "data"
        stored_as = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        stored_as.set_chunk((1, *shape))
        for code, flags, values in self._source.filters:
            stored_as.set_filter(code, flags, values)
        h5py.h5d.create(group.id, b"data", self._source.dtype, space, stored_as)
        return group["data"]

    def _create_rows(self, name: str) -> Any:
        values = self._source.rows[name]
        rows = self._file.create_dataset(
            name, (0,), values.dtype, maxshape=(None,), chunks=(ROWS_PER_CHUNK,)
        )
        _copy_attributes(self._source.file[name], rows)
        return rows

    def append(self, frames: range) -> None:
        """Add frames of the source (counted on from its start once it has ended)."""
        known = np.arange(frames.start, frames.stop) % self._source.n_frames
        start = len(self._frames)
        self._frames.resize(start + len(known), axis=0)
        for number, frame in enumerate(known, start):
            mask, content = self._source.stored(int(frame))
            offset = (number, *[0] * (self._frames.ndim - 1))
            self._frames.id.write_direct_chunk(offset, content, mask)
        for name, rows in self._rows.items():
            rows.resize(start + len(known), axis=0)
            rows[start:] = self._source.rows[name][known]
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()


class _Clock:
    """When frames are due.

    Parameters
    ----------
    rate_hz : frames a second, the first one now
    """

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._start_s = time.monotonic()
        self.latest_s = 0.0

    @property
    def passed_s(self) -> float:
        """Time since the first frame was due [s]."""
        return time.monotonic() - self._start_s

    def wait(self, frame: int) -> int:
        """Wait until a frame is due; return the first one that is not due yet."""
        time.sleep(max(0.0, frame / self._rate_hz - self.passed_s))
        return max(frame, int(self.passed_s * self._rate_hz)) + 1

    def written(self, frame: int) -> None:
        """Note that a frame is on disk now."""
        self.latest_s = max(self.latest_s, self.passed_s - frame / self._rate_hz)


@dataclass(frozen=True)
class ReplayPlan:
    """What is written.

    Attributes
    ----------
    rate_hz : frames a second
    shots : how many; more than the run has begin again with its first. None: all of the run
    shots_per_file : begin a new file (_000001 and so on in its name) after so many; None: one file
    """

    rate_hz: float
    shots: int | None = None
    shots_per_file: int | None = None


def replay(run: Path, out: Path, plan: ReplayPlan) -> Pace:
    """Write a run again at a rate; return how it went.

    Parameters
    ----------
    run : finished NXmx file or master
    out : file to write, which must not be there
    plan : how fast and how much
    """
    with closing(Recorded(run)) as source:
        total = plan.shots or source.n_frames
        size = plan.shots_per_file or total
        clock: _Clock | None = None
        for number, first in enumerate(range(0, total, size), 1):
            name = f"{out.stem}_{number:06d}{out.suffix}" if plan.shots_per_file else out.name
            with Growing(out.with_name(name), source) as file:
                clock = clock or _Clock(plan.rate_hz)
                _fill(file, range(first, min(first + size, total)), clock)
    assert clock is not None
    return Pace(total, clock.passed_s, clock.latest_s)


def _fill(file: Growing, frames: range, clock: _Clock) -> None:
    """Add frames to a file, each when it is due; those that are late go together."""
    done = frames.start
    while done < frames.stop:
        stop = min(clock.wait(done), frames.stop)
        file.append(range(done, stop))
        clock.written(done)
        done = stop


def _filters(stored_as: Any) -> list[tuple[int, int, tuple[int, ...]]]:
    """Return code, flags and values of the filters of a dataset, as they are set for a new one."""
    found = []
    for number in range(stored_as.get_nfilters()):
        code, flags, values, _ = stored_as.get_filter(number)
        found.append((code, flags, values[OWN_VALUES.get(code, 0) :]))
    return found


def _copy(source: h5py.Group, target: h5py.Group, without: Collection[str]) -> None:
    """Copy groups, datasets, soft links and attributes, but not the items named."""
    _copy_attributes(source, target)
    for key in source:
        link = source.get(key, getlink=True)
        name = f"{source.name.rstrip('/')}/{key}"
        if name in without:
            continue
        if isinstance(link, h5py.SoftLink):
            target[key] = h5py.SoftLink(link.path)
        elif isinstance(source.get(key), h5py.Group):
            _copy(source[key], target.create_group(key), without)
        elif key in source:
            source.copy(key, target, name=key)


def _copy_attributes(source: Any, target: Any) -> None:
    for key, value in source.attrs.items():
        target.attrs[key] = value
