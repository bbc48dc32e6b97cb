"""CXI and plain HDF5 whose layout and geometry a CrystFEL `.geom` file describes."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import GeometryError, SourceError
from xfel_apps.geometry import Beam, Detector
from xfel_apps.sources.convert import LENGTHS_MM, unit_factor, wavelength_converter
from xfel_apps.sources.geom import Source
from xfel_apps.sources.geom_detector import DataBlock, check_span, layout_of
from xfel_apps.sources.geom_mask import GeomMasks, read_block
from xfel_apps.sources.hdf5 import open_hdf5, reading
from xfel_apps.sources.hdf5_state import grows, is_hdf5, written_frames
from xfel_apps.sources.scalars import PER_SHOT, read_scalars
from xfel_apps.sources.virtual import missing_sources, problem_of
from xfel_apps.units import energy_from_wavelength

SCALAR_GROUPS = ("/LCLS", "/cheetah/event_data", "/entry_1", "/entry_1/result_1", "/entry")
QUANTITIES = ("photon_energy", "wavelength", "clen", "detector_shift_x", "detector_shift_y")
"""What a geometry file may give by the path of a dataset."""
N_DETECTORS = 16
"""Detectors kept for shots at different distances."""
CLEN_STEP_M = 1e-6
"""Encoder readings are rounded so, that shots of one setting share a detector."""


def understands(path: Path, geometry: Path | None) -> bool:
    """Return whether a `.geom` file is given and the file is HDF5 with the data it names."""
    if geometry is None or not is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return all("%" in name or name in file for name in expected(geometry))


def expected(geometry: Path) -> list[str]:
    """Return the datasets that a geometry file describes."""
    return [block.data for block in layout_of(geometry).blocks]


def open_file(path: Path, geometry: Path | None) -> "CrystfelFile":
    """Return the file, open for reading."""
    if geometry is None:
        raise GeometryError(f"{path}: needs a CrystFEL .geom file")
    return CrystfelFile(path, geometry)


class CrystfelFile:
    """One HDF5 file with a geometry file."""

    def __init__(self, path: Path, geometry: Path) -> None:
        self.path = path
        self._layout = layout_of(geometry)
        self._file = open_hdf5(path)
        with reading(path, "the frames"):
            self._events = self._event_names()
            shapes = [self._shape(block) for block in self._layout.blocks]
        depths = [block.dims.index("%") for block in self._layout.blocks if "%" in block.dims]
        counts = {shape[depth] for shape, depth in zip(shapes, depths, strict=False)}
        if self._file.swmr_mode and counts:
            counts = {min([*counts, *self._rows_so_far()])}
        if len(counts) > 1:
            raise SourceError(f"{path}: datasets with different numbers of frames {sorted(counts)}")
        self.n_frames = counts.pop() if counts else len(self._events or [""])
        first = self._layout.blocks[0]
        self._dtype = self._file[self._name(first.data, 0)].dtype
        self._missing = missing_sources(self._file, path, [first.data])
        self.n_known = min([self.n_frames, *(item.start for item in self._missing)])
        self.awaits = tuple(item.path for item in self._missing)
        groups = [self._file[name] for name in SCALAR_GROUPS if name in self._file]
        self._scalars = read_scalars(groups, self.n_frames)
        self._detectors: dict[tuple[float, ...], Detector] = {}
        self._masks = GeomMasks(self._layout, self._file, self._name)

    def _event_names(self) -> list[str]:
        """Return what stands for % in the path of the data, in order; none if there is no %."""
        name = self._layout.blocks[0].data
        if "%" not in name:
            return []
        head, _, _ = name.partition("%")
        parent, _, prefix = head.rpartition("/")
        pattern = re.compile(re.escape(prefix) + "(.*)" + re.escape(_tail(name)))
        matches = [pattern.fullmatch(key) for key in self._file[parent or "/"]]
        return sorted(match[1] for match in matches if match)

    def _rows_so_far(self) -> list[int]:
        """Return the lengths of what grows and is needed for each frame: data, masks, quantities.

        Scalars that every run has count as well, others do not.
        """
        layout = self._layout
        sources = [layout.geom.source(name) for name in QUANTITIES]
        names = [source.path for source in sources if source is not None and source.value is None]
        names += [block.data for block in layout.blocks]
        names += [mask.data for panel in layout.panels for mask in panel.masks if not mask.file]
        names += [f"{group}/{name}" for group in SCALAR_GROUPS for name in PER_SHOT]
        items = [self._file[name] for name in names if name in self._file]
        return [written_frames(item) for item in items if grows(item)]

    def _name(self, data: str, frame: int) -> str:
        return data.replace("%", self._events[frame]) if self._events else data

    def _shape(self, block: DataBlock) -> tuple[int, ...]:
        name = self._name(block.data, 0)
        if name not in self._file:
            raise SourceError(f"{self.path}: no dataset {name}, which the geometry file names")
        shape = tuple(int(n) for n in self._file[name].shape)
        check_span(block, shape, str(self.path))
        return shape

    def _quantity(self, source: Source, frame: int) -> float:
        """Return a number that the geometry file gives, or that it says where to find."""
        if source.value is not None:
            return source.value
        with reading(self.path, source.path):
            item = self._file[self._name(source.path, frame)]
            per_frame = item.shape and (grows(item) or len(item) == self.n_frames)
            values = item[frame] if per_frame else item[()]
            return float(np.ravel(values)[0])

    def _metres(self, name: str, frame: int, path_unit: str) -> float:
        """Return a length of the geometry file [m]; without a unit a number is in metres."""
        source = self._layout.geom.source(name)
        if source is None:
            return 0.0
        unit = source.unit or ("m" if source.value is not None else path_unit)
        factor = unit_factor(LENGTHS_MM, unit, f"{self._layout.geom.where}: {name}")
        return self._quantity(source, frame) * factor * 1e-3

    def n_complete(self) -> int:
        """Return how many frames, from the first on, can be read with all that belongs to them."""
        return self.n_known

    def beam(self, frame: int) -> Beam:
        """Return the beam of one shot, from `photon_energy` or `wavelength`."""
        geom = self._layout.geom
        for name, default in (("photon_energy", "eV"), ("wavelength", "m")):
            source = geom.source(name)
            if source is not None:
                convert = wavelength_converter(source.unit or default, f"{geom.where}: {name}")
                with np.errstate(divide="ignore"):
                    return Beam(float(convert(np.float64(self._quantity(source, frame)))))
        raise GeometryError(f"{geom.where}: no photon_energy and no wavelength")

    def detector(self, frame: int) -> Detector:
        """Return the detector; the same object for shots at one distance."""
        if self._layout.geom.source("clen") is None:
            raise GeometryError(f"{self._layout.geom.where}: no clen (distance of the detector)")
        clen = round(self._metres("clen", frame, "mm") / CLEN_STEP_M) * CLEN_STEP_M
        shift = tuple(self._metres(f"detector_shift_{axis}", frame, "m") for axis in "xy")
        key = (round(clen, 9), *shift)
        if key not in self._detectors:
            if len(self._detectors) >= N_DETECTORS:
                self._detectors.clear()
            energy = 0.0
            if any("adu_per_eV" in panel.fields for panel in self._layout.panels):
                energy = energy_from_wavelength(self.beam(frame).wavelength_ang)
            self._detectors[key] = self._layout.detector(
                key[0], energy, (shift[0], shift[1]), self._dtype
            )
        return self._detectors[key]

    def scalars(self, frame: int) -> dict[str, float]:
        """Return the per-shot scalars of the file."""
        return {name: float(values[frame]) for name, values in self._scalars.items()}

    def problem(self, frame: int) -> str:
        """Return why the frame cannot be read, without reading it."""
        return problem_of(self._missing, frame)

    def pixels(self, frame: int) -> NDArray[Any]:
        """Return the frame (slow, fast) [ADU]."""
        problem = self.problem(frame)
        if problem:
            raise SourceError(problem)
        blocks = self._layout.blocks
        parts = [self._block_pixels(block, frame) for block in blocks]
        if len(parts) == 1:
            return parts[0]
        slab = np.zeros(self._layout.slab_shape, dtype=parts[0].dtype)
        for block, part in zip(blocks, parts, strict=True):
            slab[block.slab_start : block.slab_start + part.shape[0], : part.shape[1]] = part
        return slab

    def _block_pixels(self, block: DataBlock, frame: int) -> NDArray[Any]:
        name = self._name(block.data, frame)
        with reading(self.path, f"frame {frame} of {name}"):
            return read_block(self._file[name], block, frame)

    def mask(self, frame: int) -> NDArray[np.bool_]:
        """Return the usable pixels (slow, fast): panels, bad regions, masks and flagged values."""
        good = self._masks.at(frame)
        for panel in self._layout.panels:
            if "flag_equal" in panel.fields:
                place = self._layout.place(panel)
                good = good.copy()
                good[place] &= self.pixels(frame)[place] != panel.number("flag_equal")
        return good

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _tail(name: str) -> str:
    """Return what follows % in its own part of the path."""
    return name.partition("%")[2].partition("/")[0]
