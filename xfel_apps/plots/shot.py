"""What is known of one shot: its frame, spots, lattices and predictions."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.crystals import CRYSTALS, Crystals, IndexedSpots
from xfel_apps.containers.reflections import REFLECTIONS, IntegratedCrystals, Reflections
from xfel_apps.containers.results import RunResults
from xfel_apps.containers.spots import SPOTS, Spots, good_spots
from xfel_apps.errors import ContainerError, GeometryError, XfelError
from xfel_apps.geometry import Beam, Detector
from xfel_apps.sources import FrameCache

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Marks:
    """Places on panels: panel, fast and slow (n,) [pixel], lattice (n,), -1 for none."""

    panel: IntArray
    fast_px: Array
    slow_px: Array
    lattice: IntArray

    @classmethod
    def none(cls) -> "Marks":
        """Return no places."""
        empty = np.empty(0)
        return cls(empty.astype(np.int64), empty, empty, empty.astype(np.int64))

    def __len__(self) -> int:
        return len(self.panel)

    def take(self, rows: NDArray[np.bool_]) -> "Marks":
        """Return the chosen places."""
        return Marks(self.panel[rows], self.fast_px[rows], self.slow_px[rows], self.lattice[rows])


@dataclass(frozen=True)
class Shot:
    """One shot as it can be drawn.

    Attributes
    ----------
    run, event, place : name of the run, number of the event, file and frame
    outcome, reason : how it ended
    detector, beam : the geometry
    photons : the frame (slow, fast) [photon], NaN where masked; None where it cannot be read
    problem : why it cannot be read
    spots : found, with the lattice they were indexed on
    predictions : where the lattices' reflections are expected
    crystals : the lattices
    found : the rows of `spots`; none where they are not known
    reflections : the rows of `predictions`, once they are integrated
    """

    run: str
    event: int
    place: str
    outcome: str
    reason: str
    detector: Detector
    beam: Beam
    photons: NDArray[np.float32] | None
    problem: str
    spots: Marks
    predictions: Marks
    crystals: Crystals
    found: Spots = field(default_factory=Spots.empty)
    reflections: Reflections = field(default_factory=Reflections.empty)

    @cached_property
    def lattices(self) -> list[int]:
        """Numbers of the lattices."""
        return [int(number) for number in self.crystals.lattice]


def load_shot(results: RunResults, event: int, frames: FrameCache | None = None) -> Shot:
    """Return what is known of one shot.

    Parameters
    ----------
    results : the run's products
    event : number of the event
    frames : reader of raw frames, to be shared between shots
    """
    events = results.events
    if not 0 <= event < len(events.frame):
        raise ContainerError(
            f"{results.folder}: no shot {event}, run {results.name} has shots 0 to "
            f"{len(events.frame) - 1} (see `xfelflow table events`)"
        )
    path, frame = events.location(event)
    detector, beam = _geometry(results, event)
    spots, lattice = _spots(results, event)
    cache = frames or FrameCache(events.geometry_file)
    photons, problem = _photons(path, frame, detector, cache)
    return Shot(
        run=results.name,
        event=event,
        place=f"{path.name}, frame {frame}",
        outcome=str(results.outcomes.at[event, "outcome"]),
        reason=str(results.outcomes.at[event, "reason"]),
        detector=detector,
        beam=beam,
        photons=photons,
        problem=problem,
        spots=_marks(spots, lattice),
        predictions=_predictions(results, event, spots),
        crystals=_crystals(results, event),
        found=spots,
        reflections=_reflections(results, event),
    )


def _geometry(results: RunResults, event: int) -> tuple[Detector, Beam]:
    """Return the shot's geometry; that of the run's first good shot where it has none itself."""
    events = results.events
    usable = events.frame.index[events.frame["wavelength_ang"] > 0]
    for number in (event, *usable[:1].astype(int)):
        try:
            return events.detector(number), events.beam(number)
        except (GeometryError, LookupError):
            continue
    raise ContainerError(
        f"{results.folder}: shot {event} has no geometry to draw with: "
        + str(results.outcomes.at[event, "reason"])
    )


def _photons(
    path: Path, frame: int, detector: Detector, frames: FrameCache
) -> tuple[NDArray[np.float32] | None, str]:
    """Return the frame in photons, or None and why it cannot be read."""
    try:
        pixels = frames.pixels(path, frame).astype(np.float32)
        good = frames.mask(path, frame)
    except (XfelError, OSError, ValueError) as err:
        return None, str(err)
    if pixels.shape != detector.slab_shape:
        return None, f"the frame has shape {pixels.shape}, expected {detector.slab_shape}"
    for panel in detector.panels:
        pixels[panel.slab] /= panel.gain
    pixels[~good] = np.nan
    return pixels, ""


def _spots(results: RunResults, event: int) -> tuple[Spots, IntArray]:
    """Return the good spots of a shot and the lattice of each, -1 for none."""
    if not results.has(SPOTS):
        return Spots.empty(), np.empty(0, dtype=np.int64)
    hot = results.need(SPOTS).extra.get("hot_pixels", [])
    spots = good_spots(results.reader(SPOTS), event, hot)
    lattice = np.full(len(spots), -1, dtype=np.int64)
    if results.has(CRYSTALS):
        indexed = results.reader(CRYSTALS).rows("indexed", event, IndexedSpots)
        lattice[indexed.spot] = indexed.lattice
    return spots, lattice


def _marks(rows: Spots | Reflections, lattice: IntArray) -> Marks:
    return Marks(
        rows.panel.astype(np.int64),
        rows.fast_px.astype(np.float64),
        rows.slow_px.astype(np.float64),
        lattice,
    )


def _predictions(results: RunResults, event: int, spots: Spots) -> Marks:
    """Return the integrated reflections; before integration, the indexed spots as predicted."""
    rows = _reflections(results, event)
    if len(rows):
        return _marks(rows, rows.lattice.astype(np.int64))
    if not results.has(CRYSTALS):
        return Marks.none()
    indexed = results.reader(CRYSTALS).rows("indexed", event, IndexedSpots)
    found = spots.take(indexed.spot)
    return Marks(
        found.panel.astype(np.int64),
        found.fast_px.astype(np.float64) + indexed.delta_fast_px,
        found.slow_px.astype(np.float64) + indexed.delta_slow_px,
        indexed.lattice.astype(np.int64),
    )


def _reflections(results: RunResults, event: int) -> Reflections:
    """Return the integrated reflections of a shot; none before integration."""
    if not results.has(REFLECTIONS):
        return Reflections.empty()
    return results.reader(REFLECTIONS).rows("reflections", event, Reflections)


def _crystals(results: RunResults, event: int) -> Crystals:
    """Return the lattices as they were integrated, else as they were indexed."""
    if results.has(REFLECTIONS):
        rows = results.reader(REFLECTIONS).rows("crystals", event, IntegratedCrystals)
        if len(rows):
            return rows
    if results.has(CRYSTALS):
        return results.reader(CRYSTALS).rows("crystals", event, Crystals)
    return Crystals.empty()
