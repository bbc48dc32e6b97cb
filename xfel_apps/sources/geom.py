"""Parser of CrystFEL geometry files (`.geom`): text to panels, beam, bad regions and masks.

Source: the manual page crystfel_geometry(5). What only CrystFEL's own peak search needs is read
over.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from xfel_apps.errors import GeometryError, SourceError
from xfel_apps.geometry.panels import Vector

NOT_PANELS = ("bad", "group", "rigid_group")
TERM = re.compile(r"([-+]?)\s*([0-9.]*(?:[eE][-+]?[0-9]+)?)\s*\*?\s*([xyz])")
GROUP = re.compile(r"(?:rigid_)?group_(?!collection_)(\w+)")
OLD_MASK = {"mask": "data", "mask_file": "file", "mask_good": "goodbits", "mask_bad": "badbits"}


@dataclass(frozen=True)
class Source:
    """A number, or where it lies in the data file, with its unit ("" if not given)."""

    value: float | None
    path: str
    unit: str


@dataclass(frozen=True)
class MaskSource:
    """A bad pixel mask: dataset, file ("" is the data file) and bits that must or must not be."""

    data: str
    file: str
    good: int
    bad: int


@dataclass(frozen=True)
class GeomPanel:
    """One panel as the file gives it; `fields` has what was set for it or before it."""

    name: str
    fields: Mapping[str, str]
    where: str

    def text(self, name: str, default: str | None = None) -> str:
        """Return a field; without a default it must be there."""
        value = self.fields.get(name, default)
        if value is None:
            raise GeometryError(f"{self.where}: panel {self.name} has no {name}")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """Return a field as a number; without a default it must be there."""
        text = self.text(name, None if default is None else str(default))
        return to_number(text, f"{self.where}: {self.name}/{name}")

    def direction(self, name: str) -> Vector:
        """Return `fs` or `ss` (3,) in pixels, such as `-0.99x +0.01y`.

        >>> GeomPanel("p0", {"fs": "-0.5x + y"}, "here").direction("fs")
        (-0.5, 1.0, 0.0)
        """
        text = self.text(name)
        total = {"x": 0.0, "y": 0.0, "z": 0.0}
        for sign, size, axis in TERM.findall(text):
            total[axis] += float(size or 1.0) * (-1.0 if sign == "-" else 1.0)
        if not TERM.search(text) or TERM.sub("", text).strip():
            raise GeometryError(
                f"{self.where}: {self.name}/{name} = {text}: expected like +1.0x-0y"
            )
        return total["x"], total["y"], total["z"]

    @property
    def span(self) -> tuple[int, int, int, int]:
        """First and last pixel in the data: min_ss, max_ss, min_fs, max_fs."""
        names = ("min_ss", "max_ss", "min_fs", "max_fs")
        ss0, ss1, fs0, fs1 = (int(self.number(name)) for name in names)
        return ss0, ss1, fs0, fs1

    @property
    def dims(self) -> tuple[str, ...]:
        """What each dimension of the data is: "ss", "fs", "%" or a fixed index."""
        given = {int(k[3:]): v for k, v in self.fields.items() if re.fullmatch(r"dim\d+", k)}
        if not given:
            return "ss", "fs"
        dims = tuple(given.get(i, "0") for i in range(max(given) + 1))
        if dims.count("ss") != 1 or dims.count("fs") != 1 or dims.index("ss") > dims.index("fs"):
            raise GeometryError(
                f"{self.where}: panel {self.name}: dimensions {dims} need one ss before one fs"
            )
        return dims

    @property
    def masks(self) -> list[MaskSource]:
        """Bad pixel masks of the panel."""
        parts: dict[int, dict[str, str]] = {}
        for key, value in self.fields.items():
            found = re.fullmatch(r"mask(\d)_(data|file|goodbits|badbits)", key)
            if found:
                parts.setdefault(int(found[1]), {})[found[2]] = value
            elif key in OLD_MASK:
                parts.setdefault(0, {})[OLD_MASK[key]] = value
        return [
            MaskSource(
                part["data"],
                part.get("file", ""),
                int(part.get("goodbits", "0"), 0),
                int(part.get("badbits", "0"), 0),
            )
            for _, part in sorted(parts.items())
            if "data" in part
        ]


@dataclass(frozen=True)
class Geom:
    """A whole geometry file.

    Attributes
    ----------
    where : its path, for errors
    panels : in the order in which they are first mentioned
    bad : bad regions, as if they were panels
    top : what stands without a panel's name, the last value of each
    groups : name -> panels or other groups that move together (rigid_group_NAME, group_NAME)
    """

    where: str
    panels: tuple[GeomPanel, ...]
    bad: tuple[GeomPanel, ...]
    top: Mapping[str, str]
    groups: Mapping[str, tuple[str, ...]]

    def members(self, group: str) -> set[str]:
        """Return the names of all panels of a group, those of the groups in it too."""
        result: set[str] = set()
        waiting, seen = [group], set()
        while waiting:
            name = waiting.pop()
            if name in self.groups and name not in seen:
                seen.add(name)
                waiting += self.groups[name]
            elif name not in self.groups:
                result.add(name)
        return result

    def source(self, name: str) -> Source | None:
        """Return where a top-level quantity comes from; None if it is not given."""
        if name not in self.top:
            return None
        value, _, unit = self.top[name].partition(" ")
        if value.startswith("/"):
            return Source(None, value, unit.strip())
        return Source(to_number(value, f"{self.where}: {name}"), "", unit.strip())


def to_number(text: str, where: str) -> float:
    """Return `text` as a number; `where` names the item in the error."""
    try:
        return float(text)
    except ValueError as err:
        raise GeometryError(f"{where} = {text}: expected a number") from err


def read_geom(path: Path) -> Geom:
    """Return the geometry in the file `path`."""
    try:
        return parse_geom(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as err:
        raise SourceError(f"{path}: not a readable geometry file ({err})") from err


def parse_geom(text: str, where: str) -> Geom:
    """Return the geometry written in `text`; `where` names it in errors."""
    top: dict[str, str] = {}
    panels: dict[str, dict[str, str]] = {}
    bad: dict[str, dict[str, str]] = {}
    groups: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition(";")[0].partition("=")
        key, value = key.strip(), " ".join(value.split())
        if not equals or not key:
            continue
        name, slash, item = key.rpartition("/")
        if not slash:
            group = GROUP.fullmatch(key)
            if group:
                groups[group[1]] = tuple(part.strip() for part in value.split(","))
            elif not key.startswith(NOT_PANELS):
                top[key] = value
        elif name.startswith("bad"):
            bad.setdefault(name, {})[item] = value
        else:
            panels.setdefault(name, dict(top))[item] = value
    if not panels:
        raise GeometryError(f"{where}: no panels; expected lines like panel0/min_fs = 0")
    return Geom(where, _items(panels, where), _items(bad, where), top, groups)


def _items(fields: Mapping[str, Mapping[str, str]], where: str) -> tuple[GeomPanel, ...]:
    return tuple(GeomPanel(name, values, where) for name, values in fields.items())
