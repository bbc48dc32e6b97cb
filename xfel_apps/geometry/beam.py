"""The X-ray beam of one shot."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import GeometryError

Array = NDArray[np.float64]


def _unit(values: tuple[float, float, float]) -> Array:
    vector = np.asarray(values, dtype=float)
    return np.asarray(vector / np.linalg.norm(vector))


@dataclass(frozen=True)
class Beam:
    """Wavelength, direction and polarisation.

    Attributes
    ----------
    wavelength_ang : mean wavelength of the shot [Angstrom]
    direction : unit vector along which the photons travel, lab frame
    polarization_fraction : share of the intensity polarised in the plane whose normal follows
        (dxtbx convention: 0.5 is unpolarised, 0.999 a synchrotron or XFEL)
    polarization_normal : unit vector normal to the plane of polarisation
    """

    wavelength_ang: float
    direction: tuple[float, float, float] = (0.0, 0.0, -1.0)
    polarization_fraction: float = 0.999
    polarization_normal: tuple[float, float, float] = field(default=(0.0, 1.0, 0.0))

    def __post_init__(self) -> None:
        if not (0.01 < self.wavelength_ang < 100.0):
            raise GeometryError(
                f"wavelength {self.wavelength_ang} Angstrom is missing or impossible; "
                "give it with ingest.wavelength_ang"
            )

    @property
    def s0(self) -> Array:
        """Incident wave vector (3,) of length 1/wavelength [1/Angstrom]."""
        return np.asarray(_unit(self.direction) / self.wavelength_ang)

    def with_wavelength(self, wavelength_ang: float) -> "Beam":
        """Return the same beam at another wavelength [Angstrom]."""
        return replace(self, wavelength_ang=wavelength_ang)

    def polarization(self, s1: Array) -> Array:
        """Return the fraction (n,) of scattered intensity that the polarisation leaves.

        Parameters
        ----------
        s1 : (n, 3) scattered wave vectors, any length

        Source: Kahn et al. (1982), J. Appl. Cryst. 15, 330-337; the form for a plane of
        polarisation with normal n: P = (1 - 2 p)(1 - (n.s)^2) + p (1 + (k.s)^2).

        >>> Beam(1.0, polarization_fraction=0.5).polarization(np.array([[1.0, 0.0, 0.0]]))
        array([0.5])
        """
        unit = s1 / np.linalg.norm(s1, axis=-1, keepdims=True)
        along = unit @ _unit(self.direction)
        normal = unit @ _unit(self.polarization_normal)
        p = self.polarization_fraction
        return np.asarray((1.0 - 2.0 * p) * (1.0 - normal**2) + p * (1.0 + along**2))
