"""Geometry of a still: a crystal that does not rotate, and the sphere of Ewald."""

import numpy as np
from numpy.typing import NDArray

from xfel_apps.geometry.beam import Beam
from xfel_apps.geometry.panels import Detector

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


def q_of_spots(
    detector: Detector, beam: Beam, panel: IntArray, fast_px: Array, slow_px: Array
) -> Array:
    """Return the scattering vectors q = s1 - s0 (n, 3) [1/Angstrom] of spots on the detector."""
    return detector.s1(panel, fast_px, slow_px, beam.wavelength_ang) - beam.s0


def resolution_ang(q: Array) -> Array:
    """Return the resolution d = 1/|q| (n,) [Angstrom].

    >>> resolution_ang(np.array([[0.0, 0.5, 0.0]]))
    array([2.])
    """
    with np.errstate(divide="ignore"):
        return np.asarray(1.0 / np.linalg.norm(q, axis=-1))


def excitation_error_invang(q: Array, s0: Array) -> Array:
    """Return |s0 + q| - |s0| (n,) [1/Angstrom]: distance of lattice points from the Ewald sphere.

    Positive outside the sphere. Source: Sauter et al. (2014), Acta Cryst. D70, 3299.
    """
    return np.asarray(np.linalg.norm(q + s0, axis=-1) - np.linalg.norm(s0))


def ray_on_sphere(q: Array, s0: Array) -> Array:
    """Return rays s1 (n, 3) on the Ewald sphere nearest to lattice points q (n, 3).

    The point s0 + q is brought to the sphere along the radius: where a slightly mosaic or small
    crystal's reflection appears on the detector.
    """
    s1 = s0 + q
    return np.asarray(s1 * (np.linalg.norm(s0) / np.linalg.norm(s1, axis=-1, keepdims=True)))


def metric_cell(a_matrix: Array) -> Array:
    """Return the cell (a, b, c [Angstrom], alpha, beta, gamma [degrees]) of A, columns a*, b*, c*.

    >>> metric_cell(np.diag([0.1, 0.05, 0.02])).round(6).tolist()
    [10.0, 20.0, 50.0, 90.0, 90.0, 90.0]
    """
    real = np.linalg.inv(a_matrix)
    lengths = np.linalg.norm(real, axis=1)
    unit = real / lengths[:, None]
    cosines = [unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]]
    return np.concatenate([lengths, np.degrees(np.arccos(np.clip(cosines, -1, 1)))])
