"""Lattices found where there are none: on blanks, on shuffled spots, and with a wrong target cell.

Blanks are those of `nanobragg_lysozyme` with the pixels of each square of 32 mixed; their spots are
looked for as usual, and on every third also so loosely that there are enough to index. Spots of
real hits (nanobragg_lysozyme; 300 LCLS stills of cspad_lysozyme) are shuffled in two ways: each is
turned about the beam by an angle of its own, or comes from another shot. Hits as they are must have
no crystal with another cell than theirs.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks.data import data_folder
from xfel_apps.containers.spots import is_good
from xfel_apps.index.lattices import index_spots
from xfel_apps.index.processor import chosen_spots, shot_spots
from xfel_apps.index.refine import ShotSpots
from xfel_apps.index.run import IndexInput
from xfel_apps.index.settings import IndexSettings
from xfel_apps.interchange.expt import read_expt
from xfel_apps.interchange.refl import read_refl
from xfel_apps.process import Request, process
from xfel_apps.spotfind.find import find_on_frame
from xfel_apps.spotfind.settings import SpotfindSettings
from xfel_apps.spotfind.setup import Setup

Array = NDArray[np.float64]
TARGET = {"cell": "79.2 79.2 38 90 90 90", "space_group": "P43212"}
WRONG = {
    "5 % longer": ("83.16 83.16 39.9 90 90 90", "P43212"),
    "5 % shorter": ("75.24 75.24 36.1 90 90 90", "P43212"),
    "a 5 % longer": ("83.16 83.16 38 90 90 90", "P43212"),
    "c 5 % longer": ("79.2 79.2 39.9 90 90 90", "P43212"),
    "thaumatin": ("58 58 150 90 90 90", "P41212"),
    "thermolysin": ("93.2 93.2 130.7 90 90 120", "P6122"),
    "CuNiR": ("96.4 96.4 96.4 90 90 90", "P213"),
}
LOOSE = {"sigma_background": 1.0, "sigma_strong": 2.5, "min_snr": 3.0, "min_spots": 1}
SQUARE_PX = 32
CSPAD_PIXEL_MM, CSPAD_DISTANCE_MM = 0.11, 105.0
"""To turn errors of spot positions into angles."""


@dataclass(frozen=True)
class Trial:
    """Spots in which a lattice is looked for."""

    spots: ShotSpots
    settings: IndexSettings
    seed: int

    def n_lattices(self) -> int:
        """Return how many were found."""
        target = self.settings.target()
        assert target is not None
        if len(self.spots.s1) < self.settings.min_spots:
            return 0
        return len(index_spots(self.spots, target, self.settings, self.seed).lattices)


def simulated_hits(data: Path, scratch: Path) -> tuple[list[ShotSpots], IndexInput]:
    """Return the spots of the simulated run's hits, and the run as index reads it."""
    process(Request([str(data / "lyso130.h5")], scratch / "run", 2, False, {"index": TARGET}))
    run = scratch / "run" / "run"
    found = IndexInput.read(run / "events.json", run / "spots.json")
    settings, events = IndexSettings.checked(TARGET), found.events
    shots = []
    for event in found.hits:
        spots = found.spots.shot(event)
        spots = spots.take(chosen_spots(spots, settings))
        shots.append(shot_spots(spots, events.detector(event), events.beam(event)))
    return shots, found


def cspad_hits(data: Path) -> list[ShotSpots]:
    """Return the spots of the LCLS stills."""
    columns = read_refl(data / "benchmark_level2d.refl").columns
    shots = []
    for number, experiment in enumerate(read_expt(data / "benchmark_level2d.json")):
        beam, rows = experiment.beam, columns["id"] == number
        scale = 1.0 / (CSPAD_DISTANCE_MM * beam.wavelength_ang)
        sigma = np.sqrt(columns["xyzobs.mm.variance"][rows, :2].mean(axis=1)) * scale
        shots.append(ShotSpots(beam.s0, columns["s1"][rows], sigma, CSPAD_PIXEL_MM * scale))
    return [shot for shot in shots if len(shot.s1) >= 10]


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
    settings = IndexSettings.checked(TARGET)
    rng = np.random.default_rng(len(shots))
    for trial in range(n):
        number = trial % len(shots)
        how = turned(shots[number], rng) if kind == "turned" else swapped(shots, number, rng)
        yield Trial(how, settings, trial)


def mixed(frame: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.integer]:
    """Return a frame with the pixels of each square mixed."""
    slow, fast = (n // SQUARE_PX for n in frame.shape)
    squares = frame.reshape(slow, SQUARE_PX, fast, SQUARE_PX).swapaxes(1, 2)
    order = rng.permutation(SQUARE_PX**2)
    squares = squares.reshape(slow, fast, -1)[:, :, order]
    squares = squares.reshape(slow, fast, SQUARE_PX, SQUARE_PX).swapaxes(1, 2)
    return np.ascontiguousarray(squares.reshape(frame.shape))


def blanks(data: Path, found: IndexInput, n: int) -> Iterator[tuple[str, Trial]]:
    """Yield (how spots were looked for, trial) of n mixed blanks."""
    with h5py.File(data / "truth.h5") as truth:
        kinds = [str(kind, "utf8") for kind in truth["kind"][:]]
    events = [event for event, kind in enumerate(kinds) if kind == "blank"]
    with h5py.File(data / "lyso130.h5") as raw:
        frames = [raw["entry/data/data"][event] for event in events]
    detector, beam = found.events.detector(events[0]), found.events.beam(events[0])
    ways = {"as usual": SpotfindSettings(), "loosely": SpotfindSettings.checked(LOOSE)}
    whole = np.ones(frames[0].shape, dtype=bool)
    setups = {
        name: Setup(detector, whole, beam.direction, settings) for name, settings in ways.items()
    }
    index, rng = IndexSettings.checked(TARGET), np.random.default_rng(0)
    for number in range(n):
        frame = mixed(frames[number % len(frames)], rng)
        for name, setup in setups.items():
            if name == "loosely" and number % 3:
                continue
            spots = find_on_frame(frame, setup, beam).spots
            spots = spots.take(is_good(spots, []))
            if len(spots) < setup.settings.min_spots:  # a miss, which index never sees
                spots = spots.take(np.zeros(0, dtype=np.intp))
            spots = spots.take(chosen_spots(spots, index))
            yield name, Trial(shot_spots(spots, detector, beam), index, number)


def count(pool: Callable[..., Iterator[int]], name: str, trials: list[Trial]) -> tuple[int, int]:
    """Return trials with a lattice, and trials; print them."""
    false = sum(n > 0 for n in pool(Trial.n_lattices, trials, chunksize=10))
    spots = np.median([len(trial.spots.s1) for trial in trials])
    print(f"{name}: {false} of {len(trials)} shots, {spots:.0f} spots in the median", flush=True)
    return false, len(trials)


def fraction(counts: list[tuple[int, int]]) -> float:
    """Return the share of trials with a lattice."""
    false, n = np.sum(counts, axis=0)
    return float(false / n)


def main() -> None:
    """Print the rates, then one line of JSON."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=int, default=3000, help="blanks, and shuffled shots")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    data, cspad = data_folder("nanobragg_lysozyme"), data_folder("cspad_lysozyme")
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(args.workers, context) as workers,
        tempfile.TemporaryDirectory() as scratch,
    ):
        tally = partial(count, workers.map)
        simulated, found = simulated_hits(data, Path(scratch))
        crystals = 0
        for name, (cell, space_group) in WRONG.items():
            settings = IndexSettings.checked({"cell": cell, "space_group": space_group})
            trials = [Trial(shot, settings, i) for i, shot in enumerate(simulated)]
            crystals += tally(f"hits with another cell, {name}", trials)[0]
        of_shuffled = [
            tally(f"{source}, {kind}", list(shuffled(shots, args.shots // 4, kind)))
            for source, shots in (("nanobragg", simulated), ("LCLS", cspad_hits(cspad)))
            for kind in ("turned", "swapped")
        ]
        tried = list(blanks(data, found, args.shots))
        of_blanks = [
            tally(f"blanks, spots looked for {way}", [one for name, one in tried if name == way])
            for way in ("as usual", "loosely")
        ]
    figures = {
        "false_fraction_blank": round(fraction(of_blanks), 6),
        "false_fraction_shuffled": round(fraction(of_shuffled), 6),
        "wrong_cell_crystals": crystals,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
