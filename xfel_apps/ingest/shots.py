"""The shots of a run: where each frame lies, on which detector, with which scalars."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xfel_apps.errors import GeometryError, XfelError
from xfel_apps.geometry import Beam, Detector
from xfel_apps.ingest.override import at_distance, with_gain
from xfel_apps.ingest.settings import IngestSettings
from xfel_apps.sources import RawFile, open_raw

SHOT_ID_BYTES = 96


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
    """

    shot_id: str
    file: int
    frame: int
    setup: int = 0
    wavelength_ang: float = np.nan
    scalars: dict[str, float] = field(default_factory=dict)
    problem: str = ""


class Setups:
    """The distinct pairs of detector and beam of a run; equal ones share an entry.

    Parameters
    ----------
    settings : distance and gain that replace those of the files
    """

    def __init__(self, settings: IngestSettings) -> None:
        self.detectors: list[Detector] = []
        self.beams: list[Beam] = []
        self._settings = settings
        self._known: dict[tuple[str, Beam], int] = {}
        self._last: tuple[Detector, Beam, int] | None = None

    def index(self, detector: Detector, beam: Beam) -> int:
        """Return the number of this detector and beam; the wavelength does not count."""
        beam = beam.with_wavelength(1.0)
        if self._last and self._last[0] is detector and self._last[1] == beam:
            return self._last[2]
        key = detector.to_json(), beam
        if key not in self._known:
            self._known[key] = len(self.detectors)
            moved = at_distance(detector, beam, self._settings.distance_mm)
            self.detectors.append(with_gain(moved, self._settings.gain))
            self.beams.append(beam)
        self._last = detector, beam, self._known[key]
        return self._known[key]

    def beam_fields(self) -> list[dict[str, Any]]:
        """Return the fields of each beam, for the manifest."""
        return [asdict(beam) for beam in self.beams]


def find_shots(
    run: str, files: Sequence[Path], settings: IngestSettings, setups: Setups
) -> Iterator[Shot]:
    """Yield the shots of a run in order; no pixels are read.

    Parameters
    ----------
    run : its name
    files : raw files, in order
    settings : of ingest
    setups : filled with the detectors that are met
    """
    for number, (path, name) in enumerate(zip(files, file_names(files), strict=True)):
        try:
            raw = open_raw(path, settings.geometry)
        except XfelError as err:
            yield Shot(shot_id(run, name, 0), number, 0, problem=str(err))
            continue
        try:
            for frame in range(raw.n_frames):
                yield _shot(raw, frame, (shot_id(run, name, frame), number), settings, setups)
        finally:
            raw.close()


def _shot(
    raw: RawFile, frame: int, identity: tuple[str, int], settings: IngestSettings, setups: Setups
) -> Shot:
    """Return one shot; one that cannot be processed has its problem said."""
    try:
        problem = raw.problem(frame)
        if problem:
            return Shot(*identity, frame, problem=problem)
        beam = _beam(raw, frame, settings.wavelength_ang)
        setup = setups.index(raw.detector(frame), beam)
        return Shot(*identity, frame, setup, beam.wavelength_ang, raw.scalars(frame))
    except XfelError as err:
        text = str(err) if str(raw.path) in str(err) else f"{raw.path}: frame {frame}: {err}"
        return Shot(*identity, frame, problem=text)


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
