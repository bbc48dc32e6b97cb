"""Per-shot scalars of an HDF5 file: every array of one number a frame."""

from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from xfel_apps.sources.axes import text
from xfel_apps.sources.convert import ENERGIES_MJ
from xfel_apps.sources.hdf5_state import grows

RENAMED = {
    "timestamp": "timestamp_s",
    "machineTime": "timestamp_s",
    "pulse_energy": "pulse_energy_mj",
}
"""Names of NeXus and of Cheetah (LCLS) -> names inside the package."""

PER_SHOT = {*RENAMED, *RENAMED.values(), "laser_on"}
"""Names that are one number a shot by meaning."""

NOT_SCALARS = ("incident_wavelength", "incident_energy", "data")


def read_scalars(groups: Sequence[h5py.Group], n_frames: int) -> dict[str, NDArray[Any]]:
    """Return name -> values (n_frames,) of the numeric arrays directly in `groups`.

    Pulse energy is converted to mJ (from J where no unit is given, as NeXus has it); with one frame
    only the names that are per-shot by meaning count.
    """
    found: dict[str, NDArray[Any]] = {}
    for group in groups:
        for name in group:
            item = group.get(name)
            if isinstance(item, h5py.Dataset) and _per_shot(name, item, n_frames):
                found[RENAMED.get(name, name)] = _values(name, item)[:n_frames]
    return found


def _per_shot(name: str, item: h5py.Dataset, n_frames: int) -> bool:
    if item.dtype.kind not in "biuf" or name in NOT_SCALARS:
        return False
    if grows(item):
        return len(item) >= n_frames and item.shape[1:] in ((), (1,))
    return item.shape in ((n_frames,), (n_frames, 1)) and (n_frames > 1 or name in PER_SHOT)


def _values(name: str, item: h5py.Dataset) -> NDArray[Any]:
    values = np.asarray(item[()], float).ravel()
    if name != "pulse_energy":
        return values
    unit = text(item.attrs.get("units", "J")).strip()
    return values * (ENERGIES_MJ.get(unit.lower(), 1e3))
