"""Panels from the categories of an imgCIF header."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import GeometryError
from xfel_apps.geometry import Detector, Panel
from xfel_apps.sources.convert import rotation, unit_vector, vector

Array = NDArray[np.float64]
Row = dict[str, str]
Table = list[Row]
Tables = dict[str, Table]


def number(row: Row, name: str, default: float) -> float:
    """Return a number of a row, or `default` where it is not given."""
    text = row.get(name, "")
    return float(text) if text else default


def read_detector(tables: Tables, path: Path) -> Detector:
    """Return the detector: a panel for each section of each array, arrays one below the other."""
    axes = _Axes(tables, path)
    panels: list[Panel] = []
    start, width = 0, 0
    for array in _array_ids(tables, path):
        sizes = _dimensions(tables, array, path)
        sections = _sections(tables, array)
        for section, spans in sections.items():
            panels.append(_panel(tables, axes, (array, section), spans, (start, sizes)))
        start += int(np.prod(sizes[1:]))
        width = max(width, sizes[0])
    return Detector(tuple(panels), (start, width))


def _array_ids(tables: Tables, path: Path) -> list[str]:
    """Return the arrays in the order in which they are stored."""
    rows = tables["diffrn_data_frame"] or tables["array_structure_list"]
    ids = list(dict.fromkeys(row["array_id"] for row in rows if row.get("array_id")))
    if not ids:
        raise GeometryError(f"{path}: no arrays in _diffrn_data_frame or _array_structure_list")
    return ids


def _dimensions(tables: Tables, array: str, path: Path) -> list[int]:
    """Return the pixels of an array along its dimensions, fastest first."""
    rows = [
        row
        for row in tables["array_structure_list"]
        if row["array_id"] == array and not _is_section(row, array)
    ]
    rows.sort(key=lambda row: int(row["precedence"]))
    if len(rows) < 2:
        raise GeometryError(f"{path}: array {array} has no two dimensions")
    return [int(row["dimension"]) for row in rows]


def _is_section(row: Row, array: str) -> bool:
    return row.get("array_section_id", "") not in ("", array)


def _sections(tables: Tables, array: str) -> dict[str, dict[int, tuple[int, int]]]:
    """Return section -> index (1 is fast) -> (first, last) pixel from 1; "" is the whole array."""
    sections: dict[str, dict[int, tuple[int, int]]] = {}
    for row in tables["array_structure_list_section"]:
        if row.get("array_id") == array:
            spans = sections.setdefault(row["id"], {})
            spans[int(row["index"])] = int(row["start"]), int(row["end"])
    return sections or {"": {}}


def _panel(
    tables: Tables,
    axes: "_Axes",
    names: tuple[str, str],
    spans: dict[int, tuple[int, int]],
    place: tuple[int, list[int]],
) -> Panel:
    """Return the panel of one section.

    Parameters
    ----------
    names : array and section
    spans : index -> (first, last) pixel from 1
    place : first slab row of the array, and the array's size along its dimensions
    """
    array, section = names
    start, sizes = place
    fast_span = spans.get(1, (1, sizes[0]))
    slow_span = spans.get(2, (1, sizes[1]))
    deep_start = spans.get(3, (1, 1))[0] - 1
    fast, slow = (axes.pixel_axis(_axis_set(tables, array, section, i)) for i in (1, 2))
    return Panel(
        name=section or array,
        origin_mm=vector(fast[0]),
        fast=unit_vector(fast[1], section or array),
        slow=unit_vector(slow[1], section or array),
        pixel_mm=(fast[2], slow[2]),
        shape=(slow_span[1] - slow_span[0] + 1, fast_span[1] - fast_span[0] + 1),
        slab_start=(start + deep_start * sizes[1] + slow_span[0] - 1, fast_span[0] - 1),
        trusted=_trusted(tables, array),
        gain=_gain(tables, array),
    )


def _axis_set(tables: Tables, array: str, section: str, precedence: int) -> str:
    """Return the axis set of one dimension (1 is fast) of a section, or of a whole array."""
    for row in tables["array_structure_list"]:
        mine = row["array_id"] == array and int(row["precedence"]) == precedence
        if mine and (row.get("array_section_id", "") == section if section else True):
            return row["axis_set_id"]
    raise GeometryError(f"array {array} {section}: no axis of precedence {precedence}")


def _trusted(tables: Tables, array: str) -> tuple[float, float]:
    """Return the lowest and highest trusted value: above `undefined_value`, to `overload`."""
    for row in tables["array_intensities"]:
        if row.get("array_id") == array:
            return number(row, "undefined_value", -1e9) + 1.0, number(row, "overload", 1e9)
    return -1e9, 1e9


def _gain(tables: Tables, array: str) -> float:
    """Return detector counts a photon."""
    for row in tables["array_intensities"]:
        if row.get("array_id") == array:
            return number(row, "gain", 1.0) or 1.0
    return 1.0


class _Axes:
    """The axes of the header and where they stand in this frame."""

    def __init__(self, tables: Tables, path: Path) -> None:
        self._path = path
        self._axes = {row["id"]: row for row in tables["axis"]}
        self._pixels = {row["axis_set_id"]: row for row in tables["array_structure_list_axis"]}
        self._settings: dict[str, tuple[float, float]] = {}
        for row in tables["diffrn_scan_axis"]:
            self._settings[row["axis_id"]] = (
                number(row, "angle_start", 0.0),
                number(row, "displacement_start", 0.0),
            )
        for row in tables["diffrn_scan_frame_axis"]:
            self._settings[row["axis_id"]] = (
                number(row, "angle", 0.0),
                number(row, "displacement", 0.0),
            )

    def pixel_axis(self, axis_set: str) -> tuple[Array, Array, float]:
        """Return the position of the first corner [mm], the direction and the pixel size [mm].

        The first pixel's corner is where the axis set's displacement says, as dxtbx has it.
        """
        row = self._pixels.get(axis_set)
        if row is None:
            raise GeometryError(f"{self._path}: axis set {axis_set!r} is not described")
        name = row.get("axis_id") or axis_set
        step = number(row, "displacement_increment", 0.0)
        matrix = self._to_lab(name, number(row, "displacement", 0.0))
        direction = matrix[:3, :3] @ self._vector(name, "vector")
        if step == 0.0:
            raise GeometryError(f"{self._path}: axis {name} has no displacement_increment")
        return matrix[:3, 3], direction * np.sign(step), abs(step)

    def _vector(self, name: str, kind: str) -> Array:
        row = self._axes.get(name)
        if row is None:
            raise GeometryError(f"{self._path}: axis {name!r} is not described in _axis")
        return np.array([number(row, f"{kind}[{i}]", 0.0) for i in (1, 2, 3)])

    def _to_lab(self, name: str, displacement_mm: float) -> Array:
        """Return the (4, 4) transformation of an axis and all that it depends on."""
        result = np.eye(4)
        angle_deg, extra = self._settings.get(name, (0.0, 0.0))
        displacement_mm += extra
        seen = set()
        while name:
            if name in seen:
                raise GeometryError(f"{self._path}: axis {name} depends on itself")
            seen.add(name)
            step = np.eye(4)
            step[:3, 3] = self._vector(name, "offset")
            axis = self._vector(name, "vector")
            if self._axes[name].get("type") == "rotation":
                step[:3, :3] = rotation(axis, np.radians(angle_deg))
            elif self._axes[name].get("type") == "translation":
                step[:3, 3] += axis * displacement_mm
            result = step @ result
            name = self._axes[name].get("depends_on", "")
            angle_deg, displacement_mm = self._settings.get(name, (0.0, 0.0))
        return result
