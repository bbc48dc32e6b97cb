"""Vectorised geometry of rows that belong to many shots: rays, millimetres, rotations."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xfel_apps.geometry import Detector

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


def unit_rays(
    detectors: Sequence[Detector], which: IntArray, panel: IntArray, fast: Array, slow: Array
) -> Array:
    """Return unit vectors (n, 3) towards pixels; `which` (n,) is the detector of each row."""
    result = np.empty((len(panel), 3))
    for number in np.unique(which):
        rows = which == number
        result[rows] = detectors[number].s1(panel[rows], fast[rows], slow[rows], 1.0)
    return result


def millimetres(
    detectors: Sequence[Detector], which: IntArray, panel: IntArray, fast: Array, slow: Array
) -> Array:
    """Return (n, 3) of pixels: along fast and slow where rays cross the sensor's surface; 0."""
    result = np.zeros((len(panel), 3))
    for number in np.unique(which):
        rows, detector = which == number, detectors[number]
        lab = detector.lab_mm(panel[rows], fast[rows], slow[rows])
        own = lab - detector.origins_mm[panel[rows]]
        axes = detector.axes[panel[rows]]
        result[rows, :2] = np.einsum(
            "ni,nij->nj", own, axes / np.linalg.norm(axes, axis=1)[:, None]
        )
    return result


def angle_to_sphere_rad(q: Array, s0: Array) -> Array:
    """Return the angle (n,) by which lattice points have to turn to the Ewald sphere [rad].

    About the axis q x s0, the shortest way: DIALS' `delpsical.rad`. NaN where no turn brings them
    there.

    Parameters
    ----------
    q : (n, 3) lattice points [1/Angstrom]
    s0 : (n, 3) incident wave vectors [1/Angstrom]
    """
    along = -s0 / np.linalg.norm(s0, axis=1, keepdims=True)
    length = np.linalg.norm(q, axis=1)
    sine = length / (2.0 * np.linalg.norm(s0, axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        wanted = np.arccos(sine)
        found = np.arccos(np.clip(np.einsum("ni,ni->n", q, along) / length, -1.0, 1.0))
    return np.asarray(wanted - found)
