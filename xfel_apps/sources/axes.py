"""Chains of rotations and translations (`depends_on`) of NeXus files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import GeometryError
from xfel_apps.sources.convert import ANGLES_RAD, LENGTHS_MM, rotation, unit_factor

Array = NDArray[np.float64]


def text(value: Any) -> str:
    """Return an HDF5 string, which comes as bytes, str or an array of one."""
    while isinstance(value, (np.ndarray, list)):
        value = np.asarray(value).ravel()[0] if np.size(value) else ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


@dataclass(frozen=True)
class Axis:
    """One link of a chain: x -> R x + t.

    Attributes
    ----------
    where : file and item, for errors
    rotates : whether it is a rotation
    values : (n,) settings [mm or radians], one or one a frame
    vector : (3,) axis, of any length for a rotation
    offset_mm : (3,) fixed offset [mm]
    """

    where: str
    rotates: bool
    values: Array
    vector: Array
    offset_mm: Array

    def value(self, frame: int) -> float:
        """Return the setting at one frame."""
        return float(self.values[frame if len(self.values) > 1 else 0])

    def matrix(self, frame: int) -> Array:
        """Return the (4, 4) transformation at one frame."""
        result = np.eye(4)
        result[:3, 3] = self.offset_mm
        if self.rotates:
            result[:3, :3] = rotation(self.vector, self.value(frame))
        else:
            result[:3, 3] += self.value(frame) * self.vector
        return result


def read_axis(item: h5py.Dataset, path: Path) -> Axis:
    """Return the axis that a NeXus transformation dataset describes.

    Without `offset_units` the offset is in the units of the axis, as DIAMOND's Eiger files have it.
    """
    where = f"{path}: {item.name}"
    kind = text(item.attrs.get("transformation_type", "translation"))
    unit = text(item.attrs.get("units", "deg" if kind == "rotation" else "m"))
    if "vector" not in item.attrs:
        raise GeometryError(f"{where}: a transformation without the attribute `vector`")
    offset = np.zeros(3)
    if np.any(item.attrs.get("offset", 0)):
        offset_unit = text(item.attrs.get("offset_units", "mm" if kind == "rotation" else unit))
        factor = unit_factor(LENGTHS_MM, offset_unit, f"{where} (offset)")
        offset = np.asarray(item.attrs["offset"], float) * factor
    values = np.atleast_1d(np.asarray(item[()], float)).ravel()
    scale = unit_factor(ANGLES_RAD if kind == "rotation" else LENGTHS_MM, unit, where)
    direction = np.asarray(item.attrs["vector"], float).ravel()
    if np.ptp(values) == 0:
        values = values[:1]
    return Axis(where, kind == "rotation", values * scale, direction, offset)


def read_chain(item: h5py.Dataset | h5py.Group, path: Path) -> list[Axis]:
    """Return what `item` depends on, nearest first, without `item` itself.

    `depends_on` is an attribute of a dataset or a member of a group; "." ends the chain.
    """
    chain: list[Axis] = []
    seen = {item.name}
    while True:
        target = _depends_on(item)
        if target in ("", "."):
            return chain
        group = item if isinstance(item, h5py.Group) else item.parent
        found = group.get(target)
        if not isinstance(found, h5py.Dataset):
            raise GeometryError(f"{path}: {item.name} depends on {target}, which is not there")
        if found.name in seen:
            raise GeometryError(f"{path}: {found.name} depends on itself")
        seen.add(found.name)
        chain.append(read_axis(found, path))
        item = found


def _depends_on(item: h5py.Dataset | h5py.Group) -> str:
    if "depends_on" in item.attrs:
        return text(item.attrs["depends_on"])
    if isinstance(item, h5py.Group) and "depends_on" in item:
        return text(item["depends_on"][()])
    return "."


def cumulative(chain: list[Axis], frame: int) -> Array:
    """Return the (4, 4) transformation of a whole chain at one frame.

    For T1 that depends on T2 and that on T3: T3 T2 T1 (NeXus manual, NXtransformations).
    """
    result = np.eye(4)
    for axis in chain:
        result = axis.matrix(frame) @ result
    return result
