"""What crews have found, taken over into the folders of the batch: rows and powder, in bulk.

Each part file of a crew becomes one of the product, whole or not at all, so that taking over can
be killed at any moment and started again. What is not taken over, the stage's app does anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps import mpi
from xfel_apps.containers import powder as powders
from xfel_apps.containers.copying import DamagedError, Share, copy_shots
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.reader import Part, ProductReader, readable_parts
from xfel_apps.containers.spots import SPOTS
from xfel_apps.containers.writer import part_path
from xfel_apps.live.layout import LiveRun
from xfel_apps.live.match import NONE, Numbers
from xfel_apps.worker import StageRun

NOT_TAKEN = (Outcome.PENDING.code, Outcome.FAILED.code)
"""Outcomes of rows that are not taken over: what failed may have failed for a moment only."""


@dataclass(frozen=True)
class Crews:
    """What the crews have made of one product with what is now known of the run.

    Attributes
    ----------
    live : the run
    made_with : live digest of the parts that are right
    event_of : (n_live,) event of each live shot, `NONE` where it is none
    """

    live: LiveRun
    made_with: str
    event_of: Numbers

    def events(self, numbers: NDArray[np.int64]) -> Numbers:
        """Return the events (n,) of live numbers (n,)."""
        known = numbers < len(self.event_of)
        return np.where(known, self.event_of[np.where(known, numbers, 0)], NONE)


def adopt(comm: mpi.Comm, crews: Crews, job: StageRun) -> int:
    """Take over what crews have made of a product; return how many shots.

    Parameters
    ----------
    comm : ranks that share the copying
    crews : what is there
    job : the stage that would do it anew
    """
    if job.product is SPOTS:
        sums: list[PowderShare] = mpi.agree(comm, lambda: plan_powder(crews, job))
        for item in sums[comm.rank :: comm.size]:
            powders.copy_part(item.source, item.target, item.events, job.digest)
        comm.Barrier()
    shares: list[Share] = mpi.agree(comm, lambda: plan_rows(crews, job))
    n_taken = 0
    for share in shares[comm.rank :: comm.size]:
        try:
            copy_shots(share, job.product, job.digest)
            n_taken += len(share.shots)
        except DamagedError:  # the stage's app does these shots anew
            continue
    return int(comm.allreduce(n_taken))


def plan_rows(crews: Crews, job: StageRun) -> list[Share]:
    """Return which shots of which parts are taken over: each event once, none that is there."""
    for cut_short in job.folder.glob(".rank-*.part"):
        cut_short.unlink()
    wanted = _wanted(job)
    workers = worker_numbers(crews.live)
    shares: list[Share] = []
    paths = crews.live.all_parts(job.product.name)
    for part in readable_parts(paths, job.product, crews.made_with):
        shots, events = _choose(part, crews, wanted)
        if len(shots):
            target = part_path(job.folder, len(shares))
            shares.append(Share(part.path, target, shots, events, workers[crew_rank(part.path)]))
    return shares


def _wanted(job: StageRun) -> NDArray[np.bool_]:
    """Return which events (n_events,) are to be taken over; spots only of those in the powder."""
    wanted = np.zeros(len(job.carried), dtype=bool)
    wanted[list(job.todo)] = True
    there = ProductReader.from_folder(job.folder, job.product, job.digest)
    wanted[there.events] = False
    there.close()
    if job.product is SPOTS:
        in_powder = np.zeros_like(wanted)
        in_powder[list(powders.events_in(job.folder, job.digest))] = True
        wanted &= in_powder
    return wanted


def _choose(part: Part, crews: Crews, wanted: NDArray[np.bool_]) -> tuple[Numbers, Numbers]:
    """Return which shots of a part are wanted, and their events; want them no more."""
    outcome: NDArray[Any] = part.file["shots/outcome"][: part.n_shots]
    events = crews.events(part.events)
    good = ~np.isin(outcome, NOT_TAKEN) & (events != NONE)
    good[good] = wanted[events[good]]
    shots = np.flatnonzero(good)
    shots = np.sort(shots[np.unique(events[shots], return_index=True)[1]])
    wanted[events[shots]] = False
    return shots, events[shots]


def worker_numbers(live: LiveRun) -> dict[tuple[str, str], int]:
    """Return a number for every rank of every crew: the same for all products."""
    ranks = sorted({crew_rank(path) for path in live.folder.glob("*/*/rank-*.h5")})
    return {rank: number for number, rank in enumerate(ranks)}


def crew_rank(part: Path) -> tuple[str, str]:
    """Return the crew that a part file is of, and which of its ranks."""
    return part.parents[1].name, part.name.split(".")[0]


@dataclass(frozen=True)
class PowderShare:
    """Sums of one powder file, and where they go with which numbers of events."""

    source: Path
    target: Path
    events: dict[powders.Key, list[int]]


def plan_powder(crews: Crews, job: StageRun) -> list[PowderShare]:
    """Return which powder sums are taken over: none shares a shot with another one.

    A sum cannot be parted: one with a shot that is not (or no more) to be searched is left, and
    its shots are done anew. The largest sums come first.
    """
    todo = set(job.todo)
    taken = powders.events_in(job.folder, job.digest)
    chosen: dict[Path, dict[powders.Key, list[int]]] = {}
    for path, key, events in _sums(crews):
        if todo.issuperset(events) and taken.isdisjoint(events):
            taken.update(events)
            chosen.setdefault(path, {})[key] = events
    return [
        PowderShare(source, part_path(job.folder, number, powders.PREFIX), chosen[source])
        for number, source in enumerate(sorted(chosen))
    ]


def _sums(crews: Crews) -> Sequence[tuple[Path, powders.Key, list[int]]]:
    """Return the crews' powder sums, largest first, with the events in them."""
    found = []
    for crew in crews.live.crews():
        for path in powders.parts(crew / SPOTS.name, crews.made_with):
            for key, numbers in powders.events_by_key(path).items():
                found.append((path, key, crews.events(np.array(numbers)).tolist()))
    return sorted(found, key=lambda item: (-len(item[2]), item[0], item[1]))
