"""Lattices found where there are none: on blanks, on shuffled spots, and with a wrong target cell.

Blanks are those of `nanobragg_lysozyme` with the pixels of each square of 32 mixed; their spots are
looked for as usual, and on every third also so loosely that there are enough to index. Spots of
real hits (nanobragg_lysozyme; 300 LCLS stills of cspad_lysozyme) are shuffled in two ways: each is
turned about the beam by an angle of its own, or comes from another shot. Hits as they are, of four
crystals, must have no lattice of a cell that is not theirs; with their own, most have one.
"""

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks.data import data_folder
from benchmarks.shots_to_index import (
    LYSOZYME,
    RECEPTOR,
    THAUMATIN,
    THERMOLYSIN,
    Cell,
    IndexedRun,
    cspad_hits,
    index_settings,
    nanobragg_run,
    receptor_hits,
    thaumatin_hits,
    thermolysin_hits,
)
from benchmarks.wrong_cells import (
    FOR_LYSOZYME,
    FOR_RECEPTOR,
    FOR_THAUMATIN,
    FOR_THERMOLYSIN,
    OFTEN,
)
from xfel_apps.containers.spots import is_good
from xfel_apps.geometry import Beam, Detector
from xfel_apps.index.lattices import index_spots
from xfel_apps.index.processor import chosen_spots, shot_spots
from xfel_apps.index.refine import ShotSpots
from xfel_apps.spotfind.find import find_on_frame
from xfel_apps.spotfind.settings import SpotfindSettings
from xfel_apps.spotfind.setup import Setup

Frame = NDArray[np.integer]
LOOSE = {"sigma_background": 1.0, "sigma_strong": 2.5, "min_snr": 3.0, "min_spots": 1}
SQUARE_PX = 32


class Trial(Protocol):
    """Something in which a lattice is looked for."""

    def run(self) -> tuple[int, int]:
        """Return how many spots there were, and how many lattices were found."""


@dataclass(frozen=True)
class SpotsTrial:
    """Spots in which a lattice is looked for."""

    spots: ShotSpots
    cell: Cell
    seed: int

    def run(self) -> tuple[int, int]:
        """Return how many spots there were, and how many lattices were found."""
        settings = index_settings(self.cell)
        target, n_spots = settings.target(), len(self.spots.s1)
        assert target is not None
        if n_spots < settings.min_spots:
            return n_spots, 0
        return n_spots, len(index_spots(self.spots, target, settings, self.seed).lattices)


@dataclass(frozen=True)
class BlankTrial:
    """A mixed blank, in which spots are looked for first: as usual or loosely."""

    number: int
    settings: SpotfindSettings
    detector: Detector
    beam: Beam

    def run(self) -> tuple[int, int]:
        """Return how many spots there were, and how many lattices were found."""
        frames = blank_frames()
        frame = mixed(frames[self.number % len(frames)], np.random.default_rng(self.number))
        whole = np.ones(frame.shape, dtype=bool)
        setup = Setup(self.detector, whole, self.beam.direction, self.settings)
        spots = find_on_frame(frame, setup, self.beam).spots
        spots = spots.take(is_good(spots, []))
        if len(spots) < self.settings.min_spots:  # a miss, which index never sees
            return 0, 0
        spots = spots.take(chosen_spots(spots, index_settings(LYSOZYME)))
        found = shot_spots(spots, self.detector, self.beam)
        return SpotsTrial(found, LYSOZYME, self.number).run()


def turned(shot: ShotSpots, rng: np.random.Generator) -> ShotSpots:
    """Return spots each turned about the beam by a random angle."""
    axis = shot.s0 / np.linalg.norm(shot.s0)
    angle = rng.uniform(0, 2 * np.pi, len(shot.s1))[:, None]
    along = (shot.s1 @ axis)[:, None] * axis
    across = shot.s1 - along
    s1 = along + np.cos(angle) * across + np.sin(angle) * np.cross(axis, across)
    return replace(shot, s1=s1)


def swapped(shots: list[ShotSpots], number: int, rng: np.random.Generator) -> ShotSpots:
    """Return as many spots as a shot has, each from another shot."""
    shot = shots[number]
    others = np.delete(np.arange(len(shots)), number)
    from_shots = [shots[i] for i in rng.permutation(others)[: len(shot.s1)]]
    chosen = [(other, rng.integers(len(other.s1))) for other in from_shots]
    scales = [np.linalg.norm(shot.s0) / np.linalg.norm(other.s0) for other in from_shots]
    s1 = [scale * other.s1[i] for scale, (other, i) in zip(scales, chosen, strict=True)]
    return replace(shot, s1=np.array(s1), sigma=np.array([other.sigma[i] for other, i in chosen]))


def shuffled(shots: list[ShotSpots], n: int, kind: str) -> Iterator[Trial]:
    """Yield n trials of shuffled spots, shot after shot."""
    rng = np.random.default_rng(len(shots))
    for trial in range(n):
        number = trial % len(shots)
        how = turned(shots[number], rng) if kind == "turned" else swapped(shots, number, rng)
        yield SpotsTrial(how, LYSOZYME, trial)


def mixed(frame: Frame, rng: np.random.Generator) -> Frame:
    """Return a frame with the pixels of each square mixed."""
    slow, fast = (n // SQUARE_PX for n in frame.shape)
    squares = frame.reshape(slow, SQUARE_PX, fast, SQUARE_PX).swapaxes(1, 2)
    squares = squares.reshape(slow, fast, -1)[:, :, rng.permutation(SQUARE_PX**2)]
    squares = squares.reshape(slow, fast, SQUARE_PX, SQUARE_PX).swapaxes(1, 2)
    return np.ascontiguousarray(squares.reshape(frame.shape))


def blank_events() -> list[int]:
    """Return the simulated shots without a crystal."""
    with h5py.File(data_folder("nanobragg_lysozyme") / "truth.h5") as truth:
        return [event for event, kind in enumerate(truth["kind"][:]) if kind == b"blank"]


@lru_cache(maxsize=1)
def blank_frames() -> list[Frame]:
    """Return the frames of the simulated blanks."""
    with h5py.File(data_folder("nanobragg_lysozyme") / "lyso130.h5") as raw:
        return [raw["entry/data/data"][event] for event in blank_events()]


def blanks(run: IndexedRun, n: int) -> dict[str, list[Trial]]:
    """Return trials of n mixed blanks, and of every third of them, by how spots are looked for."""
    event, events = blank_events()[0], run.found.events
    detector, beam = events.detector(event), events.beam(event)
    usual, loose = SpotfindSettings(), SpotfindSettings.checked(LOOSE)
    return {
        "as usual": [BlankTrial(number, usual, detector, beam) for number in range(n)],
        "loosely": [BlankTrial(number, loose, detector, beam) for number in range(0, n, 3)],
    }


class Tally:
    """Counts trials in which a lattice was found.

    Parameters
    ----------
    workers : that the trials are shared by
    """

    def __init__(self, workers: ProcessPoolExecutor) -> None:
        self._workers = workers

    def count(self, name: str, trials: Sequence[Trial]) -> tuple[int, int]:
        """Return how many of the trials gave a lattice, and how many there were; print them."""
        found = np.array(list(self._workers.map(_run, trials, chunksize=5)))
        false = int(np.sum(found[:, 1] > 0))
        spots = np.median(found[:, 0])
        print(
            f"{name}: {false} of {len(trials)} shots, {spots:.0f} spots in the median", flush=True
        )
        return false, len(trials)

    def with_cells(
        self, name: str, shots: list[ShotSpots], own: Cell, wrong: dict[str, Cell]
    ) -> list[tuple[int, int]]:
        """Return the counts of hits indexed with each wrong cell; print those of the right one."""
        for_cell = {
            cell: [SpotsTrial(shot, numbers, i) for i, shot in enumerate(shots)]
            for cell, numbers in {"own cell": own, **wrong}.items()
        }
        counts = [self.count(f"{name}, {cell}", trials) for cell, trials in for_cell.items()]
        return counts[1:]


def _run(trial: Trial) -> tuple[int, int]:
    return trial.run()


def wrong_cells(tally: Tally, simulated: list[ShotSpots]) -> list[tuple[int, int]]:
    """Return the counts of hits that were indexed with a cell that is not theirs."""
    often = {name: FOR_LYSOZYME[name] for name in OFTEN}
    return [
        *tally.with_cells("nanobragg lysozyme", simulated, LYSOZYME, FOR_LYSOZYME),
        *tally.with_cells("LCLS lysozyme", cspad_hits()[::3], LYSOZYME, often),
        *tally.with_cells("LCLS receptor", receptor_hits(), RECEPTOR, FOR_RECEPTOR),
        *tally.with_cells("LCLS thermolysin", thermolysin_hits(), THERMOLYSIN, FOR_THERMOLYSIN),
        *tally.with_cells("thaumatin", thaumatin_hits(), THAUMATIN, FOR_THAUMATIN),
    ]


def figures(counts: dict[str, list[tuple[int, int]]]) -> dict[str, float]:
    """Return the figures of the last line."""
    false = {name: sum(one for one, _ in pairs) for name, pairs in counts.items()}
    shots = {name: sum(n for _, n in pairs) for name, pairs in counts.items()}
    return {
        "false_fraction_blank": round(false["blank"] / shots["blank"], 6),
        "false_fraction_shuffled": round(false["shuffled"] / shots["shuffled"], 6),
        "wrong_cell_crystals": false["wrong_cell"],
        **{f"{name}_shots": n for name, n in shots.items()},
    }


def main() -> None:
    """Print the rates, then one line of JSON."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=int, default=3000, help="blanks, and shuffled shots")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    start, context = time.perf_counter(), multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.workers, context) as workers:
        tally, run = Tally(workers), nanobragg_run()
        counts = {
            "wrong_cell": wrong_cells(tally, run.hits),
            "shuffled": [
                tally.count(f"{source}, {kind}", list(shuffled(shots, args.shots // 4, kind)))
                for source, shots in (("nanobragg", run.hits), ("LCLS", cspad_hits()))
                for kind in ("turned", "swapped")
            ],
            "blank": [
                tally.count(f"blanks, spots looked for {way}", trials)
                for way, trials in blanks(run, args.shots).items()
            ],
        }
    print(json.dumps(figures(counts) | {"wall_s": round(time.perf_counter() - start)}))


if __name__ == "__main__":
    main()
