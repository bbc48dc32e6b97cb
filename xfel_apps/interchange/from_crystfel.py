"""From a CrystFEL stream to shots in our tables and frame."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.manifest import write_text
from xfel_apps.containers.spots import Spots
from xfel_apps.errors import GeometryError, SettingsError, SourceError
from xfel_apps.geometry import Beam, Detector
from xfel_apps.geometry.mosaic import SCHERRER, Mosaic
from xfel_apps.interchange.expt import located
from xfel_apps.interchange.models import NO_MOSAIC, CrystalModel
from xfel_apps.interchange.shots import (
    Matches,
    Measured,
    PeerLattice,
    PeerShot,
    spot_q,
    with_resolution,
)
from xfel_apps.interchange.stream import (
    Chunk,
    StreamCrystal,
    Table,
    image_names,
    read_chunks,
    read_header,
)
from xfel_apps.sources.convert import FROM_MCSTAS, LENGTHS_MM, unit_factor
from xfel_apps.sources.geom import parse_geom
from xfel_apps.sources.geom_detector import GeomLayout
from xfel_apps.units import wavelength_from_energy

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

INDEX_TOLERANCE = 0.25
"""A peak lies on a lattice if its indices are so near to whole numbers: indexamajig's own test."""

BALL_HALF_WIDTH = np.sqrt(0.5)
"""CrystFEL's profile radius R is that of a ball about each lattice point. A cut through it at a
distance e from its middle has 1 - (e/R)^2 of its largest area: a half at this share of R."""

SPOT_VARIANCE_PX2 = 0.01
"""Variance of a strong peak's centroid, which the stream does not say; a weak one has up to 1/12
more, that of a single pixel."""

NOTE = "xfelflow/"
"""Of the fields that only this software writes."""


@dataclass(frozen=True)
class Geometry:
    """The geometry of a stream's header.

    Attributes
    ----------
    layout : its panels
    camera_mm : distance of the detector where the geometry file gives it as a number
    """

    layout: GeomLayout
    camera_mm: float | None
    names: dict[str, int]
    starts: Array

    @classmethod
    def parse(cls, text: str, where: str) -> "Geometry":
        """Return the geometry in the header of the stream `where`."""
        layout = GeomLayout(parse_geom(text, where))
        source = layout.geom.source("clen")
        camera_mm = None
        if source is not None and source.value is not None:
            factor = unit_factor(LENGTHS_MM, source.unit or "m", f"{where}: clen")
            camera_mm = source.value * factor
        spans = [panel.span for panel in layout.panels]
        return cls(
            layout,
            camera_mm,
            {panel.name: number for number, panel in enumerate(layout.panels)},
            np.array([(span[2], span[0]) for span in spans], dtype=float),
        )

    @property
    def has_frames(self) -> bool:
        """Whether a raw file holds many frames, one behind the other."""
        return any("%" in block.dims for block in self.layout.blocks)

    @property
    def has_paths(self) -> bool:
        """Whether each event of a raw file is a dataset of its own."""
        return any("%" in block.data for block in self.layout.blocks)

    def detector(self, chunk: Chunk, energy_ev: float, where: str) -> Detector:
        """Return the detector of a shot, at the distance that its chunk says."""
        camera_mm = self.camera_mm
        if camera_mm is None:
            text = chunk.fields.get("average_camera_length", "").split()
            if not text:
                raise SourceError(f"{where}: no average_camera_length, and no clen in the geometry")
            offsets = [panel.number("coffset", 0.0) for panel in self.layout.panels]
            camera_mm = 1e3 * (float(text[0]) - float(np.mean(offsets)))
        return self.layout.detector(
            round(1e-3 * camera_mm, 9), energy_ev, (0.0, 0.0), np.dtype(np.float32)
        )

    def places(self, table: Table, columns: slice, where: str) -> tuple[IntArray, Array, Array]:
        """Return panel, fast and slow (n,) within it of a table's rows."""
        known, inverse = np.unique(table.panel, return_inverse=True)
        unknown = [str(name) for name in known if name not in self.names]
        if unknown:
            raise GeometryError(f"{where}: panel {unknown[0]} is not in the stream's geometry")
        panel = np.array([self.names[str(name)] for name in known], dtype=np.int64)[
            inverse
        ].reshape(-1)
        own = table.numbers[:, columns] - self.starts[panel].reshape(-1, 2)
        return panel, own[:, 0], own[:, 1]


def read_stream(path: Path, space_group: str | None) -> Iterator[PeerShot]:
    """Yield the shots of a stream.

    Parameters
    ----------
    path : of the stream
    space_group : of its crystals, which a stream does not say
    """
    geometry = Geometry.parse(read_header(path).geometry, str(path))
    detectors: dict[str, Detector] = {}
    seen: set[tuple[str, int]] = set()
    for chunk in read_chunks(path):
        where = f"{path}: chunk of line {chunk.line}"
        beam = _beam(chunk, where)
        energy_ev = float(chunk.fields["photon_energy_eV"])
        key = chunk.fields.get("average_camera_length", "")
        if key not in detectors:
            detectors[key] = geometry.detector(chunk, energy_ev, where)
        shot = chunk.image, frame_of(chunk.event, where)
        if shot in seen:
            raise SourceError(f"{where}: {shot[0]} {chunk.event} is in the stream twice")
        seen.add(shot)
        yield _shot(chunk, beam, detectors[key], geometry, (path, shot[1], where, space_group))


def raw_files(path: Path) -> list[Path]:
    """Return the raw file of each chunk of a stream, absolute."""
    known: dict[str, Path] = {}
    return [
        known.setdefault(name, known.get(name) or located(name, path)) for name in image_names(path)
    ]


def write_geometry(path: Path, target: Path) -> None:
    """Write the geometry of a stream's header as a file of its own."""
    write_text(target, read_header(path).geometry)


def _beam(chunk: Chunk, where: str) -> Beam:
    try:
        return Beam(wavelength_from_energy(float(chunk.fields["photon_energy_eV"])))
    except (KeyError, ValueError) as err:
        raise SourceError(f"{where}: no photon_energy_eV, or not a number") from err


def frame_of(event: str, where: str) -> int:
    """Return the frame that an event's name means.

    >>> frame_of("//12", "here"), frame_of("", "here")
    (12, 0)
    """
    number = event.removeprefix("//") or "0"
    if not number.isdecimal():
        raise SourceError(
            f"{where}: event {event!r} names a path in the raw file; only frames numbered //N, or "
            "files of one frame, are read"
        )
    return int(number)


def _shot(
    chunk: Chunk,
    beam: Beam,
    detector: Detector,
    geometry: Geometry,
    place: tuple[Path, int, str, str | None],
) -> PeerShot:
    path, frame, where, space_group = place
    spots = with_resolution(_spots(geometry, chunk.peaks, where), detector, beam)
    q = spot_q(spots, detector, beam)
    taken = np.zeros(len(spots), dtype=bool)
    lattices = []
    for crystal in chunk.crystals:
        model = crystal_model(crystal, space_group, where)
        matches = _matches(q, model, taken)
        taken[matches.spots] = True
        measured = _measured(geometry, crystal.reflections, where)
        lattices.append(PeerLattice(model, matches, measured))
    is_hit = chunk.fields.get("hit", "1") == "1" or bool(lattices)
    return PeerShot(
        located(chunk.image, path), frame, beam, detector, spots, is_hit, lattices, True
    )


def _spots(geometry: Geometry, peaks: Table, where: str) -> Spots:
    """Return the peaks of a chunk; what a stream does not say is usual for its kind."""
    panel, fast, slow = geometry.places(peaks, slice(0, 2), where)
    intensity = peaks.numbers[:, 3]
    variance = SPOT_VARIANCE_PX2 + 1.0 / 12.0 / np.maximum(intensity, 1.0)
    zero = np.zeros(len(peaks))
    return Spots.make(
        panel=panel,
        fast_px=fast,
        slow_px=slow,
        fast_var_px2=variance,
        slow_var_px2=variance,
        intensity=intensity,
        sigma=np.sqrt(np.maximum(intensity, 1.0)),
        background=zero,
        peak=zero,
        peak_fast=np.floor(fast),
        peak_slow=np.floor(slow),
        n_pixels=zero,
        d_ang=zero,
        flags=zero,
    )


def crystal_model(crystal: StreamCrystal, space_group: str | None, where: str) -> CrystalModel:
    """Return the lattice of a stream in the lab frame."""
    group = crystal.fields.get(f"{NOTE}space_group") or space_group
    if group is None:
        lattice = " ".join(crystal.fields.get(key, "?") for key in ("lattice_type", "centering"))
        raise SettingsError(
            f"{where}: its crystals are {lattice}, their space group is not said; give "
            "--space-group"
        )
    found = gemmi.find_spacegroup_by_name(group)
    if found is None:
        raise SettingsError(f"{group!r} is not a space group; give a symbol such as P43212")
    return CrystalModel(FROM_MCSTAS @ crystal.a_matrix, found.hm, _mosaic(crystal, where))


def _mosaic(crystal: StreamCrystal, where: str) -> Mosaic:
    """Return the mosaic model that has the profile radius of the stream."""
    fields = crystal.fields
    try:
        if f"{NOTE}block_size" in fields:
            sizes = [fields[f"{NOTE}{name}"].split()[0] for name in ("mosaicity", "block_size")]
            return Mosaic(float(sizes[0]), float(sizes[1]))
        if "profile_radius" not in fields:
            return NO_MOSAIC
        radius_invang = float(fields["profile_radius"].split()[0]) / 10.0
    except (KeyError, ValueError, IndexError) as err:
        raise SourceError(f"{where}: profile_radius is not a number") from err
    half_width = BALL_HALF_WIDTH * radius_invang
    return Mosaic(0.0, 0.5 * SCHERRER / half_width) if half_width > 0 else NO_MOSAIC


def _matches(q: Array, model: CrystalModel, taken: NDArray[np.bool_]) -> Matches:
    """Return the spots that lie on a lattice and on none before it."""
    fractional = q @ np.linalg.inv(model.a_matrix).T
    hkl = np.rint(fractional)
    near = np.all(np.abs(fractional - hkl) < INDEX_TOLERANCE, axis=1) & ~taken
    near &= np.any(hkl != 0, axis=1)
    rows = np.flatnonzero(near)
    return Matches(rows, hkl[rows].astype(np.int64))


def _measured(geometry: Geometry, table: Table, where: str) -> Measured:
    panel, fast, slow = geometry.places(table, slice(7, 9), where)
    numbers = table.numbers
    return Measured(
        numbers[:, :3].astype(np.int64),
        {
            "panel": panel,
            "fast_px": fast,
            "slow_px": slow,
            "intensity": numbers[:, 3],
            "sigma": numbers[:, 4],
            "intensity_sum": numbers[:, 3],
            "sigma_sum": numbers[:, 4],
            "background": numbers[:, 6],
        },
    )
