"""crystals: the lattices of each shot and which spot is which reflection."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.product import Product, Shots
from xfel_apps.containers.rows import Rows, column

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]


@dataclass(frozen=True)
class CrystalShots(Shots):
    """One row a hit. outcome is `indexed`, `hit_not_indexed` (with the reason) or `failed`."""

    n_spots: NDArray[np.int32] = column("i4", "", "spots that were tried")
    n_lattices: NDArray[np.int32] = column("i4", "", "lattices found")


@dataclass(frozen=True)
class Crystals(Rows):
    """One row a lattice."""

    lattice: NDArray[np.int16] = column("i2", "", "number of the lattice in its shot, from 0")
    a_matrix: F8 = column("f8", "1/angstrom", "A, columns a*, b*, c*, lab frame", (3, 3))
    cell: F8 = column("f8", "angstrom, degree", "a, b, c, alpha, beta, gamma", (6,))
    space_group: NDArray[np.bytes_] = column("S16", "", "Hermann-Mauguin symbol")
    wavelength_ang: F8 = column("f8", "angstrom", "wavelength of the shot")
    n_spots: NDArray[np.int32] = column("i4", "", "spots of the shot")
    n_indexed: NDArray[np.int32] = column("i4", "", "spots on this lattice after outlier rejection")
    rmsd_px: F4 = column("f4", "pixel", "rms distance of predicted from found spots")
    excitation_rms_invang: F4 = column("f4", "1/angstrom", "rms distance from the Ewald sphere")
    mosaicity_deg: F4 = column("f4", "degree", "angular spread of the mosaic blocks, full width")
    block_size_ang: F4 = column("f4", "angstrom", "size of the mosaic blocks")
    d_min_ang: F4 = column("f4", "angstrom", "resolution of the outermost indexed spots")


@dataclass(frozen=True)
class IndexedSpots(Rows):
    """One row a spot on a lattice."""

    lattice: NDArray[np.int16] = column("i2", "", "number of the lattice in its shot")
    spot: NDArray[np.int32] = column("i4", "", "row of the spot among the shot's good spots")
    h: NDArray[np.int16] = column("i2", "", "Miller index")
    k: NDArray[np.int16] = column("i2", "", "Miller index")
    l: NDArray[np.int16] = column("i2", "", "Miller index")  # noqa: E741 - the field's name
    delta_fast_px: F4 = column("f4", "pixel", "predicted minus found, fast")
    delta_slow_px: F4 = column("f4", "pixel", "predicted minus found, slow")
    excitation_invang: F4 = column("f4", "1/angstrom", "distance from the Ewald sphere")


CRYSTALS = Product(
    "crystals", "index", 1, CrystalShots, {"crystals": Crystals, "indexed": IndexedSpots}
)
