"""Settings of the factors stage."""

from pathlib import Path

from pydantic import Field

from xfel_apps.config import Section


class FactorsSettings(Section):
    """How structure factors are refined against the pixels of all shots together."""

    friedel_apart: bool = False
    """Refine Friedel mates apart (anomalous signal)."""
    d_min_ang: float | None = Field(default=None, gt=0)
    """Resolution limit [Angstrom]; null: that of the merged data."""
    reference: Path | None = None
    """MTZ or mmCIF file of intensities to compare with; they are never refined to."""
    max_iterations: int = Field(default=30, ge=1)
    """At most so many iterations."""
    tolerance_sigma: float = Field(default=0.01, gt=0.0)
    """Done when the intensities change by less than this, rms, in their sigmas."""
    checkpoint_every: int = Field(default=5, ge=1)
    """Iterations after which what was found is kept, to go on from after a kill."""
    least_model_error: float = Field(default=0.02, gt=0.0)
    """A spot's photons are not predicted better than to this share of them."""
    b_sigma_ang2: float = Field(default=5.0, ge=0.0)
    """Spread of the lattices' B factors about their mean [Angstrom^2]; 0: none is fitted."""
    min_boxes: int = Field(default=20, ge=4)
    """A lattice with fewer boxes is not used."""
    min_correlation: float = Field(default=0.1, ge=-1.0, le=1.0)
    """A lattice whose spots correlate less with the intensities of all shots is not used."""
    max_relative_sigma: float = Field(default=2.0, gt=0.0)
    """Intensities are left out whose boxes would leave one of average intensity with a standard
    error of so many times that average: they say nothing. Of halves and mates alike."""
    n_shells: int = Field(default=10, ge=1, le=100)
    """Shells of resolution in the statistics."""
