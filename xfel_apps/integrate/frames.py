"""Directions of reflections on the detector, and which ways their spots can be moved."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.geometry import Beam, Detector
from xfel_apps.geometry.prediction import Predictions

Array = NDArray[np.float64]

TURN_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""Elements of a symmetric matrix over the lab's axes."""


@dataclass(frozen=True)
class Frames:
    """Directions of reflections on their panels, and how far spread angles carry.

    Attributes
    ----------
    directions : (n, 2, 2) from a pixel offset (fast, slow) to pixels along (radial, tangential),
        seen along the ray
    turns : (n, 2, 2) from two axes across the beam, the same for all, to (radial, tangential)
    across : (n, 2) direction of the ray along the two axes, the largest of the shot 1
    throw_px : (n,) pixels that a rotation of the crystal by 1 rad moves the spot: |q| wavelength
        times the distance from the crystal
    slips_px : (n, 2, 7) pixels along (radial, tangential) that spots off the Ewald sphere slip on
        it: see `_slips`
    """

    directions: Array
    turns: Array
    across: Array
    throw_px: Array
    slips_px: Array

    @classmethod
    def of(cls, found: Predictions, detector: Detector, beam: Beam) -> "Frames":
        """Return the frames of predicted reflections."""
        along = found.s1 * beam.wavelength_ang
        tangential = np.cross(beam.s0, along)
        tangential /= np.maximum(np.linalg.norm(tangential, axis=1, keepdims=True), 1e-12)
        radial = np.cross(tangential, along)
        axes = detector.axes[found.panel]
        pixel_mm = np.sqrt(
            np.linalg.norm(axes[:, :, 0], axis=1) * np.linalg.norm(axes[:, :, 1], axis=1)
        )
        directions = np.stack([radial, tangential], axis=1) @ axes / pixel_mm[:, None, None]
        lab = detector.lab_mm(found.panel, found.fast_px, found.slow_px)
        carried_px = np.linalg.norm(lab, axis=1) / pixel_mm * beam.wavelength_ang
        direction = np.array(beam.direction)
        plane = _plane_across(direction)
        outward = np.cross(tangential, direction)
        turns = np.stack([outward, tangential], axis=1) @ plane.T
        across = along @ plane.T
        return cls(
            directions,
            turns,
            across / max(np.abs(across).max(initial=0.0), 1e-12),
            carried_px * found.q_length_invang,
            carried_px[:, None, None] * _slips(found, along, tangential),
        )

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Frames":
        """Return some of the frames."""
        return Frames(*(values[rows] for values in vars(self).values()))

    def to_pixels(self, moves_px: Array) -> Array:
        """Return offsets (n, 2) along (fast, slow) of moves (n, 2) along (radial, tangential)."""
        return np.asarray(np.linalg.solve(self.directions, moves_px[:, :, None])[:, :, 0])


def _plane_across(direction: Array) -> Array:
    """Return two unit vectors (2, 3) at right angles to the beam and to each other."""
    start = np.eye(3)[np.argmin(np.abs(direction))]
    first = start - (start @ direction) * direction
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(direction, first)])


def _slips(found: Predictions, along: Array, tangential: Array) -> Array:
    """Return how far (n, 2, 7) spots slip along (radial, tangential) [1/Angstrom].

    A lattice point off the Ewald sphere is recorded where blocks that are turned bring it. If they
    are turned about some axes more than about others, the turn that does so is not the shortest:
    with turns of covariance W, a = q x s1 and b = q x tangential, the spot moves along the
    tangent by -excitation (b W a) / (a W a). The first six are those of the elements of W, with
    a W a taken as if all axes were alike; the seventh is that of turns against blocks so small that
    they reflect without: they keep |q|.
    """
    lever = np.cross(found.q, along)
    arm = np.cross(found.q, tangential)
    excitation = found.excitation_invang
    share = -excitation / np.maximum(np.sum(lever**2, axis=1), 1e-12)
    slips = np.zeros((len(found), 2, len(TURN_PAIRS) + 1))
    for number, (i, j) in enumerate(TURN_PAIRS):
        both = arm[:, i] * lever[:, j] + (arm[:, j] * lever[:, i] if i != j else 0.0)
        slips[:, 1, number] = share * both
    half_angle = 0.5 * np.arccos(np.clip(1.0 - 0.5 * _chord2(found, along), -1.0, 1.0))
    slips[:, 0, -1] = excitation * np.tan(half_angle)
    return slips


def _chord2(found: Predictions, along: Array) -> Array:
    """Return (2 sin theta)^2 (n,): the squared chord between the ray and the beam."""
    wavelength = np.linalg.norm(along, axis=1) / np.linalg.norm(found.s1, axis=1)
    return np.asarray((found.q_length_invang * wavelength) ** 2)
