"""Panels and masks of an NXmx detector, in the lab frame of dxtbx."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import GeometryError
from xfel_apps.geometry import Detector, Panel
from xfel_apps.sources.axes import Axis, cumulative, read_axis, read_chain, text
from xfel_apps.sources.convert import FROM_MCSTAS, LENGTHS_MM, unit_factor, unit_vector, vector
from xfel_apps.sources.hdf5 import FrameStack
from xfel_apps.sources.hdf5_state import grows
from xfel_apps.sources.sensor import mu_invmm
from xfel_apps.units import energy_from_wavelength

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Module:
    """One NXdetector_module: its place in the slab and the axes of its pixels.

    Attributes
    ----------
    name : name of the group
    slab_start, shape : first pixel and size (slow, fast) in the slab
    fast, slow : axes whose value is the pixel size
    fast_chain, slow_chain : what they depend on
    """

    name: str
    slab_start: tuple[int, int]
    shape: tuple[int, int]
    fast: Axis
    slow: Axis
    fast_chain: list[Axis]
    slow_chain: list[Axis]

    @property
    def moves(self) -> bool:
        """Whether any axis has a setting for each frame."""
        return any(len(axis.values) > 1 for axis in (*self.fast_chain, *self.slow_chain))

    def panel(self, frame: int, common: dict[str, Any]) -> Panel:
        """Return the panel at one frame; `common` has the fields that all panels share."""
        fast_to_lab = cumulative(self.fast_chain, frame)
        slow_to_lab = cumulative(self.slow_chain, frame)
        origin = fast_to_lab @ np.append(self.fast.offset_mm, 1.0)
        pixel_mm = abs(self.fast.value(0)), abs(self.slow.value(0))
        if 0.0 in pixel_mm or not np.any(origin[:3]):
            raise GeometryError(
                f"{self.fast.where}: pixels of {pixel_mm} mm whose first one is at "
                f"{origin[:3]} mm from the sample; the module's axes are not complete"
            )
        fast = FROM_MCSTAS @ fast_to_lab[:3, :3] @ self.fast.vector
        slow = FROM_MCSTAS @ slow_to_lab[:3, :3] @ self.slow.vector
        return Panel(
            name=self.name,
            origin_mm=vector(FROM_MCSTAS @ origin[:3]),
            fast=unit_vector(fast, self.fast.where),
            slow=unit_vector(slow, self.slow.where),
            pixel_mm=pixel_mm,
            shape=self.shape,
            slab_start=self.slab_start,
            **common,
        )


class DetectorReader:
    """Detector and mask of each frame.

    Parameters
    ----------
    group : NXdetector
    data : group of the frames, for its scaling factor
    stack : the frames
    path : file, for errors
    wavelengths : (n,) [Angstrom], for the absorption of the sensor
    """

    def __init__(
        self, group: h5py.Group, data: h5py.Group, stack: FrameStack, path: Path, wavelengths: Array
    ) -> None:
        self._group = group
        self._path = path
        self._stack = stack
        shape = stack.frame_shape
        self._slab_shape = (int(np.prod(shape[:-1])), int(shape[-1]))
        known = wavelengths[np.isfinite(wavelengths)]  # the first one: others may be still to come
        wavelength_ang = float(known[0]) if len(known) else np.nan
        self._common = _common(group, data, stack, wavelength_ang)
        self._modules = _modules(group, shape, path)
        self._moves = any(module.moves for module in self._modules)
        self._detectors: dict[int, Detector] = {}
        masks = _masks(group)
        self._frame_masks = [item for item in masks if _one_a_frame(item, stack)]
        self._masks = [item for item in masks if not _one_a_frame(item, stack)]
        self._static: NDArray[np.bool_] | None = None

    def at(self, frame: int) -> Detector:
        """Return the detector at one frame."""
        key = frame if self._moves else 0
        if key not in self._detectors:
            if self._modules:
                panels = [module.panel(key, self._common) for module in self._modules]
            else:
                panels = [_simple_panel(self._group, self._slab_shape, self._path, self._common)]
            self._detectors = {key: Detector(tuple(panels), self._slab_shape)}
        return self._detectors[key]

    def mask(self, frame: int) -> NDArray[np.bool_]:
        """Return the usable pixels (slow, fast); the same array unless the file has one a frame."""
        if self._static is None:
            good = self.at(frame).panel_map() >= 0
            for item in self._masks:
                good &= self._good(item, item[()])
            self._static = good
        good = self._static
        for item in self._frame_masks:
            good = good & self._good(item, item[frame])
        return good

    def _good(self, item: h5py.Dataset, bad: Any) -> NDArray[np.bool_]:
        if np.size(bad) != np.prod(self._slab_shape):
            raise GeometryError(
                f"{self._path}: {item.name} has shape {np.shape(bad)}, frames have "
                f"{self._stack.frame_shape}"
            )
        return np.asarray(np.reshape(bad, self._slab_shape) == 0)


def _one_a_frame(mask: h5py.Dataset, stack: FrameStack) -> bool:
    """Return whether there is one mask for each frame."""
    return mask.ndim > len(stack.frame_shape) and (
        grows(mask) or int(mask.shape[0]) == stack.n_frames
    )


def _masks(group: h5py.Group) -> list[h5py.Dataset]:
    """Return all pixel masks; any bit that is set makes a pixel bad (as dxtbx has it)."""
    specific = group.get("detectorSpecific")
    for holder in (group, specific):
        if isinstance(holder, h5py.Group):
            items = [holder.get(name) for name in holder if name.startswith("pixel_mask")]
            found = [i for i in items if isinstance(i, h5py.Dataset) and i.ndim >= 2]
            if found:
                return found
    return []


def _common(
    group: h5py.Group, data: h5py.Group, stack: FrameStack, wavelength_ang: float
) -> dict[str, Any]:
    """Return the fields that all panels share: trusted range, sensor and gain."""
    low, high = -1e9, 1e9
    if stack.dtype.kind == "u":
        low, high = 0.0, float(np.iinfo(stack.dtype).max - 1)
    low = _number(group, "underload_value", low)
    high = min(high, _number(group, "saturation_value", high))
    thickness = group.get("sensor_thickness")
    common: dict[str, Any] = {"trusted": (low, high)}
    if thickness is not None and np.isfinite(wavelength_ang):
        unit = text(thickness.attrs.get("units", "m"))
        factor = unit_factor(LENGTHS_MM, unit, f"{thickness.file.filename}: {thickness.name}")
        material = text(group["sensor_material"][()]) if "sensor_material" in group else ""
        common["thickness_mm"] = float(np.squeeze(thickness[()])) * factor
        common["mu_invmm"] = mu_invmm(material, energy_from_wavelength(wavelength_ang))
    scale = _number(data, "data_scale_factor", 1.0)
    if scale > 0:
        common["gain"] = 1.0 / scale
    return common


def _number(group: h5py.Group, name: str, default: float) -> float:
    """Return the one number in dataset `name`, or `default`."""
    item = group.get(name)
    if not isinstance(item, h5py.Dataset) or item.size != 1 or item.dtype.kind not in "iuf":
        return default
    return float(np.squeeze(item[()]))


def _modules(group: h5py.Group, frame_shape: Sequence[int], path: Path) -> list[Module]:
    """Return the modules of the detector, in order of their place in the slab."""
    found = []
    for key in group:
        item = group.get(key)
        if isinstance(item, h5py.Group) and "fast_pixel_direction" in item:
            found.append(_module(item, group, frame_shape, path))
    return sorted(found, key=lambda module: module.slab_start)


def _module(
    group: h5py.Group, detector: h5py.Group, frame_shape: Sequence[int], path: Path
) -> Module:
    """Return one module. Indices are slow to fast; a third one, the slowest, counts slabs."""
    for name in ("data_origin", "data_size", "slow_pixel_direction"):
        if name not in group:
            raise GeometryError(f"{path}: {group.name} has no {name}")
    origin = [int(v) for v in np.ravel(group["data_origin"][()])]
    size = [int(v) for v in np.ravel(group["data_size"][()])]
    if len(frame_shape) == 2 and size[-2:] == list(frame_shape)[::-1] and not any(origin):
        size = size[:-2] + size[-2:][::-1]  # old DECTRIS files give fast first
    start = origin[-2]
    if len(origin) > 2:
        start += origin[-3] * int(frame_shape[-2])
    fast, slow = group["fast_pixel_direction"], group["slow_pixel_direction"]
    return Module(
        name=group.name.rpartition("/")[2],
        slab_start=(start, origin[-1]),
        shape=(size[-2], size[-1]),
        fast=read_axis(fast, path),
        slow=read_axis(slow, path),
        fast_chain=_chain(fast, group, detector, path),
        slow_chain=_chain(slow, group, detector, path),
    )


def _chain(item: h5py.Dataset, module: h5py.Group, detector: h5py.Group, path: Path) -> list[Axis]:
    """Return what a pixel direction depends on; if it does not say, the module or the detector."""
    if "depends_on" in item.attrs:
        return read_chain(item, path)
    offset = module.get("module_offset")
    if isinstance(offset, h5py.Dataset) and "vector" in offset.attrs:
        return [read_axis(offset, path), *read_chain(offset, path)]
    return read_chain(detector, path)


def _simple_panel(
    group: h5py.Group, shape: tuple[int, int], path: Path, common: dict[str, Any]
) -> Panel:
    """Return a flat detector at right angles to the beam, of a file without modules."""
    values = {}
    for name, names in {
        "beam_x": ("beam_center_x",),
        "beam_y": ("beam_center_y",),
        "pixel_x": ("x_pixel_size",),
        "pixel_y": ("y_pixel_size",),
        "distance": ("distance", "detector_distance"),
    }.items():
        item = next((group[n] for n in names if n in group), None)
        if item is None:
            raise GeometryError(
                f"{path}: {group.name} has no module with pixel directions, and no {names[0]}"
            )
        values[name] = float(np.ravel(item[()])[0])
        if not name.startswith("beam"):
            unit = text(item.attrs.get("units", "m"))
            values[name] *= unit_factor(LENGTHS_MM, unit, f"{path}: {item.name}")
    fast, slow = values["pixel_x"], values["pixel_y"]
    return Panel(
        name="panel",
        origin_mm=(-values["beam_x"] * fast, values["beam_y"] * slow, -values["distance"]),
        fast=(1.0, 0.0, 0.0),
        slow=(0.0, -1.0, 0.0),
        pixel_mm=(fast, slow),
        shape=shape,
        **common,
    )
