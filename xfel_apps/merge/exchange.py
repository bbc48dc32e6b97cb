"""What goes between ranks: observations to the owners of their slots, sums of slots to all.

The owner of a slot is its number modulo the number of ranks.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps import mpi
from xfel_apps.merge.observations import Observations


def of_all_slots(comm: mpi.Comm, local: NDArray[Any]) -> NDArray[Any]:
    """Return values (n_slots,) of all slots, on every rank, from those of each rank's slots."""
    parts = mpi.gather_all(comm, local)
    result = np.empty(sum(map(len, parts)), dtype=local.dtype)
    for rank, part in enumerate(parts):
        result[rank :: comm.size] = part
    return result


def to_owners(comm: mpi.Comm, mine: Observations) -> Observations:
    """Return the observations of the slots this rank owns, in order of (slot, crystal, row).

    A column at a time, so that no more than one lies in memory twice.
    """
    owner = mine.slot % comm.size
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=comm.size).astype(np.int64)
    slot = mpi.exchange(comm, mine.slot[order], counts)
    arrived = np.argsort(slot, kind="stable")
    columns = {"slot": slot[arrived]}
    for name in Observations.schema():
        if name != "slot":
            columns[name] = mpi.exchange(comm, getattr(mine, name)[order], counts)[arrived]
    return Observations(**columns)
