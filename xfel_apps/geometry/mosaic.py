"""The mosaic model: how far from the Ewald sphere a lattice point still reflects."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Falloff = Literal["gaussian", "lorentzian"]

FULL_WIDTH = 2.0 * np.sqrt(2.0 * np.log(2.0))
"""Full width at half height of a normal distribution of standard deviation 1."""

SCHERRER = 0.934
"""Full width at half height of a block's reflections, times its size: 2 sqrt(0.63 ln 2 / 2) of the
Gaussian blocks of nanoBragg (`xfel_apps.compute.forward`). Scherrer's constant of a cube is 0.89.
"""


@dataclass(frozen=True)
class Mosaic:
    """Blocks of one size, turned against each other.

    A lattice point at q is smeared across the Ewald sphere over a full width whose square is
    (0.93 / D)^2 + (eta |q|)^2, D the size of the blocks and eta the full width of their
    orientations: the widths of two normal distributions on top of each other. Source: Sauter et al.
    (2014), Acta Cryst. D70, 3299-3309, with the same two parts, as half angles that are added.

    Attributes
    ----------
    mosaicity_deg : eta, angular spread of the blocks, full width [degree]
    block_size_ang : D [Angstrom]
    """

    mosaicity_deg: float
    block_size_ang: float

    def half_width_invang(self, q_length_invang: Array) -> Array:
        """Return half the width (n,) [1/Angstrom] at |q| (n,) [1/Angstrom].

        >>> Mosaic(0.0, 1000.0).half_width_invang(np.array([0.1, 0.5]))
        array([0.000467, 0.000467])
        """
        eta = np.radians(self.mosaicity_deg)
        return np.asarray(0.5 * np.hypot(SCHERRER / self.block_size_ang, eta * q_length_invang))

    def sigma_invang(self, q_length_invang: Array) -> Array:
        """Return the width (n,) as a standard deviation [1/Angstrom]."""
        return np.asarray(2.0 * self.half_width_invang(q_length_invang) / FULL_WIDTH)

    def partiality(
        self, excitation_invang: Array, q_length_invang: Array, falloff: Falloff = "gaussian"
    ) -> Array:
        """Return the recorded share (n,) of reflections, 1 on the Ewald sphere; see `falls_to`.

        >>> Mosaic(0.0, 1000.0).partiality(np.array([0.0, 4.67e-4]), np.zeros(2)).round(6).tolist()
        [1.0, 0.5]
        """
        return falls_to(excitation_invang / self.half_width_invang(q_length_invang), falloff)

    def scaled(self, factor: float) -> "Mosaic":
        """Return the model with `factor` times the width."""
        return Mosaic(self.mosaicity_deg * factor, self.block_size_ang / factor)


def falls_to(distance: Array, falloff: Falloff) -> Array:
    r"""Return the recorded share (n,) at distances from the Ewald sphere, in half widths.

    At distance r it is :math:`\exp(-\ln 2\, r^2)` (gaussian) or :math:`1 / (1 + r^2)`
    (lorentzian): a half at 1. Source: Sauter (2015), J. Synchrotron Rad. 22, 239-248.

    >>> falls_to(np.array([0.0, 1.0, 2.0]), "lorentzian")
    array([1. , 0.5, 0.2])
    """
    if falloff == "lorentzian":
        return np.asarray(1.0 / (1.0 + distance**2))
    return np.asarray(np.exp(-np.log(2.0) * distance**2))
