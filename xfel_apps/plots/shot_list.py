"""The shots of a run to be looked at: all, hits, those that should have been indexed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.events import EVENTS
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.results import PER_SHOT, RunResults
from xfel_apps.containers.spots import SPOTS

IntArray = NDArray[np.int64]

CODES = {item: item.code for item in Outcome}
LATTICE = (CODES[Outcome.INDEXED], CODES[Outcome.INTEGRATED])
KINDS = {
    "all": tuple(CODES.values()),
    "hits": (CODES[Outcome.HIT_NOT_INDEXED], *LATTICE),
    "integrated": (CODES[Outcome.INTEGRATED],),
    "not indexed": (CODES[Outcome.HIT_NOT_INDEXED],),
    "missed": (CODES[Outcome.MISS],),
    "failed": (CODES[Outcome.FAILED],),
}
"""Kind of shots -> codes of their outcomes."""
SHOULD = "should have indexed"


@dataclass(frozen=True)
class ShotList:
    """The shots of a run in order.

    Attributes
    ----------
    event, outcome, n_spots : (n,) number, code of the final outcome, good spots
    """

    event: IntArray
    outcome: IntArray
    n_spots: IntArray

    def of(self, kind: str) -> IntArray:
        """Return the events of a kind, in order: of `KINDS`, or `SHOULD`, most promising first."""
        if kind == SHOULD:
            return self.event[self._should()]
        return self.event[np.isin(self.outcome, KINDS[kind])]

    def spots_of(self, event: int) -> int:
        """Return how many good spots a shot has."""
        return int(self.n_spots[np.searchsorted(self.event, event)])

    def _should(self) -> IntArray:
        """Return the rows of hits without a lattice that have as many spots as indexed shots.

        As many: at least the median of the shots with a lattice (of the hits, where none has).
        """
        hits = np.isin(self.outcome, KINDS["hits"])
        good = np.isin(self.outcome, LATTICE)
        usual = self.n_spots[good if good.any() else hits]
        least = float(np.median(usual)) if len(usual) else 0.0
        lost = (self.outcome == CODES[Outcome.HIT_NOT_INDEXED]) & (self.n_spots >= least)
        rows = np.flatnonzero(lost)
        return rows[np.argsort(-self.n_spots[rows], kind="stable")]

    def richer_than(self, event: int) -> float:
        """Return the share of shots with a lattice that have fewer spots than this one."""
        usual = self.n_spots[np.isin(self.outcome, LATTICE)]
        return float((usual < self.spots_of(event)).mean()) if len(usual) else 1.0


def neighbours(events: IntArray, event: int) -> tuple[int | None, int | None]:
    """Return what comes before and after an event among events, in their order.

    >>> neighbours(np.array([3, 7, 9]), 7), neighbours(np.array([3, 7, 9]), 4)
    ((3, 9), (3, 7))
    """
    at = np.flatnonzero(events == event)
    if len(at):
        place = int(at[0])
        before, after = place - 1, place + 1
    else:
        after = int(np.searchsorted(events, event))
        before = after - 1
    return (
        int(events[before]) if before >= 0 else None,
        int(events[after]) if after < len(events) else None,
    )


def shot_list(run: RunResults) -> ShotList:
    """Return the shots of a run, and how each ended so far."""
    run.need(EVENTS)
    first = run.reader(EVENTS).shot_columns(["event", "outcome"])
    event, outcome = first["event"], first["outcome"].astype(np.int64)
    n_spots = np.zeros(len(event), np.int64)
    for name, manifest in run.manifests.items():
        if name == EVENTS.name:
            continue
        columns = run.reader(PER_SHOT[name]).shot_columns(["event", "outcome"])
        rows = np.searchsorted(event, columns["event"])
        outcome[rows] = columns["outcome"]
        for number, ending in manifest.extra.get("decided", {}).items():
            outcome[np.searchsorted(event, int(number))] = CODES[Outcome(ending)]
        if name == SPOTS.name:
            n_spots[rows] = run.reader(SPOTS).shot_columns(["n_spots"])["n_spots"]
    return ShotList(event, outcome, n_spots)
