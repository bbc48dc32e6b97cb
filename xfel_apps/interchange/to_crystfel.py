"""Write runs as a CrystFEL stream with its geometry file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps import __version__
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.manifest import write_text
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.reflections import REFLECTIONS, ReflectionFlag
from xfel_apps.containers.spots import SPOTS
from xfel_apps.errors import SourceError
from xfel_apps.geometry import Detector
from xfel_apps.geometry.mosaic import Mosaic
from xfel_apps.interchange.crystfel_lattice import cell_text, lattice_name
from xfel_apps.interchange.from_crystfel import BALL_HALF_WIDTH, NOTE, Geometry
from xfel_apps.interchange.runs import BLOCK_EVENTS, NO_ROWS, Block, Run
from xfel_apps.interchange.stream import NO_PEAKS, NO_REFLECTIONS, Chunk, StreamCrystal, Table
from xfel_apps.interchange.stream_write import chunk_text, header
from xfel_apps.progress import Progress
from xfel_apps.sources import open_raw
from xfel_apps.sources.cbf import is_cbf_name
from xfel_apps.sources.convert import FROM_MCSTAS
from xfel_apps.sources.geom_write import moved_geom, new_geom
from xfel_apps.units import energy_from_wavelength

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

NM_ANG = 10.0
"""Angstrom in a nanometre."""

Share = tuple[Run, IntArray]
"""A run and some of its events."""


def write_crystfel(runs: Sequence[Run], out: Path) -> list[Path]:
    """Write runs as the stream `out`, its geometry file beside it; return the files.

    A stream has one geometry: shots on another detector, or on the same one elsewhere, go to a
    stream of their own, `out` with -2, -3 ... in its name.
    """
    groups: dict[str, list[Share]] = {}
    for run in runs:
        which = run.event_column("detector")[run.shots]
        for number in np.unique(which):
            events = run.shots[which == number]
            groups.setdefault(geometry_text(run, int(events[0])), []).append((run, events))
    if not groups:
        raise SourceError(f"{out}: the runs have no shot to write")
    written = []
    for number, (text, shares) in enumerate(groups.items(), start=1):
        path = out if number == 1 else out.with_stem(f"{out.stem}-{number}")
        written += _write(shares, text, path)
    return written


def _write(shares: Sequence[Share], text: str, path: Path) -> list[Path]:
    """Write the stream of one geometry."""
    geometry = path.with_suffix(".geom")
    write_text(geometry, text)
    chunks = Chunks(Geometry.parse(text, str(geometry)))
    if chunks.geometry.has_paths:
        raise SourceError(
            f"{path}: the geometry file of the runs has a dataset for each event (data with %); "
            "streams of such events are not written"
        )
    part = path.with_name(f".{path.name}.part")
    total = sum(len(events) for _, events in shares)
    try:
        with part.open("w") as file, Progress(f"write {path.name}", total) as progress:
            file.write(header(text, _cell(shares), f"xfelflow export --to crystfel -o {path}"))
            for run, events in shares:
                for start in range(0, len(events), BLOCK_EVENTS):
                    for shot in shots_of(run, events[start : start + BLOCK_EVENTS]):
                        file.writelines(chunk_text(chunks.of(run, shot)))
                        progress.report("shots")
        part.replace(path)
    except OSError as err:
        raise SourceError(f"{path}: cannot write ({err})") from err
    return [path, geometry]


def geometry_text(run: Run, event: int) -> str:
    """Return the geometry file that goes with a shot: that of its run, or one made for it."""
    comment = f"written by xfelflow {__version__} export"
    detector = run.detectors[int(run.event_column("detector")[event])]
    original = run.events.geometry_file
    if original is None:
        wavelength_ang = float(np.median(run.event_column("wavelength_ang")[run.shots]))
        return new_geom(detector, wavelength_ang, comment)
    settings = run.events.manifest.settings
    if settings.get("panels") is None and settings.get("distance_mm") is None:
        return original.read_text()
    path, frame = run.events.location(event)
    raw = open_raw(path, original)
    try:
        return moved_geom(original, raw.detector(frame), detector, comment)
    finally:
        raw.close()


def _cell(shares: Sequence[Share]) -> str:
    """Return the unit cell file of the lattices found; nothing where there are none."""
    runs = [run for run, _ in shares]
    for product in (REFLECTIONS, CRYSTALS):
        blocks = [run.crystals[product.name] for run in runs if run.results.has(product)]
        groups = [group for block in blocks for group in block.columns["space_group"].tolist()]
        if groups:
            cells = np.concatenate([block.columns["cell"] for block in blocks])
            common = max(set(groups), key=groups.count)
            median = np.median(cells[np.array(groups) == common], axis=0)
            return cell_text(median, common.decode())
    return ""


@dataclass(frozen=True)
class Shot:
    """Rows of one shot, by column.

    Attributes
    ----------
    event : its number
    is_hit : whether spotfind took it for one
    spots : good ones
    crystals, reflections : as far as they are made
    """

    event: int
    is_hit: bool
    spots: Block
    crystals: Block
    reflections: Block


def shots_of(run: Run, events: IntArray) -> Iterator[Shot]:
    """Yield the shots of a block of events, in order."""
    results = run.results
    outcome = results.outcomes["outcome"]
    spots = run.good_spots(events) if results.has(SPOTS) else NO_ROWS
    done = run.seen(REFLECTIONS) if results.has(REFLECTIONS) else NO_ROWS.events
    later = run.crystals.get(REFLECTIONS.name, NO_ROWS)
    earlier = run.crystals.get(CRYSTALS.name, NO_ROWS)
    rows = NO_ROWS
    if len(np.intersect1d(events, done)):
        rows = run.block(REFLECTIONS, "reflections", np.intersect1d(events, done))
    for event in events.tolist():
        integrated = later.of(event)
        yield Shot(
            event,
            outcome.at[event] not in (Outcome.PENDING, Outcome.MISS, Outcome.FAILED),
            spots.of(event),
            integrated if len(integrated) else earlier.of(event),
            rows.of(event),
        )


@dataclass(frozen=True)
class Chunks:
    """Makes chunks of shots, their panels placed as in a geometry file."""

    geometry: Geometry

    def of(self, run: Run, shot: Shot) -> Chunk:
        """Return the chunk of a shot."""
        detector, beam = run.events.detector(shot.event), run.beam(shot.event)
        if len(shot.crystals):
            wavelength_ang = float(shot.crystals.columns["wavelength_ang"][0])
            beam = beam.with_wavelength(wavelength_ang)
        path, frame = run.events.location(shot.event)
        peaks = self._peaks(shot.spots, detector)
        camera_m = -1e-3 * float(np.mean(detector.origins_mm[:, 2]))
        fields = {
            "Image serial number": str(shot.event + 1),
            "hit": str(int(shot.is_hit)),
            "indexed_by": "file" if len(shot.crystals) else "none",
            "photon_energy_eV": f"{energy_from_wavelength(beam.wavelength_ang):.12g}",
            "beam_divergence": "0.00e+00 rad",
            "beam_bandwidth": "1.00e-08 (fraction)",
            "average_camera_length": f"{camera_m:.12g} m",
            "num_peaks": str(len(peaks)),
        }
        crystals = tuple(self._crystal(shot, row, detector) for row in range(len(shot.crystals)))
        one_a_file = is_cbf_name(path) or not self.geometry.has_frames
        event = "" if one_a_file else f"//{frame}"
        return Chunk(0, str(path), event, fields, peaks, crystals)

    def _places(self, rows: Block, detector: Detector) -> tuple[Array, NDArray[np.str_]]:
        """Return (n, 2) fs and ss in the data, and the panels' names (n,)."""
        names = np.array([panel.name for panel in detector.panels])[rows.columns["panel"]]
        number = np.array([self.geometry.names[str(name)] for name in names], dtype=np.int64)
        own = np.column_stack([rows.columns["fast_px"], rows.columns["slow_px"]]).astype(float)
        return own + self.geometry.starts[number].reshape(-1, 2), names

    def _peaks(self, spots: Block, detector: Detector) -> Table:
        if not len(spots):
            return NO_PEAKS
        place, names = self._places(spots, detector)
        inverse_nm = NM_ANG / np.maximum(spots.columns["d_ang"].astype(float), 1e-9)
        return Table(np.column_stack([place, inverse_nm, spots.columns["intensity"]]), names)

    def _crystal(self, shot: Shot, row: int, detector: Detector) -> StreamCrystal:
        columns = {name: values[row] for name, values in shot.crystals.columns.items()}
        mine = shot.reflections
        if len(mine):
            mine = mine.take(mine.columns["lattice"] == columns["lattice"])
        table = NO_REFLECTIONS
        if len(mine):
            usable = mine.take(mine.columns["flags"] == 0)
            place, names = self._places(usable, detector)
            wanted = ["h", "k", "l", "intensity", "sigma", "", "background"]
            zero = np.zeros(len(usable))
            numbers = [usable.columns[name] if name else zero for name in wanted]
            table = Table(np.column_stack([*numbers, place]), names)
        a_matrix = FROM_MCSTAS @ columns["a_matrix"]
        return StreamCrystal(a_matrix, _crystal_fields(columns, mine, len(table)), table)


def _crystal_fields(columns: dict[str, Any], rows: Block, n_written: int) -> dict[str, str]:
    """Return the lines of a crystal, but for its vectors."""
    group = columns["space_group"].decode()
    name, cell = lattice_name(group), columns["cell"]
    mosaic = Mosaic(float(columns["mosaicity_deg"]), float(columns["block_size_ang"]))
    d_min_ang = max(float(columns["d_min_ang"]), 1e-9)
    typical = np.median(1.0 / rows.columns["d_ang"]) if len(rows) else 0.5 / d_min_ang
    radius_invang = float(mosaic.half_width_invang(np.array([typical]))[0]) / BALL_HALF_WIDTH
    saturated = rows.columns["flags"] & int(ReflectionFlag.SATURATED) if len(rows) else np.zeros(0)
    lengths, angles = " ".join(f"{x / NM_ANG:.5f}" for x in cell[:3]), cell[3:]
    return {
        "Cell parameters": f"{lengths} nm, {' '.join(f'{x:.5f}' for x in angles)} deg",
        "lattice_type": name.lattice_type,
        "centering": name.centering,
        "unique_axis": name.unique_axis,
        "profile_radius": f"{NM_ANG * radius_invang:.5f} nm^-1",
        f"{NOTE}space_group": group,
        f"{NOTE}mosaicity": f"{columns['mosaicity_deg']:.9g} deg",
        f"{NOTE}block_size": f"{columns['block_size_ang']:.9g} A",
        "diffraction_resolution_limit": f"{NM_ANG / d_min_ang:.2f} nm^-1 or {d_min_ang:.2f} A",
        "num_reflections": str(n_written),
        "num_saturated_reflections": str(int(np.count_nonzero(saturated))),
        "num_implausible_reflections": "0",
    }
