"""What the jet and the air scatter: rings about the beam."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.amorphous import AIR, WATER, Medium, amorphous_photons
from xfel_apps.compute.forward import R_ELECTRON_SQUARED_MM2, Illumination, Rectangles
from xfel_apps.geometry import Beam, Detector
from xfel_apps.simulate.settings import SimulateSettings


@dataclass(frozen=True)
class Background:
    """Mean photons a pixel (slow, fast) of the average pulse; single precision is ample."""

    water: NDArray[np.float32]
    air: NDArray[np.float32]


def make_background(settings: SimulateSettings, detector: Detector, beam: Beam) -> Background:
    """Return the mean background of water and air, at the mean wavelength."""
    chosen = settings.background
    water_mm = chosen.water_um * 1e-3 or thickness_mm(WATER, chosen.water_photons, settings)
    air_mm = chosen.air_mm or thickness_mm(AIR, chosen.air_photons, settings)
    return Background(
        _rings(WATER, water_mm, settings, detector, beam),
        _rings(AIR, air_mm, settings, detector, beam),
    )


def thickness_mm(medium: Medium, photons: float, settings: SimulateSettings) -> float:
    """Return how thick a medium puts so many photons into a pixel where its scattering peaks.

    The pixel lies across the beam, and polarisation takes nothing.
    """
    detector = settings.detector
    solid_angle = (detector.pixel_mm / detector.distance_mm) ** 2
    peak = R_ELECTRON_SQUARED_MM2 * medium.amplitude[:, 1].max() ** 2 * solid_angle
    return float(photons / (settings.beam.photons * medium.molecules(1.0) * peak))


def _rings(
    medium: Medium, thickness_mm: float, settings: SimulateSettings, detector: Detector, beam: Beam
) -> NDArray[np.float32]:
    """Return the photons (slow, fast) that so thick a medium scatters."""
    area_mm2 = (settings.beam.focus_um * 1e-3) ** 2
    pulse = Illumination(
        np.array([beam.wavelength_ang]),
        np.array([settings.beam.photons / area_mm2]),
        beam.direction,
        beam.polarization_fraction,
        beam.polarization_normal,
    )
    pixels = Rectangles(detector.origins_mm, detector.axes, detector.sizes)
    photons = amorphous_photons(medium, area_mm2 * thickness_mm, pixels, pulse)
    slab = np.zeros(detector.slab_shape, np.float32)
    for panel, part in zip(detector.panels, pixels.split(photons), strict=True):
        slab[panel.slab] = part
    return slab
