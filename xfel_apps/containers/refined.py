"""refined: lattices refined against every pixel near a spot, their predictions and the pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.product import Product, Shots
from xfel_apps.containers.rows import Rows, column

F4 = NDArray[np.float32]
F8 = NDArray[np.float64]


@dataclass(frozen=True)
class RefinedShots(Shots):
    """One row an integrated shot. outcome is `integrated`, or `failed` if no lattice is left."""

    n_lattices: NDArray[np.int32] = column("i4", "", "lattices refined")
    n_boxes: NDArray[np.int32] = column("i4", "", "shoeboxes of all lattices")
    readout_sigma: F4 = column("f4", "photon", "readout noise of a pixel that was assumed")
    oversample: NDArray[np.int16] = column("i2", "", "sub-pixels along each side of a pixel")


@dataclass(frozen=True)
class RefinedCrystals(Rows):
    """One row a refined lattice."""

    lattice: NDArray[np.int16] = column("i2", "", "number of the lattice in its shot")
    a_matrix: F8 = column("f8", "1/angstrom", "A, columns a*, b*, c*, lab frame", (3, 3))
    cell: F8 = column("f8", "angstrom, degree", "a, b, c, alpha, beta, gamma", (6,))
    space_group: NDArray[np.bytes_] = column("S16", "", "Hermann-Mauguin symbol")
    mode: NDArray[np.int16] = column("i2", "", "way of indexing it was turned to, 0: as it was")
    wavelength_ang: F8 = column("f8", "angstrom", "wavelength of the shot")
    n_cells: F8 = column("f8", "", "cells of a coherent block along a, b and c", (3,))
    spread_deg: F8 = column("f8", "degree", "standard deviation of the domains' rotations")
    bandwidth: F8 = column("f8", "", "relative standard deviation of the wavelength")
    scale: F8 = column("f8", "photon/steradian", "of a unit of |F|^2, integrated over indices")
    turn_sigma_deg: F8 = column("f8", "degree", "standard errors about lab x, y and z", (3,))
    cell_sigma: F8 = column("f8", "angstrom, degree", "standard errors of the cell", (6,))
    n_boxes: NDArray[np.int32] = column("i4", "", "shoeboxes")
    n_pixels: NDArray[np.int32] = column("i4", "", "pixels of them that were used")
    n_steps: NDArray[np.int32] = column("i4", "", "steps of the fit")
    misfit_before: F8 = column("f8", "", "minus log likelihood of the pixels, lattice as it was")
    misfit_after: F8 = column("f8", "", "the same, refined")
    sigma_z_before: F4 = column("f4", "", "rms of pixels' distance from the model in sigmas")
    sigma_z_after: F4 = column("f4", "", "the same, refined; 1 is perfect")
    offset_px_before: F4 = column("f4", "pixel", "median distance, strong spots from the model's")
    offset_px_after: F4 = column("f4", "pixel", "the same, refined")
    shot_id: NDArray[np.bytes_] = column("S96", "", "stable identity of the shot")


@dataclass(frozen=True)
class PredictedSpots(Rows):
    """One row a shoebox: the reflection that the refined lattice predicts in it, and the fit."""

    lattice: NDArray[np.int16] = column("i2", "", "number of the lattice in its shot")
    h: NDArray[np.int16] = column("i2", "", "Miller index, in the setting of the merged data")
    k: NDArray[np.int16] = column("i2", "", "Miller index")
    l: NDArray[np.int16] = column("i2", "", "Miller index")  # noqa: E741 - the field's name
    panel: NDArray[np.int16] = column("i2", "", "panel index")
    fast_px: F4 = column("f4", "pixel", "centroid of the predicted spot, fast")
    slow_px: F4 = column("f4", "pixel", "centroid of the predicted spot, slow")
    d_ang: F4 = column("f4", "angstrom", "resolution")
    start_fast: NDArray[np.int16] = column("i2", "", "first pixel of the box on its panel, fast")
    start_slow: NDArray[np.int16] = column("i2", "", "first pixel of the box on its panel, slow")
    n_fast: NDArray[np.int16] = column("i2", "", "pixels of the box along fast")
    n_slow: NDArray[np.int16] = column("i2", "", "pixels of the box along slow")
    photons: F4 = column("f4", "photon", "of the spot, as the fit has it")
    photons_expected: F4 = column("f4", "photon", "of the spot, by the merged intensity")
    intensity: F8 = column("f8", "", "|F|^2 from the merged data, or the shell's mean")
    ln_sigma: F4 = column("f4", "", "spread of its logarithm before the fit")
    ln_intensity: F4 = column("f4", "", "logarithm of the fitted |F|^2 over it")
    background: F4 = column("f4", "photon", "level at the box's centre")
    slope_fast: F4 = column("f4", "photon/pixel", "of the background")
    slope_slow: F4 = column("f4", "photon/pixel", "of the background")
    misfit: F4 = column("f4", "", "minus log likelihood of the box's pixels")


@dataclass(frozen=True)
class Pixels(Rows):
    """One row a pixel: box after box, slow rows of fast pixels."""

    photons: F4 = column("f4", "photon", "what was recorded; NaN where a pixel is not to be used")


REFINED = Product(
    "refined",
    "diffbragg",
    1,
    RefinedShots,
    {"crystals": RefinedCrystals, "spots": PredictedSpots, "pixels": Pixels},
)
