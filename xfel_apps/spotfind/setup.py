"""What spotfind keeps for a detector and its mask, so that nothing is made anew for each shot."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.panels import Panels
from xfel_apps.compute.radial import Rings, radial_bins
from xfel_apps.compute.window_moments import Corners
from xfel_apps.geometry import Beam, Detector
from xfel_apps.spotfind.levels import Levels, sample_windows
from xfel_apps.spotfind.settings import SpotfindSettings

Array = NDArray[np.float64]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Setup:
    """One detector with one mask.

    Attributes
    ----------
    detector : its geometry
    mask : (slow, fast) usable pixels
    direction : of the beam, lab frame
    settings : of spotfind
    """

    detector: Detector
    mask: NDArray[np.bool_]
    direction: tuple[float, float, float]
    settings: SpotfindSettings

    def serves(self, detector: Detector, mask: NDArray[np.bool_], beam: Beam) -> bool:
        """Return whether this is the setup of the detector, mask and beam given."""
        same = self.detector is detector and self.mask is mask
        return same and self.direction == beam.direction

    @cached_property
    def mask_bytes(self) -> Bytes:
        """The mask as bytes, as kernels take it."""
        return np.ascontiguousarray(self.mask).view(np.uint8)

    @cached_property
    def buffers(self) -> tuple[Bytes, Bytes]:
        """Arrays for the threshold to work in."""
        shape = self.detector.slab_shape
        return np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)

    @cached_property
    def panels(self) -> Panels:
        """Panels with the gain and noise that are known before any frame is seen."""
        detector, settings = self.detector, self.settings
        gain = np.array([panel.gain for panel in detector.panels], dtype=float)
        return Panels(
            starts=detector.slab_starts,
            sizes=detector.sizes,
            trusted=np.array([panel.trusted for panel in detector.panels], dtype=float),
            gain=gain if settings.gain_adu is None else np.full_like(gain, settings.gain_adu),
            noise_adu=np.full_like(gain, settings.noise_adu or 0.0),
        )

    @cached_property
    def gain_is_known(self) -> bool:
        """Whether the settings or the file say the gain; 1 everywhere says nothing."""
        return self.settings.gain_adu is not None or bool(np.any(self.panels.gain != 1.0))

    @cached_property
    def trusted(self) -> tuple[float, float]:
        """Lowest and highest value that every panel trusts [ADU]."""
        low, high = self.panels.trusted.T
        return float(low.max()), float(high.min())

    @cached_property
    def windows(self) -> Corners:
        """Windows sampled for the levels of each frame."""
        return sample_windows(self.mask, self.panels)

    @cached_property
    def rings(self) -> Rings:
        """Radial bins, counted in pixels at the detector's mean distance."""
        lab = self.detector.pixel_lab_mm().astype(float)
        along = lab @ np.asarray(self.direction)
        with np.errstate(invalid="ignore", divide="ignore"):
            tangent = np.sqrt(np.maximum(np.sum(lab**2, axis=-1) / along**2 - 1.0, 0.0))
        distance_px = np.nanmean(along) / self.detector.panels[0].pixel_mm[0]
        return Rings(radial_bins(tangent * distance_px, self.settings.radial_bin_px))

    def panels_of(self, levels: Levels) -> Panels:
        """Return the panels with the gain and noise that the frame's levels say, where unknown."""
        panels, settings = self.panels, self.settings
        if self.gain_is_known:
            return panels
        if levels.gain_adu is not None:
            panels = replace(panels, gain=np.full_like(panels.gain, levels.gain_adu))
        if settings.noise_adu is None and levels.noise_adu is not None:
            panels = replace(panels, noise_adu=np.full_like(panels.gain, levels.noise_adu))
        return panels
