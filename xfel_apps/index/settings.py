"""Settings of index."""

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from xfel_apps.config import Section
from xfel_apps.index.target import Cell, TargetLattice, known_space_group, most_symmetric


def _numbers(value: Any) -> Any:
    """Return six numbers from text such as "79.2 79.2 38 90 90 90"; other things as they are."""
    if isinstance(value, str):
        try:
            value = tuple(float(word) for word in value.replace(",", " ").split())
        except ValueError:
            return value
    if isinstance(value, list | tuple) and len(value) != 6:
        raise ValueError("expected a b c alpha beta gamma: six numbers")
    return value


class IndexSettings(Section):
    """How spots become lattices."""

    cell: Annotated[Cell | None, BeforeValidator(_numbers)] = None
    """a, b, c [Angstrom], alpha, beta, gamma [degrees], as numbers or as text
    "79.2 79.2 38 90 90 90"; none: the cell is found from the run's best shots."""
    space_group: str | None = None
    """Hermann-Mauguin symbol; none: the highest symmetry that the cell allows."""
    cell_shots: int = Field(default=60, ge=1)
    """Shots with most spots that the cell is looked for in, where none is given."""
    max_length_ang: float = Field(default=250.0, gt=10.0, le=1000.0)
    """Longest primitive cell edge looked for, where no cell is given [Angstrom]."""
    min_spots: int = Field(default=6, ge=4)
    """Fewest spots that a shot is tried with, and that a lattice must explain."""
    min_share: float = Field(default=0.25, ge=0.0, le=1.0)
    """Smallest share of the spots not yet explained that a lattice must explain, unless they
    fit it tightly."""
    max_spots: int = Field(default=2000, ge=10)
    """Of more spots than this the strongest are used."""
    d_min_ang: float = Field(default=0.0, ge=0.0)
    """Spots beyond this resolution are left out [Angstrom]; 0: none."""
    max_lattices: int = Field(default=3, ge=1)
    """Most lattices looked for in one shot."""
    tries: int = Field(default=2, ge=0)
    """Further searches where the first fails: one for a cell that is off, then random subsets."""
    cell_sigma: float = Field(default=0.003, gt=0.0)
    """Relative standard deviation of the restraint to the target cell."""
    max_length_deviation: float = Field(default=0.02, gt=0.0)
    """Largest relative difference of a refined cell length from the target's."""
    max_angle_deviation_deg: float = Field(default=2.0, gt=0.0)
    """Largest difference of a refined cell angle from the target's [degrees]."""
    max_rmsd_px: float = Field(default=3.0, gt=0.0)
    """Largest rms distance of predicted from found spots [pixel]."""
    max_chance: float = Field(default=1e-4, gt=0.0, lt=1.0)
    """Largest probability that spots spread by chance fit a lattice as well as the best one."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        """Refuse impossible cells and unknown or contradicting space groups."""
        self.target()
        return self

    def target(self) -> TargetLattice | None:
        """Return the lattice looked for; none where no cell is given."""
        if self.cell is None:
            if self.space_group is not None:
                known_space_group(self.space_group)
            return None
        if self.space_group is None:
            return most_symmetric(self.cell)
        return TargetLattice.checked(self.cell, self.space_group)
