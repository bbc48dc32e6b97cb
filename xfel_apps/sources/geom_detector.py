"""From a CrystFEL geometry to panels in a slab, in the lab frame of dxtbx, and its bad regions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import GeometryError, SourceError
from xfel_apps.geometry import Detector, Panel
from xfel_apps.sources.convert import FROM_MCSTAS, unit_vector, vector
from xfel_apps.sources.geom import Geom, GeomPanel, read_geom
from xfel_apps.sources.sensor import ENERGY_STEP_EV

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DataBlock:
    """Part of the slab that comes from one place in the file.

    Attributes
    ----------
    data, dims : dataset, and what each of its dimensions is
    slab_start : first slab row
    shape : (slow, fast) in the data
    """

    data: str
    dims: tuple[str, ...]
    slab_start: int
    shape: tuple[int, int]


class GeomLayout:
    """Where the panels of a geometry lie in the slab, and which pixels its regions leave.

    Panels of one dataset keep their places; several datasets, or modules of one with a fixed
    index, are put one below the other.
    """

    def __init__(self, geom: Geom) -> None:
        self.geom = geom
        self.panels = [panel for panel in geom.panels if not _ignored(panel)]
        if not self.panels:
            raise GeometryError(f"{geom.where}: all panels have no_index set")
        blocks: list[DataBlock] = []
        start = 0
        for key in dict.fromkeys(_place(panel) for panel in geom.panels):
            spans = [panel.span for panel in geom.panels if _place(panel) == key]
            shape = max(s[1] for s in spans) + 1, max(s[3] for s in spans) + 1
            blocks.append(DataBlock(*key, start, shape))
            start += shape[0]
        self.blocks = blocks
        self.slab_shape = (start, max(block.shape[1] for block in blocks))

    def block_of(self, panel: GeomPanel) -> DataBlock:
        """Return the block that a panel lies in."""
        return next(block for block in self.blocks if (block.data, block.dims) == _place(panel))

    def place(self, panel: GeomPanel) -> tuple[slice, slice]:
        """Return where a panel lies in the slab."""
        ss0, ss1, fs0, fs1 = panel.span
        start = self.block_of(panel).slab_start
        return slice(start + ss0, start + ss1 + 1), slice(fs0, fs1 + 1)

    def detector(
        self,
        clen_m: float,
        energy_ev: float,
        shift_m: tuple[float, float],
        kind: np.dtype[Any],
    ) -> Detector:
        """Return the detector.

        Parameters
        ----------
        clen_m : z of the detector along the beam [m]
        energy_ev : photon energy [eV], for `adu_per_eV`; the nearest 50 eV is used
        shift_m : (x, y) shift of the whole detector [m]
        kind : dtype of the pixels; the highest value of an unsigned one marks bad pixels
        """
        energy_ev = round(energy_ev / ENERGY_STEP_EV) * ENERGY_STEP_EV
        shift_mm = 1e3 * np.array([shift_m[0], shift_m[1], clen_m])
        panels = [self._panel(item, shift_mm, energy_ev, kind) for item in self.panels]
        return Detector(tuple(panels), self.slab_shape)

    def _panel(
        self, item: GeomPanel, shift_mm: Array, energy_ev: float, kind: np.dtype[Any]
    ) -> Panel:
        """Return one panel, moved by `shift_mm` (3,) in CrystFEL's frame."""
        pixel_mm = 1e3 / item.number("res")
        fs, ss = np.array(item.direction("fs")), np.array(item.direction("ss"))
        corner = [
            item.number("corner_x") * pixel_mm,
            item.number("corner_y") * pixel_mm,
            item.number("coffset", 0.0) * 1e3,
        ]
        slow, fast = self.place(item)
        return Panel(
            name=item.name,
            origin_mm=vector(FROM_MCSTAS @ np.add(corner, shift_mm)),
            fast=unit_vector(FROM_MCSTAS @ fs, f"{item.where}: {item.name}/fs"),
            slow=unit_vector(FROM_MCSTAS @ ss, f"{item.where}: {item.name}/ss"),
            pixel_mm=(pixel_mm * float(np.linalg.norm(fs)), pixel_mm * float(np.linalg.norm(ss))),
            shape=(slow.stop - slow.start, fast.stop - fast.start),
            slab_start=(slow.start, fast.start),
            trusted=_trusted(item, kind),
            gain=_gain(item, energy_ev),
        )

    @cached_property
    def good(self) -> NDArray[np.bool_]:
        """Pixels (slow, fast) of a panel and of no bad region, True is good."""
        result = np.zeros(self.slab_shape, dtype=bool)
        for panel in self.panels:
            edge = int(panel.number("mask_edge_pixels", 0.0))
            ss0, ss1, fs0, fs1 = panel.span
            n_slow, n_fast = ss1 - ss0 + 1, fs1 - fs0 + 1
            good = np.zeros((n_slow, n_fast), dtype=bool)
            good[edge : n_slow - edge, edge : n_fast - edge] = True
            for region in self.geom.bad:
                good &= ~_in_region(panel, region)
            result[self.place(panel)] = good
        return result


def layout_of(geometry: Path) -> GeomLayout:
    """Return the layout in a geometry file; read once for all the files that it goes with."""
    return _layout(geometry, _changed(geometry))


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as err:
        raise SourceError(f"{path}: no such geometry file ({err})") from err


@lru_cache(maxsize=4)
def _layout(geometry: Path, _changed_ns: int) -> GeomLayout:
    return GeomLayout(read_geom(geometry))


def _ignored(panel: GeomPanel) -> bool:
    return panel.text("no_index", "0").lower() in ("1", "true")


def _place(panel: GeomPanel) -> tuple[str, tuple[str, ...]]:
    return panel.text("data", "/data/data"), panel.dims


def _trusted(panel: GeomPanel, kind: np.dtype[Any]) -> tuple[float, float]:
    """Return the lowest and highest trusted value of a panel."""
    low, high = -1e9, 1e9
    if kind.kind == "u":
        low, high = 0.0, float(np.iinfo(kind).max - 1)
    low = max(low, panel.number("flag_lessthan", low))
    highest = min(panel.number("max_adu", high), panel.number("flag_morethan", high))
    return low, min(high, highest)


def _gain(panel: GeomPanel, energy_ev: float) -> float:
    """Return detector counts a photon; 1 where the file does not say."""
    if "adu_per_photon" in panel.fields:
        return panel.number("adu_per_photon")
    if "adu_per_eV" in panel.fields:
        return panel.number("adu_per_eV") * energy_ev
    return 1.0


def _in_region(panel: GeomPanel, fields: GeomPanel) -> NDArray[np.bool_]:
    """Return the panel's pixels (slow, fast) that lie in a bad region."""
    ss0, ss1, fs0, fs1 = panel.span
    slow, fast = np.mgrid[ss0 : ss1 + 1, fs0 : fs1 + 1]
    if "min_fs" in fields.fields:
        owner = fields.text("panel", panel.name)
        inside = _between(slow, fields, "ss") & _between(fast, fields, "fs")
        return inside if owner == panel.name else np.zeros_like(inside)
    fs, ss = np.array(panel.direction("fs")), np.array(panel.direction("ss"))
    across, down = fast - fs0 + 0.5, slow - ss0 + 0.5
    x = panel.number("corner_x") + across * fs[0] + down * ss[0]
    y = panel.number("corner_y") + across * fs[1] + down * ss[1]
    return _between(x, fields, "x") & _between(y, fields, "y")


def _between(values: Array, fields: GeomPanel, axis: str) -> NDArray[np.bool_]:
    low, high = fields.number(f"min_{axis}"), fields.number(f"max_{axis}")
    return np.asarray((values >= low) & (values <= high))


def check_span(block: DataBlock, shape: Sequence[int], where: str) -> None:
    """Raise `GeometryError` unless data of `shape` holds the panels of the block."""
    if len(shape) != len(block.dims):
        raise GeometryError(
            f"{where}: {block.data} has {len(shape)} dimensions {tuple(shape)}, the geometry file "
            f"describes {len(block.dims)}: {', '.join(block.dims)} (dim0, dim1 ...)"
        )
    found = shape[block.dims.index("ss")], shape[block.dims.index("fs")]
    if found[0] < block.shape[0] or found[1] < block.shape[1]:
        raise GeometryError(
            f"{where}: {block.data} has frames of {found[0]} x {found[1]}, the panels of the "
            f"geometry file reach {block.shape[0]} x {block.shape[1]} (ss x fs)"
        )
