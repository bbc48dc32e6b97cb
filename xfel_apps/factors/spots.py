r"""What a lattice's pixels say of the photons of each of its spots, background eliminated.

A box holds ``t W`` times the spot of :math:`|F|^2 = 1` and a plane of background; W is the mean
intensity at the resolution. Given what all shots say, t is expected to be x with variance v: the
model of a spot is not better known than that, however bright the spot is. The likelihood is looked
at where t is not negative: a spot of less than no photons would take the noise of the background
from its pixels, and dark ones would seem to be measured exactly. Each call takes one step
of Fisher's scoring in t and the background, with the likelihood's weights where they are now; a box
that a step made worse goes back and takes a shorter one (Marquardt 1963).
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

FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING, BY = 0.1, 1e-3, 1e6, 8.0


@dataclass(frozen=True)
class Boxes:
    """The likelihood of each box about a point.

    Attributes
    ----------
    at : (n, 4) t, and level and slopes of the background
    misfit, gradient, curvature : (n,), (n, 4), (n, 4, 4) of minus its logarithm
    """

    at: Array
    misfit: Array
    gradient: Array
    curvature: Array

    @classmethod
    def of(cls, lattice: LatticePixels, level: Array, at: Array) -> "Boxes":
        """Return the likelihood of a lattice's pixels at a point; `level` (n_slots,) is W."""
        t = np.maximum(at[:, 0], LEAST_T)
        unit = lattice.unit
        amplitude = unit.amplitude * level[lattice.slot] * t
        found = shoebox_likelihood(
            lattice.boxes,
            SpotShapes(unit.centre, unit.covariance, amplitude, at[:, 1:]),
            lattice.beam,
            lattice.observed,
            lattice.noise,
        )
        gradient = found.gradient[:, COLUMNS]
        curvature = found.curvature[:, COLUMNS[:, None], COLUMNS]
        gradient[:, 0] /= t
        curvature[:, 0] /= t[:, None]
        curvature[:, :, 0] /= t[:, None]
        return cls(np.column_stack([t, at[:, 1:]]), found.misfit, gradient, curvature)

    def where(self, chosen: NDArray[np.bool_], other: "Boxes") -> "Boxes":
        """Return these boxes where chosen (n,), the other ones elsewhere."""
        return Boxes(
            np.where(chosen[:, None], self.at, other.at),
            np.where(chosen, self.misfit, other.misfit),
            np.where(chosen[:, None], self.gradient, other.gradient),
            np.where(chosen[:, None, None], self.curvature, other.curvature),
        )

    def measured(self) -> tuple[Array, Array]:
        """Return t (n,) that the pixels alone want, background eliminated, and its weight."""
        own = self.curvature[:, 1:, 1:] + SMALL * np.eye(3)
        rest = np.stack([self.curvature[:, 1:, 0], self.gradient[:, 1:]], axis=2)
        by_t, alone = np.moveaxis(np.linalg.solve(own, rest), 2, 0)
        border = self.curvature[:, 0, 1:]
        weight = np.maximum(self.curvature[:, 0, 0] - np.sum(border * by_t, axis=1), SMALL)
        slope = self.gradient[:, 0] - np.sum(border * alone, axis=1)
        return self.at[:, 0] - slope / weight, weight

    def step(self, expected: Array, spread: Array, damping: Array) -> Array:
        """Return a step (n, 4) towards the best t and background."""
        curvature, gradient = self.curvature.copy(), self.gradient.copy()
        curvature[:, 0, 0] += 1.0 / spread
        gradient[:, 0] += (self.at[:, 0] - expected) / spread
        diagonal = np.einsum("nii->ni", curvature)
        diagonal *= 1.0 + damping[:, None]
        diagonal += SMALL
        step = -np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
        longest = LONGEST * np.maximum(1.0, np.abs(self.at[:, 0]))
        shrink = np.minimum(1.0, longest / np.maximum(np.abs(step[:, 0]), 1e-300))
        return np.asarray(step * shrink[:, None])

    def cost(self, expected: Array, spread: Array) -> Array:
        """Return minus the log likelihood (n,) of pixels and t."""
        return np.asarray(self.misfit + 0.5 * (self.at[:, 0] - expected) ** 2 / spread)


@dataclass(frozen=True)
class SpotState:
    """What spots can be made again from: see `Spots`; `best` (n, 4) is where they were best."""

    at: Array
    best: Array
    damping: Array


@dataclass(frozen=True)
class Spots:
    """The spots of a lattice.

    Attributes
    ----------
    at : (n, 4) where the boxes are to be looked at next, see `Boxes`
    best : the boxes where they were best so far; None before the first step
    damping : (n,) of the next steps
    measured, variance : (n,) t that the pixels alone want, and its variance
    """

    at: Array
    best: Boxes | None
    damping: Array
    measured: Array
    variance: Array

    @classmethod
    def first(cls, lattice: LatticePixels, level: Array) -> "Spots":
        """Return the spots as stage 1 left them; `level` (n_slots,) is W."""
        none = np.zeros(len(lattice))
        t = lattice.first / level[lattice.slot]
        return cls(np.column_stack([t, lattice.unit.background]), None, none, none, none)

    @classmethod
    def again(cls, lattice: LatticePixels, level: Array, state: SpotState) -> "Spots":
        """Return the spots of a state."""
        best = Boxes.of(lattice, level, state.best)
        measured, weight = best.measured()
        return cls(state.at, best, state.damping, measured, 1.0 / weight)

    @property
    def state(self) -> SpotState:
        """What these spots can be made again from."""
        best = self.at if self.best is None else self.best.at
        return SpotState(self.at, best, self.damping)

    @property
    def misfit(self) -> float:
        """Minus the log likelihood of the pixels, were each t what they alone want."""
        if self.best is None:
            return 0.0
        short = (self.measured - self.best.at[:, 0]) ** 2 / self.variance
        return float(np.sum(self.best.misfit - 0.5 * short))

    @property
    def is_finite(self) -> bool:
        """Whether all are numbers."""
        parts = (self.at, self.measured, self.variance)
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
        here, damping = Boxes.of(lattice, level, self.at), self.damping
        if self.best is not None:
            worse = here.cost(expected, spread) > self.best.cost(expected, spread)
            here = self.best.where(worse, here)
            longer = np.where(damping < LEAST_DAMPING, 0.0, damping / BY)
            shorter = np.clip(damping * BY, FIRST_DAMPING, MOST_DAMPING)
            damping = np.where(worse, shorter, longer)
        measured, weight = here.measured()
        at = here.at + here.step(expected, spread, damping)
        return Spots(at, here, damping, measured, 1.0 / weight)
