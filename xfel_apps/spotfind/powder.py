"""The powder sums that one rank adds up: each shot once, durable before the shot's rows are."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.panels import Panels
from xfel_apps.compute.powder import Sums, powder_add
from xfel_apps.containers import powder as powders
from xfel_apps.containers.powder import PowderSum
from xfel_apps.containers.writer import part_path

Bytes = NDArray[np.uint8]


class RankPowder:
    """Sums of hits and of misses on one rank, and the file they are kept in.

    Parameters
    ----------
    folder : where the file goes
    rank : number of this rank
    digest : of the product
    known : events that are in a powder file already
    """

    def __init__(self, folder: Path, rank: int, digest: str, known: Iterable[int]) -> None:
        self._path = part_path(folder, rank, powders.PREFIX)
        self._digest = digest
        self._known = set(known)
        self._sums: dict[powders.Key, Sums] = {}
        self._events: dict[powders.Key, list[int]] = {}
        self._is_new = False

    def leave_out(self, events: Iterable[int]) -> None:
        """Note events that are in another powder file."""
        self._known.update(events)

    def add(
        self, event: int, frame: NDArray[Any], mask: Bytes, panels: Panels, *, is_hit: bool
    ) -> None:
        """Add a frame (slow, fast) [ADU] unless its event is in a powder already.

        Parameters
        ----------
        event : its number
        frame, mask : (slow, fast) the frame, and 1 for each usable pixel
        panels : with the trusted range of values
        is_hit : whether it goes to the hits or to the misses
        """
        if event in self._known:
            return
        key = is_hit, (int(frame.shape[0]), int(frame.shape[1]))
        if key not in self._sums:
            self._sums[key] = Sums.empty(key[1])
        powder_add(frame, mask, panels, self._sums[key])
        self._events.setdefault(key, []).append(event)
        self._known.add(event)
        self._is_new = True

    def flush(self) -> None:
        """Make the sums durable."""
        if not self._is_new:
            return
        for sums in self._sums.values():
            sums.settle()
        done = {
            key: PowderSum(sums.total, sums.highest, self._events[key])
            for key, sums in self._sums.items()
        }
        powders.write_part(self._path, done, self._digest)
        self._is_new = False
