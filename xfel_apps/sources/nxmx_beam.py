"""The wavelengths of an NXmx file."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import GeometryError
from xfel_apps.sources.axes import text
from xfel_apps.sources.convert import wavelength_converter
from xfel_apps.sources.hdf5_state import grows

Array = NDArray[np.float64]

ITEMS = {"incident_wavelength": "angstrom", "incident_energy": "eV"}
"""Items of NXbeam that give the wavelength, and their unit where none is given."""


def read_wavelengths(beams: Sequence[h5py.Group], n_frames: int, path: Path) -> Array:
    """Return the wavelengths [Angstrom], one or one a frame; NaN if the file has none.

    A spectrum (`incident_wavelength_weights`, or one more dimension) becomes its weighted mean.
    """
    for beam in beams:
        for name, unit in ITEMS.items():
            if name in beam:
                return _read(beam, name, unit, n_frames, path)
    return np.array([np.nan])


def _read(beam: h5py.Group, name: str, unit: str, n_frames: int, path: Path) -> Array:
    item = beam[name]
    where = f"{path}: {item.name}"
    convert = wavelength_converter(text(item.attrs.get("units", unit)), where)
    with np.errstate(divide="ignore"):
        values = np.asarray(convert(np.atleast_1d(np.asarray(item[()], float))))
    weights = beam.get(f"{name}_weights")
    if weights is None:
        weights = beam.get("incident_wavelength_weights")
    if values.ndim > 1 or weights is not None:
        share = np.ones_like(values) if weights is None else np.asarray(weights[()], float)
        values = np.atleast_1d((values * share).sum(axis=-1) / share.sum(axis=-1))
    if grows(item):
        values = values[:n_frames]
    if len(values) not in (1, n_frames):
        raise GeometryError(f"{where}: {len(values)} wavelengths for {n_frames} frames")
    return values
