"""NXmx: NeXus HDF5 of macromolecular crystallography, one master and any number of data files."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import SourceError
from xfel_apps.geometry import Beam, Detector
from xfel_apps.sources.axes import text
from xfel_apps.sources.hdf5 import FrameStack, open_hdf5, reading
from xfel_apps.sources.hdf5_state import is_hdf5
from xfel_apps.sources.nxmx_beam import read_wavelengths
from xfel_apps.sources.nxmx_detector import DetectorReader
from xfel_apps.sources.nxmx_growing import n_recorded
from xfel_apps.sources.scalars import read_scalars


def find_class(group: h5py.Group, name: str) -> list[h5py.Group]:
    """Return the subgroups of NeXus class `name`; dangling links are passed over."""
    found = []
    for key in group:
        item = group.get(key)
        if isinstance(item, h5py.Group) and text(item.attrs.get("NX_class", "")) == name:
            found.append(item)
    return found


def _entry(file: h5py.File) -> h5py.Group | None:
    """Return the first NXentry with a detector in it."""
    for entry in find_class(file, "NXentry"):
        for instrument in find_class(entry, "NXinstrument"):
            if find_class(instrument, "NXdetector"):
                return entry
    return None


def frame_datasets(file: h5py.File, path: Path) -> list[str]:
    """Return the full names of the datasets that hold the frames of an NXmx file, in order."""
    entry = _entry(file)
    if entry is None:
        raise SourceError(f"{path}: no NXentry with an NXinstrument and an NXdetector")
    detector = _detector(find_class(entry, "NXinstrument")[0])
    return _data_names(_data_group(entry, detector, path))


def understands(path: Path, geometry: Path | None) -> bool:
    """Return whether the file has an NXentry with an NXdetector; a `.geom` file overrides it."""
    if geometry is not None or not is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return _entry(file) is not None


def open_file(path: Path, _geometry: Path | None) -> "NxmxFile":
    """Return the NXmx file, open for reading."""
    return NxmxFile(path)


class NxmxFile:
    """An NXmx master file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_hdf5(path)
        entry = _entry(self._file)
        if entry is None:
            raise SourceError(f"{path}: no NXentry with an NXinstrument and an NXdetector")
        instrument = find_class(entry, "NXinstrument")[0]
        detector = _detector(instrument)
        with reading(path, "the frames"):
            data = _data_group(entry, detector, path)
            expected = _images_expected(detector)
            names = _data_names(data)
            self._stack = FrameStack(self._file, path, names, expected)
            self._offset = _correction(data, "data_offset", 0.0)
            self._scale = _correction(data, "data_scale_factor", 1.0)
        beams = [g for parent in (instrument, entry, *find_class(entry, "NXsample"))
                 for g in find_class(parent, "NXbeam")]  # fmt: skip
        groups = [entry, instrument, detector, *beams]
        if self._file.swmr_mode:
            self._stack.limit(n_recorded([data, *groups], detector, names, self._stack.n_frames))
        self.n_frames, self.n_known = self._stack.n_frames, self._stack.n_known
        self.awaits = self._stack.awaits
        self._wavelengths = read_wavelengths(beams, self.n_frames, path)
        self._detector = DetectorReader(detector, data, self._stack, path, self._wavelengths)
        self._scalars = read_scalars(groups, self.n_frames)

    def n_complete(self) -> int:
        """Return how many frames, from the first on, can be read with all that belongs to them."""
        return self.n_known

    def beam(self, frame: int) -> Beam:
        """Return the beam of one shot, with its own wavelength."""
        return Beam(float(self._wavelengths[frame if len(self._wavelengths) > 1 else 0]))

    def detector(self, frame: int) -> Detector:
        """Return the detector; the same object unless it moved."""
        return self._detector.at(frame)

    def scalars(self, frame: int) -> dict[str, float]:
        """Return the per-shot scalars of the file."""
        return {name: float(values[frame]) for name, values in self._scalars.items()}

    def problem(self, frame: int) -> str:
        """Return why the frame cannot be read, without reading it."""
        return self._stack.problem(frame)

    def mask(self, frame: int) -> NDArray[np.bool_]:
        """Return the usable pixels (slow, fast): in a module, and not in any `pixel_mask`."""
        return self._detector.mask(frame)

    def pixels(self, frame: int) -> NDArray[Any]:
        """Return the frame (slow, fast) [ADU]; corrected = (data + offset) * scale (NXdata).

        A scale that is one number is the gain of the detector and is not applied here.
        """
        data = self._stack.read(frame)
        if self._offset is not None:
            data = data + (self._offset[frame] if self._offset.ndim > data.ndim else self._offset)
        if self._scale is not None and self._scale.ndim:
            data = data * (self._scale[frame] if self._scale.ndim > data.ndim else self._scale)
        return np.asarray(data.reshape(-1, data.shape[-1]))

    def close(self) -> None:
        """Close the file and those it links to."""
        self._stack.close()
        self._file.close()


def _detector(instrument: h5py.Group) -> h5py.Group:
    """Return the detector, the first one with modules if there are several."""
    detectors = find_class(instrument, "NXdetector")
    return next((d for d in detectors if find_class(d, "NXdetector_module")), detectors[0])


def _data_group(entry: h5py.Group, detector: h5py.Group, path: Path) -> h5py.Group:
    """Return the group that holds the frames."""
    for group in (*find_class(entry, "NXdata"), entry.get("data"), detector):
        if isinstance(group, h5py.Group) and _data_names(group):
            return group
    raise SourceError(f"{path}: no dataset of frames (data, or data_000001 ...) in {entry.name}")


def _correction(data: h5py.Group, name: str, neutral: float) -> NDArray[np.float32] | None:
    """Return an offset or scale of the pixels; None where it changes nothing."""
    if name not in data:
        return None
    values = np.asarray(data[name][()], dtype=np.float32)
    values = values.reshape(()) if values.size == 1 else values
    return None if np.all(values == neutral) else values


def _data_names(group: h5py.Group) -> list[str]:
    """Return the full names of the datasets that hold the frames, in order."""
    signal = text(group.attrs.get("signal", "data"))
    for name in (signal, "data"):
        if group.get(name, getlink=True) is not None:
            return [f"{group.name}/{name}"]
    names = [n for n in group if n.startswith("data_") and n[5:].isdigit()]
    return [f"{group.name}/{name}" for name in sorted(names)]


def _images_expected(detector: h5py.Group) -> int:
    """Return the number of frames that a DECTRIS master promises; 0 if it does not say."""
    specific = detector.get("detectorSpecific")
    if specific is None or "nimages" not in specific:
        return 0
    triggers = int(np.max(specific["ntrigger"][()])) if "ntrigger" in specific else 1
    return int(np.max(specific["nimages"][()])) * triggers
