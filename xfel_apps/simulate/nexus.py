"""Write a run as NeXus NXmx: data files with the frames, and one master that joins them.

Layout as DIALS, CrystFEL and the `nxmx` package read it: `/entry/data/data` is a virtual dataset
(shots, slow, fast); each module is an NXdetector_module with its `data_origin` and `data_size` in
the slab. NeXus has the beam along +z: x and z change sign against the lab frame of this package.
Source: NXmx application definition, Bernstein et al. (2020), IUCrJ 7, 784-792.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from xfel_apps.geometry import Detector
from xfel_apps.simulate.settings import DetectorSettings
from xfel_apps.simulate.shot import ShotTruth
from xfel_apps.sources.nxmx_write import add_dataset, add_group, write_detector


@dataclass(frozen=True)
class DataFile:
    """One data file: where it lies and which shots are in it."""

    path: Path
    shots: range


def data_files(folder: Path, n_shots: int, shots_per_file: int) -> list[DataFile]:
    """Return the data files of a run, in order.

    >>> [file.shots for file in data_files(Path("run"), 5, 2)]
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    starts = range(0, n_shots, shots_per_file)
    return [
        DataFile(
            folder / f"run_data_{number:06d}.h5",
            range(start, min(start + shots_per_file, n_shots)),
        )
        for number, start in enumerate(starts, 1)
    ]


def pixel_dtype(settings: DetectorSettings) -> np.dtype[Any]:
    """Return the smallest type that holds every count."""
    small = settings.read_noise_adu == 0 and settings.saturation_adu < np.iinfo(np.uint16).max
    return np.dtype("uint16" if small else "int32")


def create_frames(file: h5py.File, n_frames: int, shape: tuple[int, int], dtype: Any) -> Any:
    """Return the dataset of a data file, one chunk a frame, bitshuffle and LZ4."""
    file.attrs["NX_class"] = "NXroot"
    entry = add_group(file, "entry", "NXentry")
    data = add_group(entry, "data", "NXdata", signal="data")
    return data.create_dataset(
        "data",
        (n_frames, *shape),
        dtype,
        chunks=(1, *shape),
        **hdf5plugin.Bitshuffle(cname="lz4"),
    )


def write_master(
    path: Path,
    files: Sequence[DataFile],
    detector: Detector,
    dtype: np.dtype[Any],
    shots: Sequence[ShotTruth],
    mask: NDArray[np.bool_],
) -> None:
    """Write the file that joins the data files, with geometry, wavelengths and scalars.

    Parameters
    ----------
    path : of the master, beside the data files
    files, detector, dtype : of the frames
    shots : truth of every shot, in order
    mask : (slow, fast), True where a pixel is dead
    """
    part = path.with_name(f".{path.name}.part")
    with h5py.File(part, "w", libver="latest") as file:
        file.attrs["NX_class"], file.attrs["default"] = "NXroot", "entry"
        entry = add_group(file, "entry", "NXentry", default="data")
        entry["definition"] = "NXmx"
        entry["start_time"] = _iso(shots[0].timestamp_s)
        entry["end_time_estimated"] = _iso(shots[-1].timestamp_s)
        entry["laser_on"] = np.array([shot.laser_on for shot in shots], dtype="i1")
        add_dataset(entry, "timestamp", np.array([shot.timestamp_s for shot in shots]), units="s")
        _write_data(entry, files, detector, dtype)
        instrument = add_group(entry, "instrument", "NXinstrument")
        instrument["name"] = "xfelflow simulate"
        _write_beam(instrument, shots)
        write_detector(instrument, detector, "simulated modules", mask)
        source = add_group(entry, "source", "NXsource")
        source["name"] = "simulated"
        sample = add_group(entry, "sample", "NXsample")
        sample["name"], sample["depends_on"] = "simulated", "."
    part.replace(path)


def _iso(timestamp_s: float) -> str:
    return datetime.fromtimestamp(timestamp_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _write_data(
    entry: Any, files: Sequence[DataFile], detector: Detector, dtype: np.dtype[Any]
) -> None:
    n_shots, shape = files[-1].shots.stop, detector.slab_shape
    layout = h5py.VirtualLayout((n_shots, *shape), dtype)
    for item in files:
        source = h5py.VirtualSource(
            item.path.name, "/entry/data/data", (len(item.shots), *shape), dtype
        )
        layout[item.shots.start : item.shots.stop] = source
    data = add_group(entry, "data", "NXdata", signal="data")
    data.create_virtual_dataset("data", layout)
    data["data_scale_factor"] = 1.0 / detector.panels[0].gain


def _write_beam(instrument: Any, shots: Sequence[ShotTruth]) -> None:
    beam = add_group(instrument, "beam", "NXbeam")
    columns = [
        ("incident_wavelength", [shot.wavelength_ang for shot in shots], "angstrom"),
        ("pulse_energy", [shot.pulse_energy_mj for shot in shots], "mJ"),
    ]
    for name, values, units in columns:
        add_dataset(beam, name, np.array(values), units=units)
