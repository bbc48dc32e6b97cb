"""How many frames of an NXmx file that is being written have all that belongs to them."""

from collections.abc import Iterator, Sequence

import h5py

from xfel_apps.sources.hdf5_state import grows, written_frames
from xfel_apps.sources.nxmx_beam import ITEMS
from xfel_apps.sources.scalars import PER_SHOT


def n_recorded(
    groups: Sequence[h5py.Group], detector: h5py.Group, frames: Sequence[str], n_frames: int
) -> int:
    """Return for how many of the frames every array of one row a frame has its row.

    Parameters
    ----------
    groups : those that hold such arrays directly: scalars, wavelengths, corrections
    detector : also holds them further down: masks, axes that move
    frames : names of the datasets of frames, which are counted already
    n_frames : frames on disk

    An array that can grow counts once it has begun; wavelengths and the scalars that every run has
    count from the start.
    """
    lengths = [n_frames]
    for item in _growing(groups, detector):
        name = item.name.rpartition("/")[2]
        if item.name not in frames and (len(item) or name in ITEMS or name in PER_SHOT):
            lengths.append(written_frames(item))
    return min(lengths)


def _growing(groups: Sequence[h5py.Group], detector: h5py.Group) -> Iterator[h5py.Dataset]:
    """Yield the datasets to which rows may be added."""
    for group in groups:
        yield from (item for item in map(group.get, group) if grows(item))
    below: list[h5py.Dataset] = []
    detector.visititems(lambda _, item: below.append(item) if grows(item) else None)
    yield from below
