"""Which way each crystal is indexed, found by how the crystals correlate with each other.

Where spots alone leave several ways to index a crystal, crystals in the same way have correlated
intensities and crystals in different ways have not. Brehm & Diederichs place the crystals in space
so that inner products are their correlations in all ways; with two ways, the place is a coordinate
of the leading eigenvector of (correlation as they are - correlation with one turned). Here the
matrix of all pairs is never made. With X_j the sparse matrix (crystals, reflections) of normalised
amplitudes indexed in way j, its product with a vector is two sparse products with X_j, so that all
pairs count and the cost grows as the number of observations. From the eigenvector on, each crystal
is put where it agrees best with what all others make of its reflections, until none moves.

The same is done with the intensities of each crystal shuffled among its reflections: agreement
that is not clearly beyond what is found there decides nothing.

Sums over crystals are of numbers on a binary grid, so they are exact and in any order the same.

Sources: Brehm & Diederichs (2014), Acta Cryst. D70, 101-109; Gildea & Winter (2018), Acta Cryst.
D74, 405-410.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from xfel_apps import mpi
from xfel_apps.intensities.asu import ABSENT, UniqueReflections
from xfel_apps.merge.amplitudes import normalized
from xfel_apps.merge.observations import Observations

Array = NDArray[np.float64]
Index = NDArray[np.integer]

GRID_W = 2.0**16
"""Steps in one of the grid of weights of crystals."""
NOISE_OVER_SIGNAL = 3.0
"""Variance of a normalised amplitude about the mean of all crystals, over that of the means."""
POWER_STEPS = 25
SETTLING_STEPS = 40
MOST_SHUFFLES, FEWEST_SHUFFLES, SHUFFLED_ROWS = 50, 3, 1_000_000
"""Times that intensities are shuffled: more for few crystals, of which chance has more to say."""
BEYOND_CHANCE = 3.0
"""Agreement is believed from so many standard deviations above that of shuffled ones on."""
SHARE_BEYOND_CHANCE = 0.1
"""The least that counts as a standard deviation, as a share of their mean."""
MIN_COMMON = 10
"""A crystal with fewer reflections in common with others stays as it is."""


@dataclass(frozen=True)
class Ways:
    """How the crystals are indexed.

    Attributes
    ----------
    mode : (n_crystals,) index into the operators
    is_open : (n_crystals,) whether a crystal has observations, but too few to choose by
    agreement : of the crystals in these ways, in standard deviations above that of crystals
        whose intensities were shuffled
    """

    mode: NDArray[np.int8]
    is_open: NDArray[np.bool_]
    agreement: float

    @property
    def is_decided(self) -> bool:
        """Whether the crystals agree beyond chance; where not, all stay as they are."""
        return self.agreement >= BEYOND_CHANCE


def turned_reflections(
    unique: UniqueReflections, operators: list[NDArray[np.int64]]
) -> NDArray[np.int32]:
    """Return the slot (n_ways, n_slots) that each slot becomes in each way of indexing."""
    mates = np.stack([unique.hkl, -unique.hkl][: unique.slots_each], axis=1).reshape(-1, 3)
    return np.stack([unique.slots(mates @ operator) for operator in operators])


def resolve(
    comm: mpi.Comm,
    mine: Observations,
    unique: UniqueReflections,
    operators: list[NDArray[np.int64]],
    share: slice,
) -> Ways:
    """Return the ways in which the crystals agree best with each other, on every rank.

    Parameters
    ----------
    mine : observations of this rank's crystals as they were indexed, in order of crystal
    operators : ways of indexing; the first is the identity
    share : crystals of this rank
    """
    each = unique.slots_each
    table = turned_reflections(unique, operators)
    mine = mine.take((table[:, mine.slot] != ABSENT).all(axis=0))
    table = table[:, ::each] // each
    z = normalized(mine, 0.25 / unique.d_ang[mine.slot // each] ** 2)
    crowd = Crowd(comm, mine, table[:, mine.slot // each], len(unique), share)
    found, agreement = crowd.ways(z)
    chance = np.array([crowd.ways(z[rows])[1] for rows in crowd.shuffles()])
    one = max(float(chance.std(ddof=1)), SHARE_BEYOND_CHANCE * float(chance.mean()), 1e-30)
    common = np.concatenate(mpi.gather_all(comm, crowd.common(found[share])))
    is_open = (common > 0) & (common < MIN_COMMON)
    ways = Ways(found, is_open, (agreement - float(chance.mean())) / one)
    if not ways.is_decided:
        return replace(ways, mode=np.zeros_like(found))
    mode = most_as_they_are(found, common >= MIN_COMMON, table)
    return replace(ways, mode=np.where(common >= MIN_COMMON, mode, 0).astype(np.int8))


def indexed(mine: Observations, mode: NDArray[np.int8], table: NDArray[np.int32]) -> Observations:
    """Return observations with every crystal indexed in its mode (n_crystals,)."""
    slot = table[mode[mine.crystal], mine.slot]
    return replace(mine, slot=slot).take(slot != ABSENT)


def most_as_they_are(
    mode: NDArray[np.int8], counted: NDArray[np.bool_], table: NDArray[np.int32]
) -> NDArray[np.int8]:
    """Return the same ways named so that most crystals stay as they are.

    To turn all crystals alike changes nothing in how they agree.

    Parameters
    ----------
    counted : (n_crystals,) whose votes count
    table : (n_ways, n) reflection that each becomes in each way
    """
    votes = np.bincount(mode[counted], minlength=len(table))
    for favourite in np.argsort(-votes, kind="stable"):
        for turn in table:
            after = turn[table]  # each way, then the turn
            names = [_way_of(way, table) for way in after]
            if names[favourite] == 0 and sorted(names) == list(range(len(table))):
                return np.array(names, dtype=np.int8)[mode]
    return mode


def _way_of(reflection: NDArray[np.int32], table: NDArray[np.int32]) -> int:
    """Return the way that turns reflections as `reflection` does; ABSENT if none does.

    A few at the edge of the range of resolution may differ by rounding.
    """
    same = np.mean(table == reflection, axis=1)
    return int(np.argmax(same)) if same.max() > 0.9 else ABSENT


class Crowd:
    """The crystals, and which reflections they have in each way of indexing.

    Parameters
    ----------
    comm : the ranks
    mine : observations of this rank's crystals
    reflections : (n_ways, n) reflection of each observation in each way
    n_reflections : how many there are
    share : crystals of this rank
    """

    def __init__(
        self,
        comm: mpi.Comm,
        mine: Observations,
        reflections: NDArray[np.int32],
        n_reflections: int,
        share: slice,
    ) -> None:
        self.comm, self.share, self.reflections = comm, share, reflections
        self.crystal: NDArray[np.int64] = mine.crystal.astype(np.int64) - share.start
        self.shape = (share.stop - share.start, n_reflections)
        self.n_crystals = int(comm.allreduce(self.shape[0]))
        seen = [np.bincount(way, minlength=n_reflections) for way in reflections]
        counts = self.total(np.sum(seen, axis=0).astype(float))
        self.shrunk = 1.0 / (NOISE_OVER_SIGNAL + counts / len(reflections))

    def total(self, values: Array) -> Array:
        """Return the sum over the ranks; exact for values on a grid."""
        result = np.empty_like(values)
        self.comm.Allreduce(values, result)
        return result

    def ways(self, z: Array) -> tuple[NDArray[np.int8], float]:
        """Return the way of each crystal of all ranks, and how far they agree.

        The agreement is the mean over crystals of how much better the way found fits what the
        others say than the next best way.
        """
        agreement = Agreement(self, z)
        weights = agreement.settled(agreement.leading())
        scores = np.concatenate(mpi.gather_all(self.comm, agreement.scores(weights)))
        ordered = np.sort(scores, axis=1)
        margin = float(np.mean(ordered[:, -1] - ordered[:, -2]))
        return np.argmax(scores, axis=1).astype(np.int8), margin

    def shuffles(self) -> Iterator[NDArray[np.intp]]:
        """Yield orders of the rows that mix each crystal's, whatever rank has it."""
        rows = self.comm.allgather(len(self.crystal))
        before = sum(rows[: self.comm.rank])
        times = int(np.clip(SHUFFLED_ROWS // sum(rows), FEWEST_SHUFFLES, MOST_SHUFFLES))
        for seed in range(times):
            rng = np.random.Generator(np.random.PCG64(seed).advance(before))
            yield np.lexsort((rng.random(len(self.crystal)), self.crystal))

    def common(self, mode: NDArray[np.int8]) -> NDArray[np.int64]:
        """Return how many reflections of each of this rank's crystals other crystals have too."""
        rows = np.arange(len(self.crystal))
        reflection = self.reflections[mode[self.crystal], rows]
        pairs = np.unique(self.crystal * self.shape[1] + reflection)
        crystal, reflection = pairs // self.shape[1], pairs % self.shape[1]
        n_crystals = self.total(np.bincount(reflection, minlength=self.shape[1]).astype(float))
        return np.bincount(crystal[n_crystals[reflection] > 1], minlength=self.shape[0])


class Agreement:
    """How well crystals agree with each other, for given normalised amplitudes.

    Parameters
    ----------
    crowd : the crystals
    z : (n,) normalised amplitude of each observation of this rank, on the grid
    """

    def __init__(self, crowd: Crowd, z: Array) -> None:
        self.crowd = crowd
        self.matrices = [
            csr_array((z, (crowd.crystal, way)), shape=crowd.shape) for way in crowd.reflections
        ]
        self.own = np.stack(
            [[(a * b) @ crowd.shrunk for b in self.matrices] for a in self.matrices]
        ).transpose(2, 0, 1)

    def scores(self, weights: Array) -> Array:
        """Return (n, n_ways): how each way fits what the others say of a crystal's reflections.

        Parameters
        ----------
        weights : (n, n_ways) of this rank's crystals in each way, on the grid
        """
        columns = zip(self.matrices, weights.T, strict=True)
        said = self.crowd.total(sum(matrix.T @ column for matrix, column in columns))
        said *= self.crowd.shrunk
        alone = np.einsum("cij,ci->cj", self.own, weights)
        return np.asarray(np.stack([matrix @ said for matrix in self.matrices], axis=1) - alone)

    def leading(self) -> Array:
        """Return weights (n, n_ways) near the leading eigenvector, which separates the ways best.

        They add up to zero over the ways of each crystal.
        """
        crowd, n_ways = self.crowd, len(self.matrices)
        start = np.random.default_rng(1).normal(size=(crowd.n_crystals, n_ways))
        weights = self._on_grid(start[crowd.share])
        alone = np.einsum("cii->ci", self.own).max(initial=0.0)
        shift = max(crowd.comm.allgather(float(alone))) / 2.0  # so that no negative one leads
        before = np.full(len(weights), ABSENT)
        for _ in range(POWER_STEPS):
            weights = self._on_grid(self.scores(weights) + shift * weights)
            best = np.argmax(weights, axis=1)
            if not self._anywhere(best != before):
                break
            before = best
        return weights

    def _anywhere(self, changed: NDArray[np.bool_]) -> bool:
        """Return whether anything changed on any rank."""
        return bool(self.crowd.comm.allreduce(int(changed.sum())))

    def _on_grid(self, weights: Array) -> Array:
        """Return weights about zero for each crystal, the largest of all one."""
        weights = weights - weights.mean(axis=1, keepdims=True)
        largest = max(self.crowd.comm.allgather(float(np.abs(weights).max(initial=1e-30))))
        return np.asarray(np.rint(weights / largest * GRID_W) / GRID_W)

    def settled(self, weights: Array) -> Array:
        """Return weights of crystals each in the one way that fits the others best."""
        n_ways = len(self.matrices)
        each: Array = np.rint((np.eye(n_ways) - 1.0 / n_ways) * GRID_W) / GRID_W
        best = np.full(len(weights), ABSENT)
        for _ in range(SETTLING_STEPS):
            before, best = best, np.argmax(self.scores(weights), axis=1)
            if not self._anywhere(best != before):
                break
            # Half way only, or two crystals that pull each other over would swap for ever.
            weights = np.rint((weights + each[best]) / 2.0 * GRID_W) / GRID_W
        return np.asarray(each[best])
