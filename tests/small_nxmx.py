"""Small NXmx files for tests."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np


def write_nxmx(path: Path, frames: np.ndarray, **items: Any) -> Path:
    """Write a small NXmx file: one flat module of 0.1 mm pixels at 80 mm, wavelength 1.3.

    Parameters
    ----------
    frames : (n, slow, fast)
    items : more datasets, by path below /entry with "/" written as "__"; None removes one
    """
    n_slow, n_fast = frames.shape[-2:]
    groups = {
        "entry": "NXentry",
        "entry/data": "NXdata",
        "entry/instrument": "NXinstrument",
        "entry/instrument/beam": "NXbeam",
        "entry/instrument/detector": "NXdetector",
        "entry/instrument/detector/module": "NXdetector_module",
        "entry/instrument/detector/transformations": "NXtransformations",
    }
    det = "entry/instrument/detector"
    axes = {
        "transformations/det_z": (80.0, (0, 0, 1), "."),
        "module/module_offset": (
            1.0,
            (n_fast * 0.05, n_slow * 0.05, 0),
            f"/{det}/transformations/det_z",
        ),
        "module/fast_pixel_direction": (0.1, (-1, 0, 0), f"/{det}/module/module_offset"),
        "module/slow_pixel_direction": (0.1, (0, -1, 0), f"/{det}/module/module_offset"),
    }
    with h5py.File(path, "w") as file:
        for name, kind in groups.items():
            file.require_group(name).attrs["NX_class"] = kind
        for name, (value, direction, parent) in axes.items():
            item = file.create_dataset(f"{det}/{name}", data=[value])
            item.attrs.update(
                transformation_type="translation",
                units="mm",
                vector=np.array(direction, float),
                depends_on=parent,
            )
        file[f"{det}/module/data_origin"] = [0, 0]
        file[f"{det}/module/data_size"] = [n_slow, n_fast]
        file["entry/instrument/beam/incident_wavelength"] = 1.3
        file["entry/data/data"] = frames
        file["entry/definition"] = "NXmx"
        for key, value in items.items():
            name = "entry/" + key.replace("__", "/")
            if name in file:
                del file[name]
            if value is not None:
                file[name] = value
    return path
