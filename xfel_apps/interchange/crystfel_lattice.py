"""How CrystFEL names a lattice: type, centering and unique axis."""

from dataclasses import dataclass

import gemmi
import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import GeometryError

Array = NDArray[np.float64]

UNIQUE = {"tetragonal": "c", "trigonal": "c", "hexagonal": "c"}


@dataclass(frozen=True)
class LatticeName:
    """Lattice type, centering and unique axis ("?" where there is none)."""

    lattice_type: str
    centering: str
    unique_axis: str


def lattice_name(space_group: str) -> LatticeName:
    """Return the names for the lattice of a space group.

    >>> lattice_name("P 43 21 2"), lattice_name("C 1 2 1").unique_axis
    (LatticeName(lattice_type='tetragonal', centering='P', unique_axis='c'), 'b')
    >>> lattice_name("R 3 2:H")
    LatticeName(lattice_type='hexagonal', centering='H', unique_axis='c')
    """
    group = gemmi.find_spacegroup_by_name(space_group)
    if group is None:
        raise GeometryError(f"{space_group!r} is not a space group")
    system, centering = group.crystal_system_str(), group.centring_type()
    if centering == "R":
        if group.ext == "R":
            return LatticeName("rhombohedral", "R", "?")
        return LatticeName("hexagonal", "H", "c")
    axis = group.monoclinic_unique_axis() if system == "monoclinic" else UNIQUE.get(system, "?")
    return LatticeName("hexagonal" if system == "trigonal" else system, centering, str(axis))


def cell_text(cell: Array, space_group: str) -> str:
    """Return a CrystFEL unit cell file.

    Parameters
    ----------
    cell : a, b, c [Angstrom], alpha, beta, gamma [degree]
    space_group : Hermann-Mauguin symbol
    """
    name = lattice_name(space_group)
    lines = ["CrystFEL unit cell file version 1.0", "", f"lattice_type = {name.lattice_type}"]
    if name.unique_axis != "?":
        lines.append(f"unique_axis = {name.unique_axis}")
    lines.append(f"centering = {name.centering}")
    units = ("A", "A", "A", "deg", "deg", "deg")
    for key, value, unit in zip(("a", "b", "c", "al", "be", "ga"), cell, units, strict=True):
        lines.append(f"{key} = {value:.4f} {unit}")
    return "\n".join(lines) + "\n"
