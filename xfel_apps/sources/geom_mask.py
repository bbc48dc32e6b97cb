"""The bad pixel masks that a CrystFEL geometry names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import SourceError
from xfel_apps.sources.geom import MaskSource
from xfel_apps.sources.geom_detector import DataBlock, GeomLayout
from xfel_apps.sources.hdf5 import open_hdf5, reading


def read_block(dataset: h5py.Dataset, block: DataBlock, frame: int) -> NDArray[Any]:
    """Return (slow, fast) of one frame; a dataset without the dimension of frames is for all."""
    dims = block.dims
    if dataset.ndim < len(dims):
        dims = tuple(dim for dim in dims if dim != "%")
    if dataset.ndim < len(dims):
        dims = ("ss", "fs")
    known: dict[str, Any] = {
        "ss": slice(0, block.shape[0]),
        "fs": slice(0, block.shape[1]),
        "%": frame,
    }
    where = tuple(known[dim] if dim in known else int(dim) for dim in dims)
    return np.asarray(dataset[where])


class GeomMasks:
    """The mask of each frame: panels, bad regions and bad pixel maps; not pixel values.

    Parameters
    ----------
    layout : of the geometry
    file : data file, which holds the maps that have no file of their own
    name : gives the path of a dataset at a frame
    """

    def __init__(
        self, layout: GeomLayout, file: h5py.File, name: Callable[[str, int], str]
    ) -> None:
        self._layout = layout
        self._file = file
        self._name = name
        self._moves = any(self._has_frames(m) for panel in layout.panels for m in panel.masks)
        self._known: dict[int, NDArray[np.bool_]] = {}

    def _has_frames(self, mask: MaskSource) -> bool:
        """Return whether a map has an entry for each frame."""
        if "%" in mask.data:
            return True
        if mask.file or mask.data not in self._file:
            return False
        return any(
            "%" in block.dims and self._file[mask.data].ndim == len(block.dims)
            for block in self._layout.blocks
        )

    def at(self, frame: int) -> NDArray[np.bool_]:
        """Return the usable pixels (slow, fast); the same array if all frames share it."""
        key = frame if self._moves else 0
        if key not in self._known:
            good = self._layout.good.copy()
            maps: dict[tuple[MaskSource, DataBlock], NDArray[np.bool_]] = {}
            for panel in self._layout.panels:
                block = self._layout.block_of(panel)
                for mask in panel.masks:
                    if (mask, block) not in maps:
                        maps[mask, block] = self._map(mask, block, frame)
                    ss0, ss1, fs0, fs1 = panel.span
                    part = maps[mask, block][ss0 : ss1 + 1, fs0 : fs1 + 1]
                    good[self._layout.place(panel)] &= part
            self._known = {key: good}
        return self._known[key]

    def _map(self, mask: MaskSource, block: DataBlock, frame: int) -> NDArray[np.bool_]:
        """Return the good pixels of a block: all good bits set and no bad one."""
        name = self._name(mask.data, frame)
        if not mask.file:
            with reading(Path(self._file.filename), f"mask {name}"):
                bits = read_block(self._file[name], block, frame)
        else:
            path = self._mask_path(mask)
            with open_hdf5(path) as file, reading(path, f"mask {name}"):
                bits = read_block(file[name], block, frame)
        if bits.shape != block.shape:
            raise SourceError(f"{mask.data}: mask of {bits.shape}, expected {block.shape}")
        whole = bits.astype(np.int64)
        return np.asarray(((whole & mask.good) == mask.good) & ((whole & mask.bad) == 0))

    def _mask_path(self, mask: MaskSource) -> Path:
        """Return the file of a map: as it is named, or beside the geometry file."""
        beside = Path(self._layout.geom.where).parent / mask.file
        path = Path(mask.file) if Path(mask.file).is_file() else beside
        if not path.is_file():
            raise SourceError(f"{mask.file}: no such mask file, named by {self._layout.geom.where}")
        return path
