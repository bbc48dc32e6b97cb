"""Settings of the diffbragg stage."""

from pydantic import Field

from xfel_apps.config import Section


class DiffbraggSettings(Section):
    """Which pixels are modelled, what is fitted, and which fits are believed."""

    max_boxes: int = Field(default=300, ge=10)
    """Shoeboxes of a lattice: those with the strongest spots that are expected."""
    min_boxes: int = Field(default=30, ge=4)
    """A lattice with fewer is not refined."""
    box_px: int = Field(default=15, ge=5, le=61)
    """Pixels along each side of a shoebox; odd."""
    reach: float = Field(default=2.5, gt=0.0)
    """Spots are expected up to so many standard deviations from the Ewald sphere."""
    d_min_ang: float = Field(default=0.0, ge=0.0)
    """Resolution limit [Angstrom]; 0: to which each lattice was integrated."""
    oversample: int = Field(default=0, ge=0, le=8)
    """Sub-pixels along each side of a pixel; 0: as many as the spots' sharpness asks for."""
    readout_sigma: float | None = Field(default=None, ge=0.0)
    """Readout noise of a pixel [photon]; null: what the boxes' background shows beyond counting."""
    model_error: float = Field(default=0.1, ge=0.0)
    """What the model does not know of a spot's shape: standard deviation, as a share of a pixel."""
    outlier_sigmas: float = Field(default=6.0, gt=0.0)
    """Background pixels further than this from the model are not used (other lattices)."""
    rounds: int = Field(default=2, ge=1, le=5)
    """How often boxes are chosen with what the last fit found, and fitted."""
    max_steps: int = Field(default=60, ge=1)
    """At most so many steps of a fit."""
    tolerance: float = Field(default=0.02, gt=0.0)
    """A fit is done when a step gains less than this of the log likelihood."""
    anisotropic_blocks: bool = True
    """Fit the block's cells along a, b and c apart."""
    bandwidth: float = Field(default=0.0, ge=0.0)
    """Relative standard deviation of the wavelength that is expected; 0: one wavelength."""
    bandwidth_ln_sigma: float = Field(default=0.7, ge=0.0)
    """Spread of its logarithm; 0: it is not fitted."""
    merged_ln_sigma: float = Field(default=0.2, gt=0.0)
    """Merged intensities are not trusted further than to this share of themselves."""
    cell_spread: float = Field(default=1.0, ge=0.0)
    """Cells are restrained to the run's median with so many times the run's spread; 0: not."""
    block_ln_sigma: float = Field(default=0.7, ge=0.0)
    """Spread of the logarithm of the block's cells about what indexing found; 0: no restraint."""
    mosaic_deg: float = Field(default=0.02, gt=0.0)
    """Mosaic spread that is expected: standard deviation about each axis [degree]."""
    mosaic_ln_sigma: float = Field(default=1.0, ge=0.0)
    """Spread of its logarithm; 0: no restraint."""
    max_turn_deg: float = Field(default=0.5, gt=0.0)
    """A lattice that the fit turns by more is rejected."""
    min_gain: float = Field(default=1.5, ge=0.0)
    """A lattice whose spots gain less log likelihood a box over background alone is rejected."""
    min_agreement: float = Field(default=0.3, ge=0.0, le=1.0)
    """A lattice is rejected if its spots' correlation with the pixels is below this."""
