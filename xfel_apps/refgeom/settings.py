"""Settings of refgeom."""

from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints

from xfel_apps.config import Section

Cell = tuple[float, float, float, float, float, float]


class RefgeomSettings(Section):
    """How the detector's geometry is refined from the indexed spots of a dataset."""

    cell: Cell | None = None
    """Known cell that the crystals' cells are restrained to [Angstrom, degrees]; none: the target
    that they were indexed with. The distance is as good as this cell: they scale together."""
    cell_sigma: float = Field(default=0.002, gt=0)
    """Relative standard deviation of the crystals' cells about the known one."""
    distance: bool | None = None
    """Refine the distance; none: where the cell is known, not where index found it in the data."""
    drift: bool = True
    """Let the whole detector lie elsewhere from run to run (x, y and distance)."""
    groups: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1)], ...] | None,
        BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    ] = None
    """Patterns (regular expressions), one a level: panels whose names begin alike as far as the
    pattern matches move together, such as `q\\d+`. None: the rigid groups of the .geom file, or
    what the numbers in the names say (D0Q1S2A0 lies in D0Q1S2, that in D0Q1)."""
    panels: bool = True
    """Refine each panel by itself; otherwise only the detector and the groups."""
    min_spots: int = Field(default=50, ge=10)
    """A panel or group with fewer spots moves with what it belongs to."""
    min_crystal_spots: int = Field(default=10, ge=6)
    """Crystals with fewer indexed spots are left out."""
    max_deviation_sigma: float = Field(default=4.0, gt=1)
    """Leave out spots that lie further from their prediction, in robust standard deviations."""
    shift_sigma_mm: float = Field(default=0.5, gt=0)
    """Restraint: how far groups and panels are expected from where they should be [mm]."""
    rotation_sigma_mrad: float = Field(default=3.0, gt=0)
    """Restraint: how far they, and the tilt of the detector, are expected to be turned [mrad]."""
    drift_sigma_mm: float = Field(default=0.3, gt=0)
    """Restraint: how far the detector is expected to move from run to run [mm]."""
    n_cycles: int = Field(default=30, ge=1, le=200)
    """Most cycles of Gauss-Newton; it ends earlier when nothing moves any more."""
