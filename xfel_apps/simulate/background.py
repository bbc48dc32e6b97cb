"""What the jet and the air scatter: rings about the beam."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.geometry import Beam, Detector
from xfel_apps.simulate.settings import BackgroundSettings

Array = NDArray[np.float64]

WATER = np.array(
    [
        (0.0, 2.57),
        (0.0365, 2.58),
        (0.07, 2.8),
        (0.12, 5.0),
        (0.162, 8.0),
        (0.18, 7.32),
        (0.2, 6.75),
        (0.216, 6.75),
        (0.236, 6.5),
        (0.28, 4.5),
        (0.3, 4.3),
        (0.345, 4.36),
        (0.436, 3.77),
        (0.5, 3.17),
    ]
)
"""Amplitude of water against sin(theta)/lambda [1/Angstrom] (table of nanoBragg: Clark et al.
2010, PNAS 107, 14003, made absolute)."""
AIR = np.array([(0.0, 14.1), (0.045, 13.5), (0.174, 8.35), (0.35, 4.78), (0.5, 4.22)])
"""Amplitude of air against sin(theta)/lambda [1/Angstrom] (table of nanoBragg)."""


@dataclass(frozen=True)
class Background:
    """Mean photons a pixel (slow, fast) of the average pulse; single precision is ample."""

    water: NDArray[np.float32]
    air: NDArray[np.float32]


def make_background(settings: BackgroundSettings, detector: Detector, beam: Beam) -> Background:
    """Return the mean background; the levels hold for a pixel across the beam at no polarisation.

    Parameters
    ----------
    settings : photons a pixel at the ring of water, and of air next to the beam
    detector, beam : geometry; tilted and distant pixels see less
    """
    lab = detector.pixel_lab_mm().reshape(-1, 3).astype(float)
    seen = _seen(detector, lab) * beam.polarization(lab)
    unit = lab / np.linalg.norm(lab, axis=1, keepdims=True)
    cosine = np.clip(unit @ np.array(beam.direction), -1.0, 1.0)
    stol = np.sqrt((1.0 - cosine) / 2.0) / beam.wavelength_ang
    water = settings.water_photons * seen * _relative(stol, WATER)
    air = settings.air_photons * seen * _relative(stol, AIR)
    shape = detector.slab_shape
    return Background(
        water.reshape(shape).astype(np.float32), air.reshape(shape).astype(np.float32)
    )


def _relative(stol: Array, table: Array) -> Array:
    """Return the intensity at `stol` relative to the highest of the table."""
    amplitude = np.interp(stol, table[:, 0], table[:, 1])
    return np.asarray((amplitude / table[:, 1].max()) ** 2)


def _seen(detector: Detector, lab_mm: Array) -> Array:
    """Return solid angles (n,) relative to that of a pixel where the beam would meet the panel."""
    flat = detector.panel_map().ravel()
    normals = np.cross(detector.axes[:, :, 0], detector.axes[:, :, 1])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    distances = np.abs(np.einsum("pi,pi->p", normals, detector.origins_mm))[flat]
    return np.asarray((distances / np.linalg.norm(lab_mm, axis=1)) ** 3)
