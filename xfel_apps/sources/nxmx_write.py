"""Write a detector as NeXus NXmx: one NXdetector_module a panel; and a small file with just that.

NeXus has the beam along +z: x and z change sign against the lab frame of this package.
Source: NXmx application definition, Bernstein et al. (2020), IUCrJ 7, 784-792.
"""

import os
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import ContainerError
from xfel_apps.geometry import Beam, Detector, Panel
from xfel_apps.sources.convert import FROM_MCSTAS

DEAD_BIT = 2
"""Bit 1 of the NXmx pixel mask: a dead pixel."""
MODULES = "/entry/instrument/detector"
NO_SENSOR_MM = 1e-6
"""Thickness of a sensor without parallax [mm]: readers want one."""


def write_geometry(path: Path, detector: Detector, beam: Beam) -> None:
    """Write a master with one empty frame that takes no space, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    shape = detector.slab_shape
    try:
        with h5py.File(part, "w", libver="latest") as file:
            file.attrs["NX_class"], file.attrs["default"] = "NXroot", "entry"
            entry = add_group(file, "entry", "NXentry", default="data")
            entry["definition"] = "NXmx"
            data = add_group(entry, "data", "NXdata", signal="data")
            data.create_dataset("data", (1, *shape), "i4", chunks=(1, *shape))
            data["data_scale_factor"] = 1.0 / detector.panels[0].gain
            instrument = add_group(entry, "instrument", "NXinstrument")
            instrument["name"] = "xfelflow refgeom"
            group = add_group(instrument, "beam", "NXbeam")
            add_dataset(group, "incident_wavelength", beam.wavelength_ang, units="angstrom")
            write_detector(instrument, detector, "refined")
            add_group(entry, "source", "NXsource")["name"] = "unknown"
            sample = add_group(entry, "sample", "NXsample")
            sample["name"], sample["depends_on"] = "none", "."
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)
    except OSError as err:
        raise ContainerError(f"{path}: cannot write ({err})") from err


def add_group(parent: Any, name: str, nx_class: str, **attributes: str) -> Any:
    """Return a new group of a NeXus class."""
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    for key, value in attributes.items():
        group.attrs[key] = value
    return group


def add_dataset(group: Any, name: str, values: Any, **attributes: Any) -> None:
    """Add a dataset with attributes."""
    dataset = group.create_dataset(name, data=values)
    for key, value in attributes.items():
        dataset.attrs[key] = value


def write_detector(
    instrument: Any, detector: Detector, description: str, mask: NDArray[np.bool_] | None = None
) -> None:
    """Write the NXdetector with its modules.

    Parameters
    ----------
    instrument : group that it goes into
    detector : its panels share pixel size, sensor and trusted range
    description : in words
    mask : (slow, fast), True where a pixel is dead
    """
    group = add_group(instrument, "detector", "NXdetector")
    first = detector.panels[0]
    distance_mm = float(np.mean([-panel.origin_mm[2] for panel in detector.panels]))
    group["description"], group["type"] = description, "PIXEL"
    group["depends_on"] = f"{MODULES}/transformations/det_z"
    add_dataset(group, "distance", distance_mm, units="mm")
    add_dataset(group, "x_pixel_size", first.pixel_mm[0], units="mm")
    add_dataset(group, "y_pixel_size", first.pixel_mm[1], units="mm")
    add_dataset(group, "sensor_thickness", first.thickness_mm or NO_SENSOR_MM, units="mm")
    group["sensor_material"] = "Si"
    group["saturation_value"] = first.trusted[1]
    group["underload_value"] = first.trusted[0]
    if mask is not None:
        group.create_dataset(
            "pixel_mask",
            data=np.where(mask, DEAD_BIT, 0).astype("u4"),
            chunks=mask.shape,
            **hdf5plugin.Bitshuffle(cname="lz4"),
        )
    moves = add_group(group, "transformations", "NXtransformations")
    _transformation(moves, "det_z", distance_mm, np.array([0.0, 0.0, 1.0]), ".")
    for panel in detector.panels:
        _write_module(group, panel, distance_mm)


def _write_module(group: Any, panel: Panel, distance_mm: float) -> None:
    """Write one module; its offset is given from the plane of the detector."""
    module = add_group(group, panel.name, "NXdetector_module")
    module["data_origin"] = np.array(panel.slab_start, dtype=np.int64)
    module["data_size"] = np.array(panel.shape, dtype=np.int64)
    offset = FROM_MCSTAS @ panel.origin_mm - [0.0, 0.0, distance_mm]
    length = float(np.linalg.norm(offset))
    along = offset / length if length else np.array([0.0, 0.0, 1.0])
    path = f"{MODULES}/{panel.name}/module_offset"
    _transformation(module, "module_offset", length, along, f"{MODULES}/transformations/det_z")
    axes = {"fast": (panel.fast, panel.pixel_mm[0]), "slow": (panel.slow, panel.pixel_mm[1])}
    for name, (vector, size_mm) in axes.items():
        _transformation(module, f"{name}_pixel_direction", size_mm, FROM_MCSTAS @ vector, path)


def _transformation(
    group: Any, name: str, value_mm: float, vector: NDArray[np.float64], depends_on: str
) -> None:
    """Write a translation of `value_mm` along `vector`."""
    add_dataset(
        group,
        name,
        np.array([value_mm]),
        transformation_type="translation",
        units="mm",
        vector=vector,
        offset=np.zeros(3),
        offset_units="mm",
        depends_on=depends_on,
    )
