"""Settings of ingest."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from xfel_apps.config import Section
from xfel_apps.ingest.filter import parsed


class IngestSettings(Section):
    """Which shots of a run are processed, and what the files do not say about them."""

    filter: str = ""
    """Shots to keep, as an expression over their scalars, such as
    `pulse_energy_mj > 0.5 and laser_on`; the others end as filtered. Empty: all."""
    max_events: int | None = Field(None, ge=1)
    """Take only so many shots, the first ones; null: all."""
    geometry: Path | None = None
    """CrystFEL .geom file, for CXI and plain HDF5 files."""
    panels: Path | None = None
    """geometry.json that refgeom wrote: puts the panels of any raw file, by name, where it says."""
    mask: Path | None = None
    """File of bad pixels (npz, npy, HDF5 or PNG; not zero is bad), taken off as well."""
    wavelength_ang: float | None = Field(None, gt=0.01, lt=100.0)
    """Wavelength of every shot, instead of what the files say [Angstrom]."""
    distance_mm: float | None = Field(None, gt=0.0)
    """Distance of the detector along the beam, instead of what the files say [mm]: all panels are
    moved together so that their middle is there."""
    gain: float | None = Field(None, gt=0.0)
    """Detector counts of one photon, instead of what the files say [ADU]. Headers of integrating
    detectors often say 1 where it is not."""

    @model_validator(mode="after")
    def _filter_is_plain(self) -> Self:
        """Refuse what is not an expression before any file is opened."""
        if self.filter:
            parsed(self.filter)
        return self
