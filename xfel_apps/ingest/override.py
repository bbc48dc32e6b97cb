"""Geometry that the user gives instead of what the files say."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from xfel_apps.containers.geometry import GeometryManifest
from xfel_apps.errors import GeometryError
from xfel_apps.geometry import Beam, Detector, Panel


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


def with_panels(detector: Detector, refined: Path | None, run: str) -> Detector:
    """Return the detector with its panels where a refined geometry has them.

    Parameters
    ----------
    detector : as the raw files have it
    refined : `geometry.json` that refgeom wrote; None: nothing changes
    run : name of the run, for what was refined run by run
    """
    if refined is None:
        return detector
    known = {panel.name: panel for panel in _refined(refined, refined.stat().st_mtime_ns, run)}
    panels = []
    for panel in detector.panels:
        if panel.name not in known:
            raise GeometryError(
                f"{refined}: has no panel {panel.name}, which the raw files have; its panels are "
                f"like {next(iter(known))}: was it refined for another detector (ingest.panels)?"
            )
        new = known[panel.name]
        panels.append(replace(panel, origin_mm=new.origin_mm, fast=new.fast, slow=new.slow))
    return replace(detector, panels=tuple(panels))


@lru_cache(maxsize=4)
def _refined(path: Path, _changed_ns: int, run: str) -> tuple[Panel, ...]:
    """Return the panels that a refined geometry has for a run; read once for all shots."""
    return GeometryManifest.read(path).detector_of(run).panels
