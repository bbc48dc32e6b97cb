"""cells: the lattice found on each of a run's best shots when index is given no cell."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.product import Product, Shots
from xfel_apps.containers.rows import Rows, column


@dataclass(frozen=True)
class Cells(Rows):
    """One row a shot whose lattice was found."""

    a_matrix: NDArray[np.float64] = column(
        "f8", "1/angstrom", "A of the reduced primitive cell, lab frame", (3, 3)
    )
    n_indexed: NDArray[np.int32] = column("i4", "", "spots on this lattice")
    log_odds: NDArray[np.float64] = column("f8", "", "logarithm of the odds against chance")


CELLS = Product("cells", "index", 1, Shots, {"cells": Cells})
