"""reflections: integrated intensities of every lattice, with the lattices they belong to."""

from dataclasses import dataclass
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.crystals import Crystals
from xfel_apps.containers.product import Product, Shots
from xfel_apps.containers.rows import Rows, column

F4 = NDArray[np.float32]


class ReflectionFlag(IntFlag):
    """What is wrong with a reflection; merging uses those with no bit set."""

    OVERLAP = 1
    SATURATED = 2
    MASKED = 4
    EDGE = 8
    BACKGROUND = 16


@dataclass(frozen=True)
class ReflectionShots(Shots):
    """One row an indexed shot. outcome is `integrated`, `indexed` (nothing usable) or `failed`."""

    n_reflections: NDArray[np.int32] = column("i4", "", "reflections integrated, all lattices")
    d_min_ang: F4 = column("f4", "angstrom", "best resolution limit of the shot's lattices")


@dataclass(frozen=True)
class IntegratedCrystals(Crystals):
    """The lattices as they were integrated; d_min_ang is the limit of integration.

    Partialities follow from mosaicity_deg and block_size_ang: 1.2 times as wide as the table
    `mosaic` has it.
    """

    n_reflections: NDArray[np.int32] = column("i4", "", "reflections integrated")
    shot_id: NDArray[np.bytes_] = column("S96", "", "stable identity of the shot")


@dataclass(frozen=True)
class MosaicFits(Rows):
    """What the reflections of a lattice, present and absent, say of its mosaic model."""

    lattice: NDArray[np.int16] = column("i2", "", "number of the lattice in its shot")
    mosaicity_deg: F4 = column("f4", "degree", "expected angular spread, full width")
    block_size_ang: F4 = column("f4", "angstrom", "expected size of the blocks")
    log_likelihood: F4 = column(
        "f4",
        "",
        "of spreads of 0, 0.02, 0.04, 0.06, 0.09, 0.13, 0.2, 0.3, 0.45, 0.7 degrees, each with the "
        "blocks that go best with it; 0 at the most likely",
        (10,),
    )


@dataclass(frozen=True)
class Reflections(Rows):
    """One row a reflection. h k l are in the lattice's own setting, not reduced."""

    lattice: NDArray[np.int16] = column("i2", "", "number of the lattice in its shot")
    h: NDArray[np.int16] = column("i2", "", "Miller index")
    k: NDArray[np.int16] = column("i2", "", "Miller index")
    l: NDArray[np.int16] = column("i2", "", "Miller index")  # noqa: E741 - the field's name
    panel: NDArray[np.int16] = column("i2", "", "panel index")
    fast_px: F4 = column("f4", "pixel", "predicted position, fast")
    slow_px: F4 = column("f4", "pixel", "predicted position, slow")
    d_ang: F4 = column("f4", "angstrom", "resolution")
    intensity: F4 = column("f4", "photon", "the estimate to merge, not corrected for anything")
    sigma: F4 = column("f4", "photon", "its standard error")
    intensity_sum: F4 = column("f4", "photon", "by summation")
    sigma_sum: F4 = column("f4", "photon", "its standard error")
    background: F4 = column("f4", "photon", "background a pixel at the centre")
    excitation_invang: F4 = column("f4", "1/angstrom", "distance from the Ewald sphere")
    partiality: F4 = column("f4", "", "recorded fraction by the mosaic model, 0 to 1")
    polarization: F4 = column("f4", "", "fraction left by the beam's polarisation; divide by it")
    flags: NDArray[np.uint8] = column("u1", "", "bits of ReflectionFlag")


REFLECTIONS = Product(
    "reflections",
    "integrate",
    2,
    ReflectionShots,
    {"crystals": IntegratedCrystals, "mosaic": MosaicFits, "reflections": Reflections},
)
