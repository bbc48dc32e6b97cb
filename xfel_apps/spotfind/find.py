"""From one frame to its spots."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.components import COLUMNS, SpotLimits, find_spots
from xfel_apps.compute.local_noise import local_noise
from xfel_apps.compute.panels import Panels
from xfel_apps.compute.radial import radial_strong_pixels
from xfel_apps.compute.threshold import Dispersion, strong_pixels
from xfel_apps.containers.spots import SpotFlag, Spots
from xfel_apps.geometry import Beam, Detector
from xfel_apps.geometry.stills import q_of_spots, resolution_ang
from xfel_apps.spotfind.frame import checked_levels
from xfel_apps.spotfind.settings import SpotfindSettings
from xfel_apps.spotfind.setup import Setup

Array = NDArray[np.float64]
Bytes = NDArray[np.uint8]

ICE_D_ANG = (3.897, 3.669, 3.441, 2.671, 2.249, 2.072, 1.948, 1.918, 1.883, 1.721, 1.522, 1.473)
"""Powder rings of hexagonal ice [Angstrom]: P 63/m m c, a = 4.498, c = 7.338, as DIALS has it."""

OUTERMOST = 0.95
"""Quantile of 1/d taken for a shot's resolution, so that one stray spot does not decide."""


@dataclass(frozen=True)
class Found:
    """What was found on a frame.

    Attributes
    ----------
    spots : the spots, good or not
    panels : panels with the gain and noise used
    background : median background [photon a pixel]
    """

    spots: Spots
    panels: Panels
    background: float

    @property
    def gain_adu(self) -> float:
        """Median gain of the panels [ADU a photon]."""
        return float(np.median(self.panels.gain))


def find_on_frame(frame: NDArray[Any], setup: Setup, beam: Beam) -> Found:
    """Return the spots of one frame (slow, fast) [ADU], of a type the kernels take.

    Raises
    ------
    ShotError : the frame cannot be searched
    """
    settings = setup.settings
    levels = checked_levels(frame, setup)
    panels = setup.panels_of(levels)
    strong = _strong(frame, setup, panels, levels.are_photons)
    limits = SpotLimits(settings.min_pixels or 2 - levels.are_photons, settings.max_pixels)
    table = find_spots(frame, setup.mask_bytes, strong, panels, limits)
    table = table[table[:, COLUMNS.index("snr")] >= settings.min_snr]
    columns = dict(zip(COLUMNS, table.T, strict=True))
    background = levels.background_adu / float(np.median(panels.gain))
    return Found(_with_resolution(columns, setup.detector, beam, settings), panels, background)


def _strong(frame: NDArray[Any], setup: Setup, panels: Panels, are_photons: bool) -> Bytes:
    """Return the strong pixels (slow, fast), found by the method of the settings."""
    settings = setup.settings
    if settings.method == "radial":
        return radial_strong_pixels(
            frame, setup.mask_bytes, panels, setup.rings, settings.radial_sigma, setup.buffers[1]
        )[0]
    how = Dispersion(
        settings.half_width_px,
        settings.sigma_background,
        settings.sigma_strong,
        settings.min_count,
        settings.method == "extended",
    )
    wanted = not are_photons if settings.local_noise is None else settings.local_noise
    excess = local_noise(frame, setup.mask_bytes, panels) if wanted else None
    setup.buffers[1].fill(0)
    return strong_pixels(frame, setup.mask_bytes, panels, how, excess, setup.buffers)


def _with_resolution(
    columns: dict[str, Array], detector: Detector, beam: Beam, settings: SpotfindSettings
) -> Spots:
    """Return the spots with their resolution, flagged where it rules them out."""
    q = q_of_spots(
        detector,
        beam,
        columns["panel"].astype(np.int64),
        columns["fast_px"],
        columns["slow_px"],
    )
    d_ang = resolution_ang(q)
    flags = columns["flags"].astype(np.uint8)
    if settings.d_min_ang is not None or settings.d_max_ang is not None:
        flags[outside(d_ang, settings.d_min_ang, settings.d_max_ang)] |= int(SpotFlag.RESOLUTION)
    if settings.ice_rings:
        flags[on_ice(d_ang, settings.ice_width_invang)] |= int(SpotFlag.ICE)
    values: dict[str, Any] = {**columns, "d_ang": d_ang, "flags": flags}
    return Spots.make(**{name: values[name] for name in Spots.schema()})


def outside(d_ang: Array, d_min_ang: float | None, d_max_ang: float | None) -> NDArray[np.bool_]:
    """Return which resolutions (n,) lie outside the limits; None is no limit.

    >>> outside(np.array([1.5, 2.0, 30.0]), 1.8, 20.0).tolist()
    [True, False, True]
    """
    return np.asarray((d_ang < (d_min_ang or 0.0)) | (d_ang > (d_max_ang or np.inf)))


def on_ice(d_ang: Array, width_invang: float) -> NDArray[np.bool_]:
    """Return which resolutions (n,) lie on a ring of hexagonal ice, `width_invang` wide in 1/d.

    >>> on_ice(np.array([3.90, 3.78, 3.67]), 0.006).tolist()
    [True, False, True]
    """
    rings = 1.0 / np.array(ICE_D_ANG)
    return np.asarray(np.any(np.abs(1.0 / d_ang[:, None] - rings) < width_invang / 2, axis=1))


def outermost_d_ang(d_ang: Array) -> float:
    """Return the resolution of the outermost believable spots [Angstrom]; 0 without spots.

    >>> outermost_d_ang(np.array([2.0] * 20)), outermost_d_ang(np.array([]))
    (2.0, 0.0)
    """
    if not len(d_ang):
        return 0.0
    ordered = np.sort(1.0 / d_ang)
    below, share = divmod(OUTERMOST * (len(ordered) - 1), 1.0)
    low, high = ordered[int(below)], ordered[min(int(below) + 1, len(ordered) - 1)]
    return float(1.0 / (low + share * (high - low)))
