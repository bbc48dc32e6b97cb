"""Settings of the integrate stage."""

from pydantic import Field

from xfel_apps.config import Section
from xfel_apps.geometry.mosaic import Falloff


class IntegrateSettings(Section):
    """Prediction, foreground, background and profiles."""

    d_min_ang: float = Field(default=0.0, ge=0.0)
    """Resolution limit of all shots [Angstrom]; 0: each lattice's own, where I/sigma falls."""
    min_mean_i_over_sigma: float = Field(default=0.5, ge=0.0)
    """A lattice's own limit is where the mean I/sigma of its shells falls to this."""
    resolution_margin: float = Field(default=1.05, ge=1.0)
    """Integrate this factor beyond the lattice's own limit, in 1/d."""
    reach: float = Field(default=2.0, gt=0.0, le=2.0)
    """Predict lattice points up to so many half widths of the mosaic model from the sphere."""
    refine_width: bool = True
    """Scale each lattice's mosaic model so that present and absent reflections fit best."""
    falloff: Falloff = "gaussian"
    """How the recorded share falls with the distance from the sphere."""
    foreground_sigmas: float = Field(default=3.0, gt=0.0)
    """Half axes of the foreground, in standard deviations of spots about their prediction."""
    min_radius_px: float = Field(default=1.8, gt=0.0)
    """The foreground's half axes are at least this [pixel]."""
    max_radius_px: float = Field(default=8.0, gt=0.0)
    """The foreground's half axes are at most this [pixel]."""
    guard: float = Field(default=1.4, ge=1.0)
    """Background pixels lie outside this many times the foreground's ellipse, any reflection's."""
    background_width_px: int = Field(default=4, ge=1)
    """Pixels of background on each side of the largest foreground."""
    outlier_sigmas: float = Field(default=4.0, gt=0.0)
    """Background pixels further than this from the plane are left out."""
    min_background_pixels: int = Field(default=30, ge=4)
    """With fewer background pixels a reflection is flagged."""
    min_share: float = Field(default=0.6, gt=0.0, le=1.0)
    """A reflection is flagged if its usable pixels hold less than this share of the profile."""
    fit_profiles: bool = True
    """Fit profiles, where a shot has enough strong spots to learn one."""
    strong_i_over_sigma: float = Field(default=6.0, gt=0.0)
    """Spots this strong show size and profile of a shot's spots."""
    min_strong: int = Field(default=12, ge=1)
    """With fewer strong spots nothing is learnt from the shot: sums only, the model's size."""

    @property
    def radii_px(self) -> tuple[float, float]:
        """Smallest and largest half axis of a foreground [pixel]."""
        return self.min_radius_px, self.max_radius_px
