"""What every raw format offers to the stages."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xfel_apps.geometry import Beam, Detector


class RawFile(Protocol):
    """One raw file, open for reading. Reading one frame never reads the others.

    Attributes
    ----------
    path : file
    n_frames : its frames; of a file that another process appends to, those that are there
    n_known : as many of them, from the first on, as were there when it was opened; behind them
        something is missing that may come while the run is written
    awaits : other files, that have to come or to become whole for more frames
    """

    path: Path
    n_frames: int
    n_known: int
    awaits: tuple[Path, ...]

    def n_complete(self) -> int:
        """Return how many frames, from the first on, are whole on disk."""

    def beam(self, frame: int) -> Beam:
        """Return the beam of one shot (its own wavelength where the file has it)."""

    def detector(self, frame: int) -> Detector:
        """Return the detector; the same object for all frames unless it moved."""

    def scalars(self, frame: int) -> dict[str, float]:
        """Return per-shot scalars: `timestamp_s`, `pulse_energy_mj`, `laser_on` and others."""

    def problem(self, frame: int) -> str:
        """Return why the frame cannot be read, as known without reading pixels; empty if it can."""

    def mask(self, frame: int) -> NDArray[np.bool_]:
        """Return the pixels that may be used (slow, fast), True is good: static mask and gaps."""

    def pixels(self, frame: int) -> NDArray[Any]:
        """Return the frame (slow, fast) [ADU], pedestal taken off, in its natural dtype."""

    def close(self) -> None:
        """Close the file."""
