"""Settings of the merge stage."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from xfel_apps.config import Section


class MergeSettings(Section):
    """How the crystals of a dataset become one set of structure factors."""

    space_group: str | None = None
    """Hermann-Mauguin symbol; none: that of most crystals. Crystals of another are refused."""
    cell: tuple[float, float, float, float, float, float] | None = None
    """Cell of the merged data [Angstrom, degrees]; none: the median of the crystals."""
    d_min_ang: float | None = Field(default=None, gt=0)
    """Resolution limit [Angstrom]; none: what a tenth of the crystals reach."""
    d_max_ang: float = Field(default=1000.0, gt=0)
    """Low-resolution limit [Angstrom]."""
    friedel_apart: bool = False
    """Keep Friedel mates apart (anomalous signal)."""

    max_length_deviation_percent: float = Field(default=3.0, gt=0)
    """Refuse crystals with a cell length that differs by more from the merged cell [%]."""
    max_angle_deviation_deg: float = Field(default=2.0, gt=0)
    """Refuse crystals with a cell angle that differs by more [degrees]."""
    crystal_d_min_ang: float | None = Field(default=None, gt=0)
    """Refuse crystals that do not reach this resolution [Angstrom]."""
    min_reflections: int = Field(default=10, ge=1)
    """Refuse crystals with fewer usable reflections."""
    min_correlation: float = Field(default=0.0, ge=-1, le=1)
    """Refuse crystals that correlate less with the mean of the others."""
    min_log_odds: float = -1.0
    """Refuse crystals whose intensities are less likely, given those of all others, than given the
    mean intensity alone, as crystals with wrong indices are: log of the odds."""
    max_delta_cc_half_sigma: float | None = Field(default=None, gt=0)
    """Refuse crystals that lower CC1/2 by so many standard deviations more than others do; none:
    keep them, since `min_log_odds` tells wrong crystals better."""

    min_i_over_sigma: float | None = None
    """Leave out weaker reflections; a cut biases the mean, so none by default."""
    min_partiality: float = Field(default=0.2, ge=0, le=1)
    """Leave out reflections recorded to a smaller fraction."""
    partiality: Literal["unity", "model"] = "model"
    """Divide by the recorded fraction that integration estimated, or take it as one for all."""

    scaling: Literal["none", "mean", "reference"] = "mean"
    """Bring the crystals to a common scale: to their running mean or to `reference`."""
    reference: Path | None = None
    """MTZ or mmCIF file of intensities: for scaling, indexing ambiguity and comparison."""
    ambiguity: Literal["auto", "none"] = "auto"
    """Where a crystal can be indexed in several ways, choose that which agrees best with the
    reference, or without one with the other crystals; or leave all as they were indexed."""
    fit_b_factor: bool = True
    """Scale with a fall-off exp(-2 B s^2) for each crystal besides its overall scale."""
    post_refinement: bool = True
    """Turn each crystal a little and fit the width of its reflections, so that the recorded
    fractions agree best with the others."""
    fit_modulation: bool = True
    """Fit how much is recorded depends on where in its pixel a reflection lies; the same for all
    crystals. Matters where spots are narrower than pixels."""
    n_cycles: int = Field(default=8, ge=1, le=100)
    """Cycles of scaling, averaging and rejection."""
    error_model: Literal["none", "scatter"] = "scatter"
    """Sigmas from counting alone, or widened until they explain the scatter."""
    max_deviation_sigma: float = Field(default=5.0, gt=0)
    """Reject observations that differ by more sigmas from the mean of the reflection."""

    min_observations: int = Field(default=1, ge=1)
    """Leave out merged reflections with fewer observations."""
    max_relative_sigma: float = Field(default=2.0, gt=0)
    """Leave out merged reflections whose observations would leave one of average intensity with a
    standard error of so many times that average: they say nothing."""
    n_shells: int = Field(default=10, ge=1, le=100)
    """Shells of resolution in the statistics."""
    write_unmerged: bool = False
    """Write the scaled observations too, as `unmerged.mtz`."""
