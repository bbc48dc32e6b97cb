"""Post-refinement: how recorded fractions change when a crystal is turned or its spots are wider.

A still's reflection is recorded to the fraction exp(-ln 2 r^2) at a distance of r half widths from
the Ewald sphere. Turning the crystal by a small angle changes r by the angle times a number that
only the reflection's place decides. The crystal's position on the detector fixes its turn about the
beam; the two other angles are what the intensities tell.

Sources: White (2014), Phil. Trans. R. Soc. B 369, 20130330; Uervirojnangkoorn et al. (2015), eLife
4, e05421; Sauter (2015), J. Synchrotron Rad. 22, 239 (the fraction as a function of r).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.scaling import Scales, at_2_ang
from xfel_apps.geometry.mosaic import SCHERRER
from xfel_apps.merge.crystals import A_MATRIX, Dataset
from xfel_apps.merge.settings import MergeSettings

Array = NDArray[np.float64]
F4 = NDArray[np.float32]
I2 = NDArray[np.int16]
Index = NDArray[np.integer]

TURN_UNIT = 1e-3
"""Changes of r are kept as multiples of this [1/mrad]."""
SAME_DISTANCE = 0.02
"""A fraction follows from the crystal's mosaic model if the distances agree to so many half widths;
other fractions stay as they are."""
FARTHEST = 5.0
"""Distances beyond are taken for this one [half widths]."""
MAX_GROWTH = 1.0
"""Mosaic models of stills often leave the size of the blocks open: no more growth is believed."""


def distance_of(partiality: NDArray[np.floating]) -> Array:
    """Return the distance (n,) from the Ewald sphere in half widths, never negative.

    >>> distance_of(np.array([1.0, 0.5, 0.0625])).tolist()
    [0.0, 1.0, 2.0]
    """
    inverse = 1.0 / np.clip(partiality.astype(float), 2.0 ** -(FARTHEST**2), 1.0)
    return np.asarray(np.sqrt(np.log2(inverse)))


@dataclass(frozen=True)
class Turning:
    """What tells how the reflections of each crystal move when it is turned.

    Attributes
    ----------
    a_matrix : (n, 3, 3) A [1/Angstrom]
    wavelength_ang : (n,)
    mosaicity_deg, block_size_ang : (n,) their mosaic models, see `xfel_apps.geometry.mosaic.Mosaic`
    """

    a_matrix: Array
    wavelength_ang: Array
    mosaicity_deg: Array
    block_size_ang: Array

    @classmethod
    def read(cls, dataset: Dataset) -> "Turning":
        """Return what the dataset says of its crystals."""
        crystals = dataset.crystals
        return cls(
            crystals[A_MATRIX].to_numpy(dtype=float).reshape(-1, 3, 3),
            crystals["wavelength_ang"].to_numpy(dtype=float),
            crystals["mosaicity_deg"].to_numpy(dtype=float),
            crystals["block_size_ang"].to_numpy(dtype=float),
        )

    def growth(self) -> Array:
        """Return log of how much wider reflections are at 2 Angstrom than at low resolution (n,).

        Zero for crystals without a mosaic model.
        """
        spread = 0.5 * np.radians(self.mosaicity_deg) * self.block_size_ang / SCHERRER
        return np.minimum(0.5 * np.log1p(spread**2), MAX_GROWTH)

    def of(self, crystal: Index, hkl: Index, partiality: NDArray[np.floating]) -> tuple[I2, I2]:
        """Return how r changes with a turn about lab x and y, (n,) each, in units of `TURN_UNIT`.

        The sign is that for which the observation lies at r >= 0, whichever side of the sphere.
        Zero where the recorded fraction is not that of the mosaic model.

        Parameters
        ----------
        crystal, hkl : (n,) and (n, 3) crystal and Miller index of each observation, as integrated
        partiality : (n,) recorded fraction by the mosaic model
        """
        qx, qy, qz = self._q(crystal, hkl)
        inverse_wavelength = 1.0 / self.wavelength_ang[crystal]
        s1z = qz - inverse_wavelength
        length = np.sqrt(qx**2 + qy**2 + s1z**2)
        excitation = length - inverse_wavelength
        width = self._half_width_invang(crystal, np.sqrt(qx**2 + qy**2 + qz**2))
        known = np.abs(np.abs(excitation) / width - distance_of(partiality)) < SAME_DISTANCE
        factor = np.where(known, np.sign(excitation) / (length * width), 0.0) * (1e-3 / TURN_UNIT)
        return _rounded(factor * (qy * s1z - qz * qy)), _rounded(factor * (qz * qx - qx * s1z))

    def _q(self, crystal: Index, hkl: Index) -> list[Array]:
        """Return the components of q = A h (n,) each [1/Angstrom]."""
        return [
            sum((self.a_matrix[crystal, i, j] * hkl[:, j] for j in range(3)), np.zeros(len(hkl)))
            for i in range(3)
        ]

    def _half_width_invang(self, crystal: Index, q_length: Array) -> Array:
        """Return the half width (n,) of `xfel_apps.geometry.mosaic.Mosaic`, never 0."""
        with np.errstate(divide="ignore"):
            of_block = SCHERRER / self.block_size_ang[crystal]
        spread = np.radians(self.mosaicity_deg[crystal]) * q_length
        return np.asarray(np.maximum(0.5 * np.hypot(of_block, spread), 1e-9))


def first_scales(dataset: Dataset, settings: MergeSettings) -> Scales:
    """Return the scales to begin with: ones, and the widths by the crystals' mosaic models."""
    scales = Scales.ones(len(dataset))
    if settings.partiality == "unity" or settings.scaling == "none":
        return scales
    return replace(scales, growth=Turning.read(dataset).growth())


def _rounded(values: Array) -> I2:
    """Return whole numbers, cut to what their type holds."""
    limit = float(np.iinfo(np.int16).max)
    return np.rint(np.clip(values, -limit, limit)).astype(np.int16)


def slopes(partiality: F4, turn_x: I2, turn_y: I2, s2: Array) -> Array:
    """Return how the logarithm of an observation changes (4, n): see `Scales.table`, from tilts on.

    With the fraction changes what is recorded of a wider reflection altogether: `Scales.factor`.

    >>> one = np.array([1000])
    >>> slopes(np.array([0.5]), one, 0 * one, np.array([1 / 16])).round(4).ravel().tolist()
    [-1.3863, -0.0, 1.0, 0.3863]
    """
    distance = distance_of(partiality)
    turning = -2.0 * np.log(2.0) * TURN_UNIT * distance
    widening = 2.0 * np.log(2.0) * distance**2
    outer = at_2_ang(s2)
    return np.stack(
        [
            turning * turn_x,
            turning * turn_y,
            (1.0 - outer) * widening + outer,
            outer * (widening - 1.0),
        ]
    )


def move(partiality: F4, turn_x: I2, turn_y: I2, s2: Array, step: tuple[Array, Array]) -> None:
    """Change fractions (n,), in place, as tilts and widths change.

    Where an observation passes through the Ewald sphere its `turn_x` and `turn_y` change sign.

    Parameters
    ----------
    step : changes (n, 2) of the tilts [mrad] and of the logarithms of the widths
    """
    tilt_mrad, log_width = step
    moved = TURN_UNIT * (turn_x * tilt_mrad[:, 0] + turn_y * tilt_mrad[:, 1])
    outer = at_2_ang(s2)
    narrower = np.exp(-(1.0 - outer) * log_width[:, 0] - outer * log_width[:, 1])
    distance = (distance_of(partiality) + moved) * narrower
    sign = np.where(distance < 0.0, -1.0, 1.0)
    partiality[:] = np.exp2(-np.minimum(distance**2, FARTHEST**2))
    turn_x[:] = _rounded(sign * narrower * turn_x)
    turn_y[:] = _rounded(sign * narrower * turn_y)
