"""Frames by file and number: opens files when needed and keeps a few open."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import SourceError
from xfel_apps.sources.dispatch import open_raw
from xfel_apps.sources.raw import RawFile
from xfel_apps.sources.usermask import read_mask


class FrameCache:
    """Reads frames of many files; the last few files stay open.

    Parameters
    ----------
    geometry : geometry file that goes with the raw files, if they need one
    user_mask : file of the user's bad pixels, taken off every mask
    n_open : how many files stay open
    """

    def __init__(
        self, geometry: Path | None = None, user_mask: Path | None = None, n_open: int = 4
    ) -> None:
        self._geometry = geometry
        self._n_open = n_open
        self._files: OrderedDict[Path, RawFile] = OrderedDict()
        self._user_good = None if user_mask is None else read_mask(user_mask)
        self._seen = self._mask = np.zeros((0, 0), dtype=bool)

    def file(self, path: Path) -> RawFile:
        """Return the raw file, opened if it is not open yet."""
        if path in self._files:
            self._files.move_to_end(path)
            return self._files[path]
        while len(self._files) >= self._n_open:
            self._files.popitem(last=False)[1].close()
        self._files[path] = open_raw(path, self._geometry)
        return self._files[path]

    def pixels(self, path: Path, frame: int) -> NDArray[Any]:
        """Return one frame (slow, fast) [ADU]."""
        return self._checked(path, frame).pixels(frame)

    def mask(self, path: Path, frame: int) -> NDArray[np.bool_]:
        """Return the usable pixels of one frame (slow, fast), True is good; do not write to it.

        Frames of equal masks, one after the other, get the same array object.
        """
        mask = self._checked(path, frame).mask(frame)
        if self._seen is not mask and not np.array_equal(self._seen, mask):
            self._seen, self._mask = mask, self._with_user(mask, path)
        return self._mask

    def _with_user(self, mask: NDArray[np.bool_], path: Path) -> NDArray[np.bool_]:
        """Return the mask without the user's bad pixels."""
        if self._user_good is None:
            return mask
        if mask.shape != self._user_good.shape:
            raise SourceError(
                f"the user mask has shape {self._user_good.shape}, frames of {path} have "
                f"{mask.shape} (slow, fast)"
            )
        return mask & self._user_good

    def _checked(self, path: Path, frame: int) -> RawFile:
        """Return the file that has the frame; opened anew if it had not when it was opened."""
        file = self.file(path)
        if frame >= file.n_known:
            self._files.pop(path).close()
            file = self.file(path)
        if not 0 <= frame < file.n_frames:
            raise SourceError(f"{path}: no frame {frame}, it has {file.n_frames}")
        return file

    def close(self) -> None:
        """Close all files."""
        while self._files:
            self._files.popitem()[1].close()
