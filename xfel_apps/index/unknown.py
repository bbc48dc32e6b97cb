"""The lattice of one shot without knowing its cell: real-space vectors, then a basis of them.

Every vector of a half-ball is tried against the spots; the best are refined, and of their triples
the one whose lattice explains most spots against chance is kept.

Sources: Steller, Bolotovsky & Rossmann (1997), J. Appl. Cryst. 30, 1036-1040 (periodicity along
directions); Sauter et al. (2004), J. Appl. Cryst. 37, 399-409 (choice of the basis).
"""

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.lattice_search import TrialSpots, score_vectors
from xfel_apps.geometry.stills import metric_cell
from xfel_apps.index.judge import log_odds
from xfel_apps.index.refine import ShotSpots, refine
from xfel_apps.index.sampling import directions, highest
from xfel_apps.index.search import LARGEST_SHARE, SPOT_REACH_INVANG, STRAIN_REACH
from xfel_apps.index.target import TargetLattice, reduced_basis

Array = NDArray[np.float64]

STEP = 0.35
"""t.q of the farthest spot changes by this between neighbouring trial vectors."""
SEARCH_D_MIN_ANG = 3.5
"""Resolution limit of the search, unless too few spots lie within it."""
N_FEW = 30
"""Spots that the resolution limit makes way for."""
MOST_VECTORS = 2e7
"""Trial vectors of one search, of all lengths: steps grow where there would be more."""
N_SPOTS = 120
"""Spots that the search uses: those with the smallest errors, the strongest."""
COARSE_REACH = 0.2
"""Distance of t.q from an integer at which a trial vector's score is zero."""
BEST_OF_LENGTH = 16
"""Trial vectors kept of each length."""
N_VECTORS = 24
"""Refined vectors of which triples are made."""
N_BASES = 4
"""Best bases that are refined as lattices."""
FREE_CELL_SIGMA = 0.02
"""Relative standard deviation of the restraint to the cell that the search gave."""
CELL_PRIOR = 20.0
"""Logarithm of how many cells could have been found instead: three vectors in a half-ball."""


def _sublattices(index: int) -> Array:
    """Return rows (n, 3, 3): a basis of every sublattice of this index (Hermite normal form)."""
    found = []
    for a, b in product(range(1, index + 1), repeat=2):
        if index % (a * b) == 0:
            c = index // (a * b)
            for d, e, f in product(range(b), range(c), range(c)):
                found.append([[a, d, e], [0, b, f], [0, 0, c]])
    return np.array(found, dtype=float)


SUBLATTICES = np.concatenate([_sublattices(2), _sublattices(3)])
"""Bases of all lattices with a cell twice or three times as large, in terms of a basis."""


@dataclass(frozen=True)
class FoundCell:
    """A lattice found without a target.

    Attributes
    ----------
    a_matrix : (3, 3) A of a reduced primitive cell [1/Angstrom]
    n_indexed : spots on it
    log_odds : evidence against chance
    """

    a_matrix: Array
    n_indexed: int
    log_odds: float


def find_cell(spots: ShotSpots, max_length_ang: float, min_spots: int) -> FoundCell | None:
    """Return the lattice that explains the spots best; none if too few spots are explained.

    Parameters
    ----------
    spots : of one shot
    max_length_ang : longest primitive lattice vector looked for
    min_spots : fewest spots on a lattice
    """
    q = spots.q[_chosen(spots)]
    vectors = lattice_vectors(q, float(np.linalg.norm(q, axis=1).max()), max_length_ang)
    found = [
        _refined(spots, enlarged(basis, q, max_length_ang)) for basis in best_bases(vectors, q)
    ]
    found = [cell for cell in found if cell.n_indexed >= min_spots]
    return max(found, key=lambda cell: cell.log_odds, default=None)


def _chosen(spots: ShotSpots) -> NDArray[np.intp]:
    """Return the rows of the best-located spots within a resolution that holds spots enough."""
    size = np.linalg.norm(spots.q, axis=1)
    limit = max(1.0 / SEARCH_D_MIN_ANG, float(np.sort(size)[min(N_FEW, len(size)) - 1]))
    within = np.flatnonzero(size <= limit)
    return within[np.argsort(spots.sigma[within], kind="stable")[:N_SPOTS]]


def lattice_vectors(q: Array, q_max: float, max_length_ang: float) -> Array:
    """Return refined real-space vectors (n, 3) that fit spots at q (m, 3), best first."""
    trials = []
    spots_weight = np.ones(len(q))
    spacing = max(STEP / q_max, max_length_ang * (2.1 / MOST_VECTORS) ** (1.0 / 3.0))
    for length in np.arange(max(4.0 * spacing, 8.0), max_length_ang, spacing):
        reach = np.full(len(q), COARSE_REACH / length)
        t = directions(int(2.0 * np.pi * (length / spacing) ** 2) + 64) * np.float32(length)
        scores = score_vectors(t, TrialSpots(q, reach, spots_weight))
        trials.append(t[:, highest(scores, BEST_OF_LENGTH)].T.astype(float))
    return _sharpened(np.concatenate(trials), q)


def _sharpened(vectors: Array, q: Array) -> Array:
    """Return distinct vectors refined against the spots, least likely by chance first."""
    for reach in (COARSE_REACH, 0.15, 0.1, 0.1):
        phase = vectors @ q.T
        nearest = np.rint(phase)
        weight = np.maximum(1.0 - ((phase - nearest) / reach) ** 2, 0.0)
        normal = np.einsum("nm,mi,mj->nij", weight, q, q, optimize=True) + 1e-9 * np.eye(3)
        right = np.einsum("nm,mi->ni", weight * nearest, q, optimize=True)
        vectors = np.linalg.solve(normal, right[..., None])[..., 0]
    lengths = np.linalg.norm(vectors, axis=1)
    vectors, lengths = vectors[lengths > 8.0], lengths[lengths > 8.0]
    phase = vectors @ q.T
    distance = np.abs(phase - np.rint(phase)) / lengths[:, None]
    reach = SPOT_REACH_INVANG + STRAIN_REACH * np.linalg.norm(q, axis=1)
    odds = -np.log(np.minimum(2.0 * reach * lengths[:, None], 0.95))
    scores = np.sum(odds * np.maximum(1.0 - (distance / reach) ** 2, 0.0), axis=1)
    left = vectors[np.argsort(-scores, kind="stable")]
    chosen: list[Array] = []
    while len(left) and len(chosen) < N_VECTORS:
        best = left[0]
        chosen.append(best)
        gap = np.minimum(np.linalg.norm(left - best, axis=1), np.linalg.norm(left + best, axis=1))
        left = left[gap > 0.03 * np.linalg.norm(best)]
    return np.array(chosen)


def best_bases(vectors: Array, q: Array) -> Array:
    """Return A (n, 3, 3) of the triples of vectors whose lattices explain the spots best."""
    triples = vectors[list(combinations(range(len(vectors)), 3))]
    volumes = np.abs(np.linalg.det(triples))
    lengths = np.prod(np.linalg.norm(triples, axis=2), axis=1)
    solid = volumes > 0.1 * lengths
    triples, volumes = triples[solid], volumes[solid]
    if not len(triples):
        return np.empty((0, 3, 3))
    scores = lattice_scores(triples, volumes, q)
    best = np.argsort(-scores, kind="stable")
    return _distinct_lattices(np.linalg.inv(triples[best[:200]]))


def lattice_scores(triples: Array, volumes: Array, q: Array) -> Array:
    """Return the odds against chance (n,) of the spots at q (m, 3) that fit each lattice.

    Parameters
    ----------
    triples : (n, 3, 3) rows: real vectors [Angstrom]
    volumes : (n,) of their cells [Angstrom^3]
    """
    h = q @ triples.transpose(0, 2, 1)
    off = (h - np.rint(h)) @ np.linalg.inv(triples).transpose(0, 2, 1)
    distance = np.einsum("nmi,nmi->nm", off, off)
    widest = (LARGEST_SHARE / (4.0 / 3.0 * np.pi * volumes[:, None])) ** (1.0 / 3.0)
    reach = np.minimum(SPOT_REACH_INVANG + STRAIN_REACH * np.linalg.norm(q, axis=1), widest)
    odds = -np.log(4.0 / 3.0 * np.pi * reach**3 * volumes[:, None])
    return np.asarray(np.sum(np.maximum(1.0 - distance / reach**2, 0.0) * odds, axis=1))


def _distinct_lattices(lattices: Array) -> Array:
    """Return reduced A of the first lattices that differ in volume or in their points."""
    chosen: list[Array] = []
    for a_matrix in lattices:
        same = False
        for other in chosen:
            turn = np.linalg.inv(other) @ a_matrix
            same |= bool(np.all(np.abs(turn - np.rint(turn)) < 0.1)) and (
                abs(abs(np.linalg.det(turn)) - 1.0) < 0.1
            )
        if not same:
            chosen.append(reduced_lattice(a_matrix))
        if len(chosen) == N_BASES:
            break
    return np.array(chosen)


def enlarged(a_matrix: Array, q: Array, max_length_ang: float) -> Array:
    """Return the lattice, or one with a cell two, three or more times as large that fits better.

    Long vectors stand out less than short ones: where every other reflection is weak, or one axis
    is long, the search may have found a lattice that explains a part of the spots only.
    """
    while True:
        triples = np.concatenate([np.eye(3)[None], SUBLATTICES]) @ np.linalg.inv(a_matrix)
        scores = lattice_scores(triples, np.abs(np.linalg.det(triples)), q)
        better = [row for row in np.argsort(-scores, kind="stable") if scores[row] > scores[0]]
        choices = (reduced_lattice(np.linalg.inv(triples[row])) for row in better)
        short = (a for a in choices if _longest_ang(a) <= max_length_ang)
        larger = next(short, None)
        if larger is None:
            return a_matrix
        a_matrix = larger


def reduced_lattice(a_matrix: Array) -> Array:
    """Return A of the reduced basis of a primitive lattice."""
    return np.asarray(a_matrix @ np.linalg.inv(reduced_basis(np.zeros((1, 3)), a_matrix)))


def _longest_ang(a_matrix: Array) -> float:
    return float(np.linalg.norm(np.linalg.inv(a_matrix), axis=1).max())


def without_symmetry(a_matrix: Array) -> TargetLattice:
    """Return the cell of A as a target that has no symmetry."""
    a, b, c, alpha, beta, gamma = (float(value) for value in metric_cell(a_matrix))
    return TargetLattice((a, b, c, alpha, beta, gamma), "P 1")


def _refined(spots: ShotSpots, a_matrix: Array) -> FoundCell:
    """Return the lattice refined with all six cell parameters free."""
    target = without_symmetry(a_matrix)
    refined = refine(spots, a_matrix, target, FREE_CELL_SIGMA)
    odds = log_odds(refined, spots, target, FREE_CELL_SIGMA) - CELL_PRIOR
    return FoundCell(reduced_lattice(refined.a_matrix), len(refined.spots), odds)
