"""Maximum likelihood of a shot's pixels: scoring steps, each box's own numbers eliminated.

Free are the crystal's parameters, and in every box the logarithm of the intensity and a plane of
background. The last four touch one box only, so the normal equations are a small dense block with a
border of 4 x 4 blocks; those are eliminated (Schur complement) as in bundle adjustment. Steps are
those of Fisher's scoring with Marquardt's damping (Marquardt 1963, SIAM J. Appl. Math. 11, 431).
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.forward import Rectangles
from xfel_apps.compute.shoebox import (
    N_BASIS,
    Basis,
    BeamLine,
    Likelihood,
    SpotShapes,
    shoebox_likelihood,
)
from xfel_apps.diffbragg.restraints import Restraints
from xfel_apps.pixel_model.crystal import Parameters, PixelCrystal

Array = NDArray[np.float64]
F4 = NDArray[np.float32]
IntArray = NDArray[np.int64]

N_LOCAL = 4
"""Numbers of each box: logarithm of the intensity, background level and slopes."""

FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-2, 1e-6, 1e6
LONGEST, FARTHEST = 2.0, 30.0
"""Longest step of a logarithm, and how far that of an intensity may go."""

SMALL = 1e-12
"""Keeps the normal matrix regular where a parameter moves nothing."""


@dataclass(frozen=True)
class ShotPixels:
    """What is known of a shot before the fit.

    Attributes
    ----------
    boxes, observed : the pixels [photon], NaN where one is not to be used
    hkl : (n, 3) reflection of each box
    intensity, ln_sigma : (n,) |F|^2 that is expected and the spread of its logarithm
    beam : how it was taken
    readout_variance : of the readout noise [photon^2]
    noise : (n_pixels,) variance besides that of counting [photon^2]
    """

    boxes: Rectangles
    observed: F4
    hkl: IntArray
    intensity: Array
    ln_sigma: Array
    beam: BeamLine
    readout_variance: float
    noise: F4

    def __len__(self) -> int:
        return len(self.hkl)


@dataclass(frozen=True)
class ShotState:
    """A model of a shot.

    Attributes
    ----------
    crystal : its lattice
    ln_intensity : (n,) logarithm of each intensity over the expected one
    background : (n, 3) see `SpotShapes`
    """

    crystal: PixelCrystal
    ln_intensity: Array
    background: Array

    def spots(self, shot: ShotPixels) -> SpotShapes:
        """Return the spots in the shot's boxes."""
        intensity = shot.intensity * np.exp(self.ln_intensity)
        return self.crystal.spots(shot.hkl, intensity, self.background)


@dataclass(frozen=True)
class Fitted:
    """Where the fit ended.

    Attributes
    ----------
    state : the model
    cost : minus the log posterior, up to a constant
    misfit : (n,) minus the log likelihood of each box
    curvature : (p, p) of the cost in the crystal's parameters, the boxes' eliminated
    n_steps : steps that were tried
    has_converged : the last step changed the cost by less than the tolerance
    """

    state: ShotState
    cost: float
    misfit: Array
    curvature: Array
    n_steps: int
    has_converged: bool


@dataclass(frozen=True)
class Target:
    """What is minimised.

    Attributes
    ----------
    shot : the pixels
    parameters : what is free
    restraints : on the crystal's parameters
    """

    shot: ShotPixels
    parameters: Parameters
    restraints: Restraints = field(default_factory=Restraints)

    def likelihood(self, state: ShotState) -> Likelihood:
        """Return the likelihood of the pixels."""
        shot = self.shot
        return shoebox_likelihood(
            shot.boxes, state.spots(shot), shot.beam, shot.observed, shot.noise
        )

    def cost(self, state: ShotState, found: Likelihood) -> float:
        """Return minus the log posterior."""
        prior = 0.5 * float(np.sum((state.ln_intensity / self.shot.ln_sigma) ** 2))
        return float(found.misfit.sum()) + prior + self.restraints.cost(state.crystal)

    def normal(self, state: ShotState, found: Likelihood) -> "Normal":
        """Return the normal equations."""
        shot = self.shot
        moves = self.parameters.to_basis(state.crystal, shot.hkl)
        n_global = moves.shape[1]
        local = np.zeros((len(shot), N_LOCAL, N_BASIS))
        local[:, 0, Basis.AMPLITUDE] = 1.0
        local[:, range(1, N_LOCAL), range(Basis.BACKGROUND, N_BASIS)] = 1.0
        moves = np.concatenate([moves, local], axis=1)
        gradient = np.einsum("npc,nc->np", moves, found.gradient)
        curvature = moves @ found.curvature @ moves.transpose(0, 2, 1)
        weight = 1.0 / shot.ln_sigma**2
        gradient[:, n_global] += state.ln_intensity * weight
        curvature[:, n_global, n_global] += weight
        slope, bend = self.restraints.derivatives(state.crystal, self.parameters)
        return Normal(gradient, curvature, slope, bend)


@dataclass(frozen=True)
class Normal:
    """Normal equations: n boxes, p parameters of the crystal and 4 of the box in each.

    Attributes
    ----------
    gradient, curvature : (n, p + 4), (n, p + 4, p + 4) of each box
    slope, bend : (p,), (p, p) of the restraints
    """

    gradient: Array
    curvature: Array
    slope: Array
    bend: Array

    def solve(self, damping: float) -> tuple[Array, Array, Array]:
        """Return the step (p,), the boxes' steps (n, 4) and the curvature (p, p) left."""
        p = len(self.slope)
        own = self._damped(self.curvature[:, p:, p:], damping)
        border = self.curvature[:, :p, p:]
        rest = np.concatenate([border.transpose(0, 2, 1), self.gradient[:, p:, None]], axis=2)
        solved = np.linalg.solve(own, rest)
        reduced = self.curvature[:, :p, :p].sum(axis=0) + self.bend
        slope = self.gradient[:, :p].sum(axis=0) + self.slope
        left = self._damped(reduced[None], damping)[0] - np.sum(border @ solved[:, :, :p], axis=0)
        slope = slope - np.einsum("npl,nl->p", border, solved[:, :, p])
        scale = 1.0 / np.sqrt(np.maximum(reduced.diagonal(), SMALL))
        step = -scale * np.linalg.solve(left * np.outer(scale, scale), slope * scale)
        own_step = -(solved[:, :, p] + solved[:, :, :p] @ step)
        return step, own_step, left

    @staticmethod
    def _damped(matrices: Array, damping: float) -> Array:
        diagonal = np.einsum("nii->ni", matrices)
        return np.asarray(
            matrices + np.eye(matrices.shape[1]) * (damping * diagonal + SMALL)[:, None]
        )


def fit(target: Target, start: ShotState, max_steps: int, tolerance: float) -> Fitted:
    """Return the most likely model.

    Parameters
    ----------
    target : what is minimised
    start : where to begin
    max_steps : at most so many steps are tried
    tolerance : a step that gains less cost than this is the last
    """
    state, found = start, target.likelihood(start)
    cost, damping = target.cost(start, found), FIRST_DAMPING
    has_converged, steps = False, 0
    normal = target.normal(state, found)
    while steps < max_steps and not has_converged and damping < MOST_DAMPING:
        steps += 1
        step, own, _ = normal.solve(damping)
        trial = moved(target, state, step, own)
        trial_found = target.likelihood(trial)
        trial_cost = target.cost(trial, trial_found)
        if not trial_cost < cost:
            damping *= 8.0
            continue
        has_converged = cost - trial_cost < tolerance
        state, found, cost = trial, trial_found, trial_cost
        damping = max(damping / 8.0, LEAST_DAMPING)
        normal = target.normal(state, found)
    curvature = normal.solve(0.0)[2]
    return Fitted(state, cost, found.misfit, curvature, steps, has_converged)


def moved(target: Target, state: ShotState, step: Array, own: Array) -> ShotState:
    """Return the state after a step, kept within the bounds.

    A step changes no logarithm by more than `LONGEST`: whatever lies farther is not told from here.
    """
    names = target.parameters.names(state.crystal)
    logarithms = np.array([name.startswith("ln_") for name in names])
    short = np.where(logarithms, np.clip(step, -LONGEST, LONGEST), step)
    crystal = target.parameters.moved(state.crystal, short)
    return replace(
        state,
        crystal=target.restraints.bounded(crystal),
        ln_intensity=np.clip(
            state.ln_intensity + np.clip(own[:, 0], -LONGEST, LONGEST), -FARTHEST, FARTHEST
        ),
        background=state.background + own[:, 1:],
    )
