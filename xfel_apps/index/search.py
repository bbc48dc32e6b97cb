"""Orientations of a known lattice that explain a shot's spots, by exhaustive search.

One lattice vector at a time, every direction of it is tried; about each of the best directions the
whole lattice is turned once round; the best orientations are polished against more spots.

Sources: Gildea et al. (2014), Acta Cryst. D70, 2652-2666; Gasparotto et al. (2024), J. Appl.
Cryst. 57, 931-944. The spots' weights are logarithms of the odds against a fit by chance.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.lattice_search import TrialSpots, score_rotations, score_vectors
from xfel_apps.index.sampling import directions, frames, highest, rotate
from xfel_apps.index.target import TargetLattice

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]

STEP = 0.22
"""Sampling step: t.q of the farthest spot changes by this between neighbouring trials."""
CORNER = 0.6
"""Distance of the worst vector from the nearest sampled one, in steps."""
SPOT_REACH_INVANG = 0.0012
"""Distance of spots from lattice points at low resolution: size of the mosaic blocks, bandwidth."""
STRAIN_REACH = 0.003
"""The same as a share of |q|: error of the cell, mosaic spread."""
LARGEST_SHARE = 0.05
"""Reach is cut so that no spot fits a random lattice with a larger probability than this."""
MOST_DIRECTIONS = 600_000
N_AXES = 40
N_POLISHED = 32
LEVELS_ANG = (12.0, 9.0, 7.0, 5.5, 4.5, 3.7, 3.0, 2.5, 2.0, 1.6, 1.3, 1.0)
"""Resolution limits among which the search chooses one that holds spots enough."""


@dataclass(frozen=True)
class Orientations:
    """Orientations of one lattice, best first.

    Attributes
    ----------
    a_matrices : (n, 3, 3) A of the reduced primitive cell [1/Angstrom]
    scores : (n,) logarithms of the odds against chance of the spots that fit
    """

    a_matrices: Array
    scores: Array


def reach_invang(
    q: Array, volume_ang3: float, loose: float = 1.0, strain: float = STRAIN_REACH
) -> Array:
    """Return the distance (n,) from a lattice point within which spots at q (n, 3) fit."""
    reach = loose * (SPOT_REACH_INVANG + strain * np.linalg.norm(q, axis=1))
    return np.asarray(np.minimum(reach, (LARGEST_SHARE / (4.19 * volume_ang3)) ** (1 / 3)))


def share_of_space(reach: Array, volume_ang3: float) -> Array:
    """Return the probability (n,) that a spot lies within reach of a random lattice's points."""
    return np.asarray(np.minimum(4.0 / 3.0 * np.pi * reach**3 * volume_ang3, 1.0))


def search(q: Array, target: TargetLattice, strain: float = STRAIN_REACH) -> Orientations:
    """Return the best distinct orientations of a lattice.

    Parameters
    ----------
    q : (n, 3) scattering vectors of the spots [1/Angstrom]
    target : lattice looked for
    strain : relative error of its cell that is to be borne with
    """
    chosen, q_max = low_resolution(q)
    trial = _Trial(q[chosen], q_max, target, strain)
    return polish(turned(trial, along_vectors(trial)), trial)


@dataclass(frozen=True)
class _Trial:
    """What the parts of a search share.

    Attributes
    ----------
    q : (n, 3) spots searched with [1/Angstrom]
    q_max : largest |q| that the sampling is made for [1/Angstrom]
    target : lattice looked for
    strain : relative error of its cell
    """

    q: Array
    q_max: float
    target: TargetLattice
    strain: float

    def reach(self, step_rad: float) -> Array:
        """Return how near (n,) spots come to a lattice sampled in such steps [1/Angstrom]."""
        size = np.linalg.norm(self.q, axis=1)
        return np.asarray(SPOT_REACH_INVANG + (self.strain + step_rad) * size)


@dataclass(frozen=True)
class _Axes:
    """Lattices with one vector along each of some axes, free to turn about it.

    Attributes
    ----------
    axes : (n, 3) unit vectors
    lattices : (n, 3, 3) A of the reduced primitive cell [1/Angstrom]
    orders : (n,) order of the lattice's rotation about the axis
    """

    axes: Array
    lattices: Array
    orders: NDArray[np.intp]


def low_resolution(q: Array, n_wanted: int = 80) -> tuple[NDArray[np.intp], float]:
    """Return which spots to search with, and the largest |q| [1/Angstrom] to sample for."""
    length = np.linalg.norm(q, axis=1)
    limit = np.sort(length)[min(n_wanted, len(q)) - 1]
    q_max = next((1.0 / d for d in LEVELS_ANG if 1.0 / d >= limit), float(limit))
    return np.argsort(length, kind="stable")[:n_wanted], q_max


def along_vectors(trial: _Trial) -> _Axes:
    """Return lattices with each distinct vector along the directions where it fits best."""
    real = np.asarray(np.linalg.inv(reference(trial.target)))
    axes, lattices, orders = [], [], []
    for row, symmetry in distinct_vectors(trial.target):
        found = best_axes(trial, float(np.linalg.norm(real[row])))
        for sign in (1.0,) if symmetry.flips else (1.0, -1.0):
            axes.append(sign * found)
            lattices.append(aligned(real, row, sign * found))
            orders.append(np.full(len(found), symmetry.order))
    return _Axes(np.concatenate(axes), np.concatenate(lattices), np.concatenate(orders))


@dataclass(frozen=True)
class AxisSymmetry:
    """How the lattice's rotations act on one vector: order about it, and whether any flips it."""

    order: int
    flips: bool


def reference(target: TargetLattice) -> Array:
    """Return A of the reduced primitive cell in the reference orientation."""
    return np.asarray(target.b_matrix @ np.linalg.inv(target.primitive))


def distinct_vectors(target: TargetLattice) -> list[tuple[int, AxisSymmetry]]:
    """Return the rows of the primitive basis that no rotation turns into an earlier one."""
    turned_bases = target.primitive @ np.linalg.inv(target.rotations).transpose(0, 2, 1)
    result: list[tuple[int, AxisSymmetry]] = []
    for row, vector in enumerate(target.primitive):
        images = turned_bases[:, row]
        earlier = [target.primitive[r] for r, _ in result]
        if any(_among(images, other) or _among(images, -other) for other in earlier):
            continue
        same = np.all(np.abs(images - vector) < 1e-6, axis=1)
        result.append((row, AxisSymmetry(int(same.sum()), _among(images, -vector))))
    return result


def _among(images: Array, vector: Array) -> bool:
    return bool(np.any(np.all(np.abs(images - vector) < 1e-6, axis=1)))


def best_axes(trial: _Trial, length_ang: float) -> Array:
    """Return unit vectors (n, 3) along which a lattice vector of this length fits the spots."""
    step = STEP / (length_ang * trial.q_max)
    n = int(2.0 * np.pi / step**2) + 16
    if n > MOST_DIRECTIONS:
        n, step = MOST_DIRECTIONS, np.sqrt(2.0 * np.pi / MOST_DIRECTIONS)
    sampled = directions(n)
    reach = trial.reach(CORNER * step)
    odds = -np.log(np.minimum(2.0 * reach * length_ang, 1.0))
    scores = score_vectors(sampled * np.float32(length_ang), TrialSpots(trial.q, reach, odds))
    return _peaks(sampled, scores, 2.5 * step)


def _peaks(sampled: Float32, scores: Float32, separation_rad: float) -> Array:
    """Return the highest-scoring directions (n, 3), no two within the separation."""
    left = sampled[:, highest(scores, 600)].T.astype(float)
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    chosen: list[Array] = []
    while len(left) and len(chosen) < N_AXES:
        chosen.append(left[0])
        left = left[np.abs(left @ left[0]) < np.cos(separation_rad)]
    return np.array(chosen)


def aligned(real: Array, row: int, axes: Array) -> Array:
    """Return A (n, 3, 3) of the lattice with one real vector turned along each unit axis."""
    start = real[row] / np.linalg.norm(real[row])
    turns = frames(axes) @ frames(start[None])[0].T
    return np.asarray(turns @ np.linalg.inv(real))


def turned(trial: _Trial, start: _Axes) -> Array:
    """Return the best A (n, 3, 3) when each lattice is turned once round its axis."""
    longest = float(np.linalg.norm(np.linalg.inv(start.lattices[0]), axis=1).max())
    step = STEP / (longest * trial.q_max)
    reach = trial.reach(step)
    odds = -np.log(share_of_space(reach, trial.target.primitive_volume_ang3))
    spots = TrialSpots(trial.q, reach, odds + 0.01)
    found, scores = [], []
    for order in np.unique(start.orders):
        rows = start.orders == order
        axes, lattices = start.axes[rows], start.lattices[rows]
        angles = np.arange(0.0, 2.0 * np.pi / order, step)
        table = score_rotations(axes, lattices, angles, spots)
        best, score = _best_turns(table)
        axis, angle = np.unravel_index(best, table.shape)
        found.append(rotate(axes[axis], angles[angle]) @ lattices[axis])
        scores.append(score)
    best = np.argsort(-np.concatenate(scores), kind="stable")[:N_POLISHED]
    return np.asarray(np.concatenate(found)[best])


def _best_turns(table: Float32) -> tuple[NDArray[np.intp], Float32]:
    """Return flat positions and scores of the highest local maxima along the angles."""
    peak = (table >= np.roll(table, 1, axis=1)) & (table > np.roll(table, -1, axis=1))
    flat = np.where(peak, table, np.float32(-np.inf)).ravel()
    top = highest(flat, N_POLISHED)
    return top, flat[top]


def polish(lattices: Array, trial: _Trial) -> Orientations:
    """Return the lattices turned to fit the spots best, distinct ones only, best first."""
    volume = trial.target.primitive_volume_ang3
    lattices, scores = settled(lattices, trial.q, volume, trial.strain)
    best = np.argsort(-scores, kind="stable")
    return _distinct(lattices[best], scores[best], trial.target)


def settled(
    lattices: Array, q: Array, volume_ang3: float, strain: float = STRAIN_REACH
) -> tuple[Array, Array]:
    """Return lattices (n, 3, 3) turned to fit spots q (m, 3) best, and their scores (n,).

    Reach shrinks from round to round; the cells stay what they are, of about the same volume.
    """
    for loose in (2.5, 1.7, 1.2, 1.0):
        reach = reach_invang(q, volume_ang3, loose, strain)
        lattices = _turn_to_spots(lattices, q, reach)
    odds = -np.log(share_of_space(reach, volume_ang3))
    squares, _ = _misfits(lattices, q)
    return lattices, np.asarray(np.maximum(1.0 - squares / reach**2, 0.0) @ odds)


def _misfits(lattices: Array, q: Array) -> tuple[Array, Array]:
    """Return squared distances (n, m) of spots from lattice points, and the points (n, m, 3)."""
    h = np.rint(q @ np.linalg.inv(lattices).transpose(0, 2, 1))
    points = h @ lattices.transpose(0, 2, 1)
    off = q - points
    return np.einsum("nmi,nmi->nm", off, off), points


def _turn_to_spots(lattices: Array, q: Array, reach: Array) -> Array:
    """Return lattices turned by the small rotations that bring points within reach to the spots."""
    squares, points = _misfits(lattices, q)
    weight = np.maximum(1.0 - squares / reach**2, 0.0) / reach**2
    torque = np.einsum("nm,nmi->ni", weight, np.cross(points, q))
    lengths = np.einsum("nm,nmi,nmi->n", weight, points, points)
    inertia = lengths[:, None, None] * np.eye(3) - np.einsum(
        "nm,nmi,nmj->nij", weight, points, points
    )
    inertia += (1e-6 * lengths + 1e-12)[:, None, None] * np.eye(3)
    turn = np.linalg.solve(inertia, torque[..., None])[..., 0]
    angle = np.linalg.norm(turn, axis=1)
    axes = np.where(angle[:, None] > 0, turn / np.maximum(angle, 1e-30)[:, None], [0.0, 0.0, 1.0])
    return np.asarray(rotate(axes, np.minimum(angle, 0.05)) @ lattices)


def _distinct(lattices: Array, scores: Array, target: TargetLattice, most: int = 5) -> Orientations:
    """Return the best orientations that differ by more than half a degree."""
    angles = target.misorientations_deg(target.conventional(lattices))
    left = np.arange(len(lattices))
    chosen: list[int] = []
    while len(left) and len(chosen) < most:
        chosen.append(int(left[0]))
        left = left[angles[left[0], left] > 0.5]
    return Orientations(lattices[chosen], scores[chosen])
