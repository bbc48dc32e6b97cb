"""The mosaic model: how far from the Ewald sphere a lattice point still reflects."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Falloff = Literal["gaussian", "lorentzian"]


@dataclass(frozen=True)
class Mosaic:
    """Blocks of one size, turned against each other.

    A lattice point at q is smeared over a full width 1/D + eta |q| across the Ewald sphere, D the
    size of the blocks and eta the full width of their orientations. Source: Sauter et al. (2014),
    Acta Cryst. D70, 3299-3309, where the same stands as an angle, eta + d / D.

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
        array([0.0005, 0.0005])
        """
        eta = np.radians(self.mosaicity_deg)
        return np.asarray(0.5 * (1.0 / self.block_size_ang + eta * q_length_invang))

    def partiality(
        self, excitation_invang: Array, q_length_invang: Array, falloff: Falloff = "gaussian"
    ) -> Array:
        """Return the recorded share (n,) of reflections, 1 on the Ewald sphere; see `falls_to`.

        >>> Mosaic(0.0, 1000.0).partiality(np.array([0.0, 5e-4]), np.zeros(2)).round(6).tolist()
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
