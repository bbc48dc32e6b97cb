"""Scores of trial lattices against a shot's spots: the exhaustive part of indexing.

A spot at scattering vector q fits a real-space lattice vector t when t.q is near an integer, and a
lattice when it is near a lattice point. The score of a trial is the sum over spots of

    weight * max(0, 1 - (distance / reach)^2)

with the distance [1/Angstrom] of the spot from the nearest plane (for t) or point (for a lattice).

Sources: Gildea et al. (2014), Acta Cryst. D70, 2652-2666 (real-space search with a known cell);
Gasparotto et al. (2024), J. Appl. Cryst. 57, 931-944 (vectorised sampling).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps import _kernels

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class TrialSpots:
    """Spots that trials are scored against.

    Attributes
    ----------
    q : (n, 3) scattering vectors [1/Angstrom]
    reach : (n,) distance at which the score of a spot falls to zero [1/Angstrom]
    weight : (n,) score of a spot that fits perfectly
    """

    q: Array
    reach: Array
    weight: Array

    def packed(self) -> tuple[Float32, Float32, Float32]:
        """Return the arrays as the kernels take them."""
        return _f4(self.q), _f4(self.reach), _f4(self.weight)


def _f4(values: NDArray[np.floating]) -> Float32:
    return np.ascontiguousarray(values, dtype=np.float32)


def score_vectors(t: NDArray[np.floating], spots: TrialSpots) -> Float32:
    """Return the score (n,) of real-space vectors t, given as (3, n) [Angstrom]."""
    score = np.empty(t.shape[1], dtype=np.float32)
    _kernels.score_vectors(_f4(t), *spots.packed(), score)
    return score


def score_vectors_reference(t: NDArray[np.floating], spots: TrialSpots) -> Array:
    """Return what `score_vectors` returns, in NumPy."""
    product = spots.q @ t
    distance = (product - np.rint(product)) / np.linalg.norm(t, axis=0)
    return _score(distance**2, spots)


def score_rotations(
    axes: Array, lattices: Array, angles_rad: NDArray[np.floating], spots: TrialSpots
) -> Float32:
    """Return the score (n_axes, n_angles) of lattices turned about axes.

    Parameters
    ----------
    axes : (n_axes, 3) unit vectors
    lattices : (n_axes, 3, 3) A of each axis before turning, columns a*, b*, c* [1/Angstrom]; all
        of the same cell
    angles_rad : (n_angles,) angles to turn by [rad]
    """
    score = np.empty((len(axes), len(angles_rad)), dtype=np.float32)
    if score.size:
        turns = np.stack([np.cos(angles_rad), np.sin(angles_rad)])
        coefficients = _f4(turning_inverses(axes, lattices).reshape(-1, 3, 3))
        metric = lattices[0].T @ lattices[0]
        upper = np.array([metric[0, 0], metric[1, 1], metric[2, 2]])
        twice = 2.0 * np.array([metric[1, 2], metric[0, 2], metric[0, 1]])
        packed = _f4(np.concatenate([upper, twice]))
        _kernels.score_rotations(coefficients, _f4(turns), packed, *spots.packed(), score)
    return score


def score_rotations_reference(
    axes: Array, lattices: Array, angles_rad: NDArray[np.floating], spots: TrialSpots
) -> Array:
    """Return what `score_rotations` returns, in NumPy."""
    terms = turning_inverses(axes, lattices)
    turns = np.stack([np.ones_like(angles_rad), np.cos(angles_rad), np.sin(angles_rad)])
    inverses = np.einsum("nkij,km->nmij", terms, turns)
    h = np.einsum("nmij,sj->nmsi", inverses, spots.q)
    off = h - np.rint(h)
    return _score(np.einsum("nmsi,ij,nmsj->snm", off, lattices[0].T @ lattices[0], off), spots)


def _score(squares: Array, spots: TrialSpots) -> Array:
    """Return the sum over spots, the first axis of `squares` [1/Angstrom^2]."""
    trials = (1,) * (squares.ndim - 1)
    fit = 1.0 - squares / (spots.reach**2).reshape(-1, *trials)
    return np.asarray(np.tensordot(spots.weight, np.maximum(fit, 0.0), axes=1))


def cross_matrices(vectors: Array) -> Array:
    """Return (n, 3, 3) matrices M with M x = v cross x for vectors (n, 3)."""
    result = np.zeros((len(vectors), 3, 3))
    x, y, z = vectors.T
    result[:, 0, 1], result[:, 0, 2], result[:, 1, 2] = -z, y, -x
    return np.asarray(result - result.transpose(0, 2, 1))


def turning_inverses(axes: Array, lattices: Array) -> Array:
    """Return (n, 3, 3, 3) terms c of the inverse of the turned A: c0 + c1 cos + c2 sin.

    Rodrigues: R = a a^T + cos (1 - a a^T) + sin [a]x, and (R A)^-1 = A^-1 R^T.
    """
    along = np.einsum("ni,nj->nij", axes, axes)
    terms = np.stack([along, np.eye(3) - along, cross_matrices(axes).transpose(0, 2, 1)], axis=1)
    return np.asarray(np.linalg.inv(lattices)[:, None] @ terms)
