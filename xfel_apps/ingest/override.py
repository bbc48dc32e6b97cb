"""Geometry that the user gives instead of what the files say."""

from dataclasses import replace

import numpy as np

from xfel_apps.geometry import Beam, Detector


def distance_mm(detector: Detector, beam: Beam) -> float:
    """Return the distance of the detector's middle along the beam [mm]."""
    middles = detector.origins_mm + np.einsum("nij,nj->ni", detector.axes, detector.sizes / 2)
    direction = beam.s0 * beam.wavelength_ang
    return float(np.median(middles @ direction))


def at_distance(detector: Detector, beam: Beam, wanted_mm: float | None) -> Detector:
    """Return the detector moved along the beam so that its middle is at `wanted_mm` [mm]."""
    if wanted_mm is None:
        return detector
    direction = beam.s0 * beam.wavelength_ang
    shift = direction * (wanted_mm - distance_mm(detector, beam))
    panels = []
    for panel in detector.panels:
        x, y, z = (float(value) for value in np.add(panel.origin_mm, shift))
        panels.append(replace(panel, origin_mm=(x, y, z)))
    return replace(detector, panels=tuple(panels))


def with_gain(detector: Detector, gain: float | None) -> Detector:
    """Return the detector with `gain` counts a photon [ADU] on all panels."""
    if gain is None:
        return detector
    return replace(detector, panels=tuple(replace(panel, gain=gain) for panel in detector.panels))
