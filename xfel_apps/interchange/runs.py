"""Runs that are written out: their shots in order, and their rows in blocks of many shots."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import Product
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.results import RunResults, run_folders
from xfel_apps.containers.spots import SPOTS, Spots, is_good
from xfel_apps.errors import ContainerError
from xfel_apps.geometry import Beam, Detector

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Columns = dict[str, NDArray[Any]]

BLOCK_EVENTS = 500
"""Shots whose rows are in memory at once: of 1,000 reflections each, about 100 MB."""


@dataclass(frozen=True)
class Block:
    """Rows of a table of consecutive events.

    Attributes
    ----------
    events : (n_events,) numbers in the run
    event : (n,) event of each row
    columns : of the rows (n, ...)
    """

    events: IntArray
    event: IntArray
    columns: Columns

    def __len__(self) -> int:
        return len(self.event)

    def take(self, rows: NDArray[Any] | slice) -> "Block":
        """Return some of the rows; the events stay."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Block(self.events, self.event[rows], columns)

    def of(self, event: int) -> "Block":
        """Return the rows of one event; rows are in order of event."""
        start, stop = np.searchsorted(self.event, [event, event + 1])
        return self.take(slice(int(start), int(stop)))


NO_ROWS = Block(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), {})


class Run:
    """One run, open for reading."""

    def __init__(self, folder: Path) -> None:
        self.results = RunResults(folder)
        self.events = self.results.events

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.results.name

    @cached_property
    def shots(self) -> IntArray:
        """Events that have a frame to look at: neither failed nor filtered at ingest."""
        return self.events.pending

    @cached_property
    def hot_pixels(self) -> Sequence[Sequence[int]]:
        """Pixels (panel, slow, fast) whose spots do not count."""
        made = self.results.has(SPOTS)
        found: Sequence[Sequence[int]] = (
            self.results.need(SPOTS).extra.get("hot_pixels", []) if made else []
        )
        return found

    def event_column(self, name: str) -> NDArray[Any]:
        """Return a column of the events' table, indexed by event."""
        return self.events.frame[name].to_numpy()

    def beam(self, event: int) -> Beam:
        """Return the beam of a shot."""
        return self.events.beam(event)

    @cached_property
    def detectors(self) -> list[Detector]:
        """Detectors of the run, with the gain that spotfind used: counts become photons by it."""
        made = self.results.has(SPOTS)
        gain_adu = self.results.need(SPOTS).extra.get("gain_adu") if made else None
        if not gain_adu:
            return self.events.detectors
        return [with_median_gain(detector, gain_adu) for detector in self.events.detectors]

    def seen(self, product: Product) -> IntArray:
        """Return the events that a product has, in order."""
        return self.results.reader(product).events

    def block(self, product: Product, table: str, events: IntArray) -> Block:
        """Return the rows of a table that belong to `events`, in order of event."""
        names = list(product.tables[table].schema())
        counts, columns = self.results.reader(product).columns(table, events, names)
        return Block(events, np.repeat(events, counts), columns)

    def blocks(self, product: Product) -> Iterator[IntArray]:
        """Yield the events of a product, as many at a time as may be in memory."""
        events = self.seen(product)
        for start in range(0, len(events), BLOCK_EVENTS):
            yield events[start : start + BLOCK_EVENTS]

    def spots(self, events: IntArray) -> Block:
        """Return the spots of events without those of hot pixels."""
        known = np.intersect1d(events, self.seen(SPOTS))
        block = self.block(SPOTS, "spots", known)
        keep = is_good(
            Spots(**{**block.columns, "flags": 0 * block.columns["flags"]}), self.hot_pixels
        )
        return block.take(keep)

    def good_spots(self, events: IntArray) -> Block:
        """Return the spots of events that index tried, in its order."""
        block = self.block(SPOTS, "spots", np.intersect1d(events, self.seen(SPOTS)))
        return block.take(is_good(Spots(**block.columns), self.hot_pixels))

    @cached_property
    def crystals(self) -> dict[str, Block]:
        """Lattices by product (crystals, reflections), sorted by event and number."""
        found = {}
        for product in (CRYSTALS, REFLECTIONS):
            if self.results.has(product):
                block = self.block(product, "crystals", self.seen(product))
                order = np.lexsort((block.columns["lattice"], block.event))
                found[product.name] = block.take(order)
        return found


def with_median_gain(detector: Detector, gain_adu: float) -> Detector:
    """Return the detector, its panels' gains scaled so that their median is `gain_adu`."""
    scale = gain_adu / float(np.median([panel.gain for panel in detector.panels]))
    panels = tuple(replace(panel, gain=scale * panel.gain) for panel in detector.panels)
    return replace(detector, panels=panels)


def open_runs(folders: Sequence[Path]) -> list[Run]:
    """Return the runs at or below folders, in order of name; each must have its events."""
    paths = dict.fromkeys(path.resolve() for folder in folders for path in run_folders(folder))
    runs = [Run(path) for path in paths]
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise ContainerError(f"run {name} is given twice; name each run once")
    return sorted(runs, key=lambda run: run.name)


def lattice_of(block: Block, crystals: Block) -> IntArray:
    """Return the row (n,) in `crystals` that each row of a block belongs to."""
    known = _key(crystals.event, crystals.columns["lattice"])
    wanted = _key(block.event, block.columns["lattice"])
    rows = np.searchsorted(known, wanted)
    if len(wanted) and not np.array_equal(known[np.minimum(rows, len(known) - 1)], wanted):
        raise ContainerError("rows of a lattice that the table of crystals lacks; run index again")
    return rows


def _key(event: IntArray, lattice: NDArray[Any]) -> IntArray:
    return np.asarray(event * 65536 + lattice.astype(np.int64))


def failed(run: Run) -> int:
    """Return how many events of a run have no frame to look at."""
    return int((run.events.frame["outcome"] != Outcome.PENDING).sum())
