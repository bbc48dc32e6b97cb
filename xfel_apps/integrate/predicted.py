"""What is integrated: one frame, and the reflections that its lattices may show on it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.geometry import Beam, Detector
from xfel_apps.geometry.mosaic import Mosaic
from xfel_apps.geometry.prediction import Lattice, Predictions, predict
from xfel_apps.integrate.frames import Frames

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Mask = NDArray[np.bool_]

LOOK_REACH = 2.0
"""Half widths of the mosaic model from the Ewald sphere, in the first look."""


@dataclass(frozen=True)
class Shot:
    """One frame and how it was taken.

    Attributes
    ----------
    frame : (slow, fast) pixels [ADU]
    good : (slow, fast) pixels that may be used
    detector, beam : the geometry
    spot_radius_px : radius that holds the shot's spots, scatter about predictions included [pixel]
    gain_adu : median gain of the panels [ADU a photon]
    """

    frame: NDArray[np.generic]
    good: Mask
    detector: Detector
    beam: Beam
    spot_radius_px: float
    gain_adu: float = 1.0


@dataclass(frozen=True)
class Predicted:
    """Reflections of all lattices of a shot.

    Attributes
    ----------
    lattice : (n,) which of the shot's lattices
    found : (n,) the predictions
    frames : (n,) their directions on the detector
    """

    lattice: IntArray
    found: Predictions
    frames: Frames

    @classmethod
    def of(
        cls, shot: Shot, lattices: Sequence[Lattice], limits_ang: Sequence[float]
    ) -> "Predicted":
        """Return what lattices show to their resolution limits [Angstrom]."""
        parts = [
            predict(lattice, shot.detector, shot.beam, limit, LOOK_REACH)
            for lattice, limit in zip(lattices, limits_ang, strict=True)
        ]
        numbers = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        found = Predictions.concatenate(parts)
        return cls(numbers, found, Frames.of(found, shot.detector, shot.beam))

    def take(self, rows: Mask | IntArray) -> "Predicted":
        """Return some of the reflections."""
        return Predicted(self.lattice[rows], self.found.take(rows), self.frames.take(rows))

    def distance(self, mosaics: Sequence[Mosaic]) -> Array:
        """Return the distance (n,) from the Ewald sphere in half widths of the lattices' models."""
        result = np.empty(len(self.found))
        for number, mosaic in enumerate(mosaics):
            own = self.lattice == number
            width = mosaic.half_width_invang(self.found.q_length_invang[own])
            result[own] = np.abs(self.found.excitation_invang[own]) / width
        return result
