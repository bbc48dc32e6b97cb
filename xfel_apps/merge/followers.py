"""Ways of indexing of very many crystals: some agree among themselves, the others follow them.

How all crystals agree with all is known from a share of them, and takes its time and memory. Each
of the others is then indexed in the way in which it agrees best with what those say.
"""

import numpy as np
from numpy.typing import NDArray

from xfel_apps import mpi
from xfel_apps.compute.sums import Runs
from xfel_apps.intensities.asu import ABSENT, UniqueReflections
from xfel_apps.merge.ambiguity import (
    MIN_COMMON,
    NOISE_OVER_SIGNAL,
    Ways,
    resolve,
    turned_reflections,
)
from xfel_apps.merge.amplitudes import normalized
from xfel_apps.merge.blocks import Leaves
from xfel_apps.merge.observations import Observations

Array = NDArray[np.float64]

CROWD_ROWS = 5_000_000
"""Observations of the crystals that agree among themselves, at most."""


def resolve_all(
    comm: mpi.Comm,
    mine: Observations,
    unique: UniqueReflections,
    operators: list[NDArray[np.int64]],
    leaves: Leaves,
) -> Ways:
    """Return the ways in which the crystals agree best with each other, on every rank.

    Parameters
    ----------
    mine : observations of this rank's crystals as they were indexed, in order of crystal
    operators : ways of indexing; the first is the identity
    leaves : how the crystals are cut
    """
    own = leaves.of_rank(comm.rank, comm.size)
    share = leaves.crystals(own)
    step = max(-(-int(comm.allreduce(len(mine))) // CROWD_ROWS), 1)
    if step == 1:
        return resolve(comm, mine, unique, operators, share)
    leads = mine.take(mine.crystal % np.int32(step) == 0)
    ways = resolve(comm, leads, unique, operators, share)
    if not ways.is_decided:
        return ways
    voice = _Voice(comm, unique, operators)
    voice.listen(leads, ways.mode)
    parts = [np.zeros((0, 2), dtype=np.int64)]
    parts += [
        voice.followed(mine.take(block.rows), block.groups)
        for block in leaves.blocks(mine.crystal, own)
    ]
    mode, common = np.concatenate(mpi.gather_all(comm, np.concatenate(parts))).T
    is_lead = np.arange(len(mode)) % step == 0
    is_open = (common > 0) & (common < MIN_COMMON)
    mode = np.where(is_lead, ways.mode, np.where(common >= MIN_COMMON, mode, 0))
    return Ways(mode.astype(np.int8), np.where(is_lead, ways.is_open, is_open), ways.agreement)


class _Voice:
    """What crystals in known ways say of each reflection."""

    def __init__(
        self, comm: mpi.Comm, unique: UniqueReflections, operators: list[NDArray[np.int64]]
    ) -> None:
        self.comm, self.unique, each = comm, unique, unique.slots_each
        turned = turned_reflections(unique, operators)
        self.is_known = (turned != ABSENT).all(axis=0)
        self.table = turned[:, ::each] // each
        self.said: Array = np.zeros(len(unique))
        self.is_seen = np.zeros(len(unique), dtype=bool)

    def _amplitudes(self, obs: Observations) -> tuple[Observations, NDArray[np.int64], Array]:
        """Return observations known in every way, their reflections, normalised amplitudes."""
        obs = obs.take(self.is_known[obs.slot])
        reflection = obs.slot.astype(np.int64) // self.unique.slots_each
        return obs, reflection, normalized(obs, 0.25 / self.unique.d_ang[reflection] ** 2)

    def listen(self, leads: Observations, mode: NDArray[np.int8]) -> None:
        """Hear what crystals indexed in their modes (n_crystals,) say; sums are exact."""
        obs, reflection, z = self._amplitudes(leads)
        turned = self.table[mode[obs.crystal], reflection]
        n = len(self.unique)
        own = np.stack([np.bincount(turned, z, n), np.bincount(turned, minlength=n)])
        whole = np.empty_like(own)
        self.comm.Allreduce(own, whole)
        self.said, self.is_seen = whole[0] / (NOISE_OVER_SIGNAL + whole[1]), whole[1] > 0

    def followed(self, obs: Observations, crystals: slice) -> NDArray[np.int64]:
        """Return (n, 2) of each crystal: the way that fits best, and how many reflections tell."""
        obs, reflection, z = self._amplitudes(obs)
        total = Runs(obs.crystal - crystals.start, crystals.stop - crystals.start).total
        turned = self.table[:, reflection]
        best = np.argmax([total(z * self.said[way]) for way in turned], axis=0)
        common = total(self.is_seen[turned].all(axis=0).astype(float))
        return np.stack([best, common.astype(np.int64)], axis=1)
