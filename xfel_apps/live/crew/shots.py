"""The shots of a chunk as the stages' processors ask for them: all in memory, each frame once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from xfel_apps.containers.events import Events
from xfel_apps.containers.rows import R, Rows
from xfel_apps.geometry import Beam, Detector
from xfel_apps.sources import FrameCache


class ChunkShots:
    """Shots of the chunk at hand, by their live numbers.

    Equal detectors of all chunks of a run are one object, so that what is kept for a detector
    serves the whole run.
    """

    def __init__(self) -> None:
        self._first = 0
        self._events: Events | None = None
        self._detectors: dict[str, Detector] = {}

    def turn_to(self, first: int, events: Events) -> None:
        """Answer for a chunk from now on.

        Parameters
        ----------
        first : live number of its first shot
        events : its shots, numbered from 0
        """
        self._first, self._events = first, events

    @property
    def _chunk(self) -> Events:
        if self._events is None:
            raise LookupError("no chunk was turned to")
        return self._events

    def location(self, event: int) -> tuple[Path, int]:
        """Return the raw file and the frame in it."""
        return self._chunk.location(event - self._first)

    def shot_id(self, event: int) -> str:
        """Return the stable identity of a shot: run:file:frame."""
        return self._chunk.shot_id(event - self._first)

    def beam(self, event: int) -> Beam:
        """Return the beam of a shot, with its own wavelength."""
        return self._chunk.beam(event - self._first)

    def detector(self, event: int) -> Detector:
        """Return the detector of a shot (the same object for shots that share it)."""
        text = self._chunk.detector_text(event - self._first)
        if text not in self._detectors:
            self._detectors[text] = Detector.from_json(text)
        return self._detectors[text]


class ShotRows:
    """The rows that the stages have just found on one shot."""

    def __init__(self) -> None:
        self._event = -1
        self._tables: dict[str, Rows] = {}

    def keep(self, event: int, tables: Mapping[str, Rows]) -> None:
        """Keep rows of a shot; those of the shot before are forgotten."""
        if event != self._event:
            self._event, self._tables = event, {}
        self._tables.update(tables)

    def rows(self, table: str, event: int, kind: type[R]) -> R:
        """Return the rows of one event in `table` as `kind`; none if the event is not here."""
        found = self._tables.get(table) if event == self._event else None
        return found if isinstance(found, kind) else kind.empty()


class OneFrame(FrameCache):
    """Frames of a run, each read once however many stages look at it one after the other."""

    _last: tuple[Path, int, NDArray[Any]] | None = None

    def pixels(self, path: Path, frame: int) -> NDArray[Any]:
        """Return one frame (slow, fast) [ADU]; do not write to it."""
        if self._last is None or self._last[:2] != (path, frame):
            self._last = None  # two frames need not be in memory at once
            self._last = path, frame, super().pixels(path, frame)
        return self._last[2]
