"""What matter without order scatters: water of a jet, air along the beam."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.forward import R_ELECTRON_SQUARED_MM2, Illumination, Rectangles
from xfel_apps.compute.forward_reference import pixels_of, polarization, solid_angle

Array = NDArray[np.float64]

AVOGADRO = 6.02214076e23
"""Molecules in a mole (SI, exact)."""


@dataclass(frozen=True)
class Medium:
    """Matter that scatters alike in every direction about the beam.

    Attributes
    ----------
    amplitude : (m, 2) sin(theta)/lambda [1/Angstrom], rising, and amplitude of a molecule among
        its neighbours [electrons]; m >= 4
    density_g_cm3 : [g/cm^3]
    molar_mass_g : [g/mol]
    """

    amplitude: Array
    density_g_cm3: float
    molar_mass_g: float

    def molecules(self, volume_mm3: float) -> float:
        """Return how many molecules a volume [mm^3] holds.

        >>> f"{WATER.molecules(1.0):.4g}"
        '3.346e+19'
        """
        return self.density_g_cm3 * 1e-3 * volume_mm3 / self.molar_mass_g * AVOGADRO

    def amplitude_at(self, stol: Array) -> Array:
        """Return the amplitude (n,) at `stol` = sin(theta)/lambda (n,) [1/Angstrom].

        The cubic through the two points of the table below and the two above, as nanoBragg; at the
        ends of the table through the four outermost, and constant beyond.
        """
        x, y = self.amplitude.T
        inside = np.clip(stol, x[0], x[-1])
        first = np.clip(np.searchsorted(x, inside) - 2, 0, len(x) - 4)
        points, values = x[first + np.arange(4)[:, None]], y[first + np.arange(4)[:, None]]
        total = np.zeros_like(inside)
        for here in range(4):
            others = [other for other in range(4) if other != here]
            weight = (inside - points[others]) / (points[here] - points[others])
            total += values[here] * weight.prod(axis=0)
        return np.asarray(total)


WATER = Medium(
    np.array(
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
    ),
    density_g_cm3=1.0,
    molar_mass_g=18.0,
)
"""Liquid water (table of nanoBragg: Clark et al. 2010, PNAS 107, 14003, made absolute)."""
AIR = Medium(
    np.array([(0.0, 14.1), (0.045, 13.5), (0.174, 8.35), (0.35, 4.78), (0.5, 4.22)]),
    density_g_cm3=1.2e-3,
    molar_mass_g=28.0,
)
"""Air at room temperature (table of nanoBragg)."""


def amorphous_photons(
    medium: Medium, volume_mm3: float, pixels: Rectangles, beam: Illumination
) -> Array:
    """Return the photons (n_pixels,) that matter in the beam scatters once.

    Parameters
    ----------
    medium, volume_mm3 : what and how much of it the beam meets: its area times the thickness
    pixels : where
    beam : X-rays; its fluences are the photons on a unit of area
    """
    scale = R_ELECTRON_SQUARED_MM2 * medium.molecules(volume_mm3)
    parts = [
        scale * solid_angle(lab_mm, axes_mm) * _per_molecule(medium, lab_mm, beam)
        for lab_mm, axes_mm in pixels_of(pixels)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _per_molecule(medium: Medium, lab_mm: Array, beam: Illumination) -> Array:
    """Return fluence times polarisation times squared amplitude towards `lab_mm` (n, 3)."""
    unit = lab_mm / np.linalg.norm(lab_mm, axis=1, keepdims=True)
    total = np.zeros(len(lab_mm))
    for direction, weight in zip(beam.directions, beam.weights, strict=True):
        sine = np.sqrt(np.clip(1.0 - unit @ direction, 0.0, None) / 2.0)
        spectrum = sum(
            fluence * medium.amplitude_at(sine / wavelength) ** 2
            for wavelength, fluence in zip(beam.wavelengths_ang, beam.fluences_per_mm2, strict=True)
        )
        total += weight * polarization(lab_mm, beam, direction) * spectrum
    return np.asarray(total)
