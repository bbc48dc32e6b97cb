"""Settings of spotfind."""

from typing import Literal, Self

from pydantic import Field, model_validator

from xfel_apps.compute.threshold import MAX_HALF_WIDTH
from xfel_apps.config import Section


class SpotfindSettings(Section):
    """What is a spot, and how many of them make a hit."""

    method: Literal["extended", "dispersion", "radial"] = "extended"
    """How strong pixels are told: dispersion in a window around the pixel (as DIALS), the same with
    the background estimated again without signal, or the background at the pixel's radius (as
    peakfinder8; for strong round backgrounds)."""
    half_width_px: int = Field(3, ge=1, le=MAX_HALF_WIDTH)
    """Windows have 2 half_width_px + 1 pixels a side [pixel]."""
    sigma_background: float = Field(3.0, gt=0)
    """Standard deviations that a window's index of dispersion lies above background's."""
    sigma_strong: float = Field(3.0, gt=0)
    """Standard deviations that a strong pixel lies above its local background."""
    min_count: int = Field(8, ge=2)
    """Good pixels that a window needs."""
    radial_sigma: float = Field(6.0, gt=0)
    """Standard deviations that a strong pixel lies above the background at its radius."""
    radial_bin_px: float = Field(1.0, gt=0)
    """Width of a radial bin [pixel]."""
    gain_adu: float | None = Field(None, gt=0)
    """Detector counts a photon [ADU]; null: the detector's own where the file says it, 1 for
    photon counters, else from each image's background."""
    noise_adu: float | None = Field(None, ge=0)
    """Readout noise [ADU]; null: 0, or estimated where the gain is."""
    local_noise: bool | None = None
    """Measure how noisy each part of the image is, and ask more of spots there; null: where values
    are not counts of photons (it finds integrating detectors' noisy parts)."""
    min_pixels: int | None = Field(None, ge=1)
    """Strong pixels of the smallest spot; null: 1 for counts of photons, else 2, since lone pixels
    of integrating detectors are seldom spots."""
    max_pixels: int = Field(200, ge=1)
    """Strong pixels of the largest spot."""
    min_snr: float = Field(4.5, ge=0)
    """Signal to noise of the weakest spot's strong pixels; the noise is at least what the pixels
    about the spot have."""
    d_min_ang: float | None = Field(None, gt=0)
    """Spots at higher resolution are not good [Angstrom]; null: no limit."""
    d_max_ang: float | None = Field(None, gt=0)
    """Spots at lower resolution are not good [Angstrom]; null: no limit."""
    ice_rings: bool = False
    """Spots on the rings of hexagonal ice are not good."""
    ice_width_invang: float = Field(0.006, gt=0)
    """Width of an ice ring in 1/d [1/Angstrom]."""
    min_spots: int = Field(10, ge=1)
    """Good spots that make a hit."""
    hot_fraction: float | None = Field(0.1, gt=0, le=1)
    """A pixel is hot that is the peak of a spot on this fraction of the shots; null: never."""
    hot_min_shots: int = Field(10, ge=2)
    """... and on at least so many shots."""

    @model_validator(mode="after")
    def _limits_in_order(self) -> Self:
        if (self.min_pixels or 1) > self.max_pixels:
            raise ValueError(f"min_pixels {self.min_pixels} is above max_pixels {self.max_pixels}")
        if self.d_min_ang and self.d_max_ang and self.d_min_ang >= self.d_max_ang:
            raise ValueError(f"d_min_ang {self.d_min_ang} is not below d_max_ang {self.d_max_ang}")
        return self
