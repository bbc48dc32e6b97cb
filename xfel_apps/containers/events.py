"""events: the index of a run's shots. No pixels, only where each frame lies and its scalars."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xfel_apps.containers.manifest import Manifest, open_product
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import Product, Shots
from xfel_apps.containers.rows import Rows, column
from xfel_apps.geometry import Beam, Detector


@dataclass(frozen=True)
class EventShots(Shots):
    """One row a shot: identity and scalars. outcome is `pending`, `filtered` or `failed`."""

    shot_id: NDArray[np.bytes_] = column("S96", "", "stable identity: run:file:frame")
    file: NDArray[np.int32] = column("i4", "", "index into the manifest's list of files")
    frame: NDArray[np.int32] = column("i4", "", "frame in the file, from 0")
    detector: NDArray[np.int32] = column("i4", "", "index into the manifest's list of detectors")
    wavelength_ang: NDArray[np.float64] = column("f8", "angstrom", "wavelength of the shot")
    timestamp_s: NDArray[np.float64] = column("f8", "s", "when taken, seconds since 1970; NaN")
    pulse_energy_mj: NDArray[np.float64] = column("f8", "mJ", "pulse energy; NaN if unknown")
    laser_on: NDArray[np.int8] = column("i1", "", "pump laser: 1 on, 0 off, -1 unknown")
    complete_s: NDArray[np.float64] = column(
        "f8", "s", "when the frame was complete on disk, seconds since 1970; NaN"
    )


@dataclass(frozen=True)
class Scalars(Rows):
    """Further per-shot scalars, as many as the source has."""

    name: NDArray[np.bytes_] = column("S48", "", "name of the scalar")
    value: NDArray[np.float64] = column("f8", "", "its value")


EVENTS = Product("events", "ingest", 2, EventShots, {"scalars": Scalars})


class ShotIndex(Protocol):
    """What the stages' processors ask about a shot."""

    def location(self, event: int) -> tuple[Path, int]:
        """Return the raw file and the frame in it."""

    def shot_id(self, event: int) -> str:
        """Return the stable identity of a shot: run:file:frame."""

    def detector(self, event: int) -> Detector:
        """Return the detector of a shot (the same object for shots that share it)."""

    def beam(self, event: int) -> Beam:
        """Return the beam of a shot, with its own wavelength."""


@dataclass(frozen=True)
class Events:
    """The events of one run, read into memory.

    Attributes
    ----------
    manifest : `extra` has `files` (list of paths), `geometry` and `mask` (path of a geometry file
        and of the user's mask, or null), `detectors` (list of JSON texts) and `beams` (list of
        Beam fields, one a detector)
    frame : shots table, indexed by event
    """

    manifest: Manifest
    frame: pd.DataFrame

    @classmethod
    def read(cls, path: Path) -> "Events":
        """Return the events of the manifest at `path`."""
        manifest, reader = open_product(path, EVENTS)
        try:
            return cls(manifest, reader.shots())
        finally:
            reader.close()

    @cached_property
    def files(self) -> list[Path]:
        """Raw files of the run."""
        return [Path(item) for item in self.manifest.extra["files"]]

    @property
    def geometry_file(self) -> Path | None:
        """Geometry file that goes with the raw files, if they need one."""
        name = self.manifest.extra.get("geometry")
        return Path(name) if name else None

    @property
    def mask_file(self) -> Path | None:
        """User's mask of bad pixels, if one was given."""
        name = self.manifest.extra.get("mask")
        return Path(name) if name else None

    @cached_property
    def detectors(self) -> list[Detector]:
        """Distinct detectors of the run."""
        return [Detector.from_json(text) for text in self.manifest.extra["detectors"]]

    @cached_property
    def outcomes(self) -> dict[int, Outcome]:
        """Outcome of every event after ingest."""
        return {event: Outcome(text) for event, text in enumerate(self.frame["outcome"])}

    @cached_property
    def _columns(self) -> dict[str, NDArray[Any]]:
        return {str(name): self.frame[name].to_numpy() for name in self.frame}

    def _column(self, name: str) -> NDArray[Any]:
        """Return a column as an array; events are numbered from 0, so events index it."""
        return self._columns[name]

    @property
    def pending(self) -> NDArray[np.int64]:
        """Events that are to be processed, in order."""
        return self.frame.index[self.frame["outcome"] == Outcome.PENDING].to_numpy(np.int64)

    def location(self, event: int) -> tuple[Path, int]:
        """Return the raw file and the frame in it."""
        return self.files[int(self._column("file")[event])], int(self._column("frame")[event])

    def shot_id(self, event: int) -> str:
        """Return the stable identity of a shot: run:file:frame."""
        return bytes(self._column("shot_id")[event]).decode()

    def detector(self, event: int) -> Detector:
        """Return the detector of a shot (the same object for shots that share it)."""
        return self.detectors[int(self._column("detector")[event])]

    def detector_text(self, event: int) -> str:
        """Return the JSON text of a shot's detector."""
        return str(self.manifest.extra["detectors"][int(self._column("detector")[event])])

    def beam(self, event: int) -> Beam:
        """Return the beam of a shot, with its own wavelength."""
        fields = self.manifest.extra["beams"][int(self._column("detector")[event])]
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()
        }
        return Beam(**{**values, "wavelength_ang": float(self._column("wavelength_ang")[event])})


def detectors_to_json(detectors: list[Detector]) -> list[str]:
    """Return the texts that `Events.detectors` reads back."""
    return [detector.to_json() for detector in detectors]
