"""The shots of a run: where each frame lies, on which detector, with which scalars."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xfel_apps.errors import GeometryError, SourceError, XfelError
from xfel_apps.geometry import Beam, Detector
from xfel_apps.ingest.override import at_distance, with_gain, with_panels
from xfel_apps.ingest.settings import IngestSettings
from xfel_apps.sources import RawFile, open_raw

SHOT_ID_BYTES = 96
DAMAGE = (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What libraries raise on files that are damaged in a way nobody foresaw."""


@dataclass(frozen=True)
class Shot:
    """One shot as ingest found it.

    Attributes
    ----------
    shot_id : stable identity, run:file:frame
    file, frame : index into the run's files, frame in the file
    setup : index into the run's detectors
    wavelength_ang : NaN for a shot that failed
    scalars : by name
    problem : why it cannot be processed; empty if it can
    complete_s : when its frame was complete on disk [seconds since 1970]; NaN if it is not there
    """

    shot_id: str
    file: int
    frame: int
    setup: int = 0
    wavelength_ang: float = np.nan
    scalars: dict[str, float] = field(default_factory=dict)
    problem: str = ""
    complete_s: float = np.nan


@dataclass(frozen=True)
class FileOfRun:
    """One raw file of a run.

    Attributes
    ----------
    run : name of the run
    path : where it lies
    name : short name, unique in the run
    number : index into the run's files
    """

    run: str
    path: Path
    name: str
    number: int

    def shot(self, frame: int, **columns: Any) -> Shot:
        """Return the shot of a frame."""
        return Shot(shot_id(self.run, self.name, frame), self.number, frame, **columns)


class Setups:
    """The distinct pairs of detector and beam of a run; equal ones share an entry.

    Parameters
    ----------
    settings : of ingest; panels, distance and gain replace those of the files
    """

    def __init__(self, settings: IngestSettings) -> None:
        self.detectors: list[Detector] = []
        self.beams: list[Beam] = []
        self.settings = settings
        self._known: dict[tuple[str, Beam], int] = {}
        self._last: tuple[Detector, Beam, int] | None = None

    def index(self, detector: Detector, beam: Beam, run: str) -> int:
        """Return the number of this detector and beam of a run; the wavelength does not count."""
        beam = beam.with_wavelength(1.0)
        if self._last and self._last[0] is detector and self._last[1] == beam:
            return self._last[2]
        key = detector.to_json(), beam
        if key not in self._known:
            placed = with_panels(detector, self.settings.panels, run)
            moved = at_distance(placed, beam, self.settings.distance_mm)
            self.detectors.append(with_gain(moved, self.settings.gain))
            self.beams.append(beam)
            self._known[key] = len(self.detectors) - 1
        self._last = detector, beam, self._known[key]
        return self._known[key]

    def beam_fields(self) -> list[dict[str, Any]]:
        """Return the fields of each beam, for the manifest."""
        return [asdict(beam) for beam in self.beams]


def find_shots(run: str, files: Sequence[Path], setups: Setups) -> Iterator[Shot]:
    """Yield the shots of a run in order; no pixels are read.

    Parameters
    ----------
    run : its name
    files : raw files, in order
    setups : filled with the detectors that are met; has the settings
    """
    for number, (path, name) in enumerate(zip(files, file_names(files), strict=True)):
        file = FileOfRun(run, path, name, number)
        complete_s = changed_s(path)
        try:
            raw = open_source(path, setups.settings)
        except XfelError as err:
            yield file.shot(0, problem=str(err), complete_s=complete_s)
            continue
        try:
            for frame in range(raw.n_frames):
                yield shot_of(raw, frame, file, setups, complete_s)
        finally:
            raw.close()


def open_source(path: Path, settings: IngestSettings) -> RawFile:
    """Return the raw file; whatever is wrong with it becomes an error that names it."""
    try:
        return open_raw(path, settings.geometry)
    except DAMAGE as err:
        raise SourceError(f"{path}: cannot read it ({type(err).__name__}: {err})") from err


def changed_s(path: Path) -> float:
    """Return when the file was last changed [seconds since 1970]; NaN if it is not there."""
    return path.stat().st_mtime if path.exists() else np.nan


def shot_of(raw: RawFile, frame: int, file: FileOfRun, setups: Setups, complete_s: float) -> Shot:
    """Return one shot; one that cannot be processed has its problem said.

    Parameters
    ----------
    raw, frame : where it lies
    file : of the run
    setups : filled with its detector
    complete_s : when it was complete on disk [seconds since 1970]
    """
    try:
        problem = raw.problem(frame)
        if problem:
            return file.shot(frame, problem=problem, complete_s=complete_s)
        beam = _beam(raw, frame, setups.settings.wavelength_ang)
        return file.shot(
            frame,
            setup=setups.index(raw.detector(frame), beam, file.run),
            wavelength_ang=beam.wavelength_ang,
            scalars=raw.scalars(frame),
            complete_s=complete_s,
        )
    except (XfelError, *DAMAGE) as err:
        text = str(err) if str(raw.path) in str(err) else f"{raw.path}: frame {frame}: {err}"
        return file.shot(frame, problem=text, complete_s=complete_s)


def _beam(raw: RawFile, frame: int, wavelength_ang: float | None) -> Beam:
    """Return the beam of a shot; a wavelength given by the user counts even if there is none."""
    if wavelength_ang is None:
        return raw.beam(frame)
    try:
        return raw.beam(frame).with_wavelength(wavelength_ang)
    except GeometryError:
        return Beam(wavelength_ang)


def file_names(files: Sequence[Path]) -> list[str]:
    """Return a short name of each file, unique in the run and the same wherever the run lies.

    Files of equal name in different folders have their folder in it.

    >>> file_names([Path("/d/a/x.cbf"), Path("/d/b/x.cbf"), Path("/d/b/y.cbf")])
    ['a/x.cbf', 'b/x.cbf', 'y.cbf']
    """
    counts = Counter(path.name for path in files)
    names = [
        path.name if counts[path.name] == 1 else f"{path.parent.name}/{path.name}" for path in files
    ]
    again = Counter(names)
    return [
        name if again[name] == 1 else f"{name}~{_short_digest(str(path))}"
        for name, path in zip(names, files, strict=True)
    ]


def shot_id(run: str, name: str, frame: int) -> str:
    """Return the stable identity of a shot; a long one is cut and made unique by a digest.

    >>> shot_id("r0014", "a_0001.cbf", 0)
    'r0014:a_0001.cbf:0'
    """
    text = f"{run}:{name}:{frame}"
    if len(text.encode()) <= SHOT_ID_BYTES:
        return text
    head = text.encode()[: SHOT_ID_BYTES - 24].decode(errors="ignore")
    return f"{head}~{_short_digest(text)}:{frame}"


def _short_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
