r"""What a lattice's pixels say of the photons of each of its spots, background eliminated.

A box holds ``t W`` times the spot of :math:`|F|^2 = 1` and a plane of background; W is the mean
intensity at the resolution. Given what all shots say, t is expected to be x with variance v: the
model of a spot is not better known than that, however bright the spot is. Each call takes one step
of Fisher's scoring in t and the background, with the likelihood's weights where they are now.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.shoebox import Basis, SpotShapes, shoebox_likelihood
from xfel_apps.factors.lattices import LatticePixels

Array = NDArray[np.float64]

COLUMNS = np.array([Basis.AMPLITUDE, *range(Basis.BACKGROUND, Basis.BACKGROUND + 3)])
SMALL, LEAST_T, LONGEST = 1e-9, 1e-6, 3.0
"""Keep the equations regular; t is told by the logarithm's derivative; longest step of t."""


@dataclass(frozen=True)
class Spots:
    """The spots of a lattice.

    Attributes
    ----------
    t : (n,) photons of each, in those of the mean intensity at its resolution
    background : (n, 3)
    measured, variance : (n,) t that the pixels alone want, and its variance
    misfit : minus the log likelihood of the pixels, where this step began
    """

    t: Array
    background: Array
    measured: Array
    variance: Array
    misfit: float

    @classmethod
    def first(cls, lattice: LatticePixels, level: Array) -> "Spots":
        """Return the spots as stage 1 left them; `level` (n_slots,) is W."""
        none = np.zeros(len(lattice))
        t = lattice.first / level[lattice.slot]
        return cls(t, lattice.unit.background, none, none, 0.0)

    @property
    def is_finite(self) -> bool:
        """Whether all are numbers."""
        parts = (self.t, self.background, self.measured, self.variance)
        return bool(np.isfinite(self.misfit) and all(np.isfinite(part).all() for part in parts))

    def stepped(
        self, lattice: LatticePixels, level: Array, expected: Array, spread: Array
    ) -> "Spots":
        """Return the spots after a step.

        Parameters
        ----------
        lattice, level : the pixels, and W (n_slots,)
        expected, spread : (n,) x and v
        """
        w = level[lattice.slot]
        t = np.where(np.abs(self.t) < LEAST_T, LEAST_T, self.t)
        unit = lattice.unit
        spots = SpotShapes(unit.centre, unit.covariance, unit.amplitude * w * t, self.background)
        found = shoebox_likelihood(
            lattice.boxes, spots, lattice.beam, lattice.observed, lattice.noise
        )
        gradient = found.gradient[:, COLUMNS]
        curvature = found.curvature[:, COLUMNS[:, None], COLUMNS]
        gradient[:, 0] /= t
        curvature[:, 0] /= t[:, None]
        curvature[:, :, 0] /= t[:, None]
        own = curvature[:, 1:, 1:] + SMALL * np.eye(3)
        rest = np.stack([curvature[:, 1:, 0], gradient[:, 1:]], axis=2)
        by_t, alone = np.moveaxis(np.linalg.solve(own, rest), 2, 0)
        border = curvature[:, 0, 1:]
        weight = np.maximum(curvature[:, 0, 0] - np.sum(border * by_t, axis=1), SMALL)
        measured = t - (gradient[:, 0] - np.sum(border * alone, axis=1)) / weight
        best = (measured * weight + expected / spread) / (weight + 1.0 / spread)
        longest = LONGEST * np.maximum(1.0, np.abs(t))
        step = np.clip(best - t, -longest, longest)
        background = self.background - alone - by_t * step[:, None]
        return Spots(t + step, background, measured, 1.0 / weight, float(found.misfit.sum()))
