"""The user's own mask of bad pixels: npz, npy, HDF5 or PNG."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import SourceError


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Return the usable pixels (slow, fast), True is good.

    In the file anything that is not zero is bad, as in NeXus' `pixel_mask` and CrystFEL's
    `mask_bad`. An HDF5 or npz file holds one array, or one named `mask`; a PNG is dark where good.
    Leading dimensions (panels) are stacked along slow.
    """
    try:
        bad = np.asarray(_read(path))
    except (OSError, ValueError, KeyError, SyntaxError) as err:
        raise SourceError(f"{path}: not a readable mask file ({err})") from err
    if bad.ndim < 2:
        raise SourceError(f"{path}: a mask has two dimensions (slow, fast), found {bad.ndim}")
    return np.asarray(bad.reshape(-1, bad.shape[-1]) == 0)


def _read(path: Path) -> Any:
    """Return the array in the file."""
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return np.load(path)
    if suffix == ".npz":
        with np.load(path) as data:
            return data[_only(list(data), path)]
    if suffix == ".png":
        from matplotlib.image import imread  # slow to import, seldom needed

        image = imread(path)
        return image if image.ndim == 2 else image[..., :3].max(axis=-1)
    with h5py.File(path, "r") as file:
        names: list[str] = []
        file.visititems(
            lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
        )
        return file[_only(names, path)][()]


def _only(names: list[str], path: Path) -> str:
    """Return the one name, or the one whose last part is `mask`."""
    masks = [name for name in names if name.rpartition("/")[2] == "mask"] or names
    if len(masks) != 1:
        raise KeyError(f"expected one array, or one named mask; found {names}")
    return masks[0]
