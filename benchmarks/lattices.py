"""Shots of several crystals, few spots among many false ones, second tries, and the worst cases.

Spots are those found on `nanobragg_lysozyme`, whose true orientations are known: of two or three
shots together, or some of one shot among spots of others, each turned about the beam by an angle of
its own. The peaks of 70 LCLS stills of a receptor are indexed too. CPU is of one core.
"""

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks.data import data_folder
from benchmarks.false import turned
from benchmarks.one_core import one_thread
from benchmarks.shots_to_index import (
    LYSOZYME,
    RECEPTOR,
    THAUMATIN,
    Cell,
    index_settings,
    nanobragg_run,
    receptor_hits,
    thaumatin_hits,
)
from xfel_apps.index.lattices import index_spots
from xfel_apps.index.refine import ShotSpots
from xfel_apps.index.settings import IndexSettings
from xfel_apps.index.target import TargetLattice
from xfel_apps.index.unknown import find_cell

Array = NDArray[np.float64]
SAME_DEG = 0.5
"""A lattice nearer to a true orientation is that crystal's."""
TRIES = (0, 1, 2, 5)
TOO_LARGE: Cell = ("80 80 38.38 90 90 90", "P43212")
UNKNOWN: Array = np.empty((0, 3, 3))
"""True orientations of crystals of which none is known."""


@dataclass(frozen=True)
class Shot:
    """Spots, and A (n, 3, 3) of the crystals that they are of; none where it is not known."""

    spots: ShotSpots
    truths: Array


@dataclass(frozen=True)
class Score:
    """What was found in some shots.

    Attributes
    ----------
    n_shots, n_crystals : shots; crystals in them, where the truth is known
    n_indexed : shots with a lattice
    recalled : crystals found
    false : lattices that are no crystal's, where the truth is known
    errors_deg : of the orientations of those found
    cpu_s, cpu_most_s : of a shot, in the mean and at most
    """

    n_shots: int
    n_crystals: int
    n_indexed: int
    recalled: int
    false: int
    errors_deg: list[float]
    cpu_s: float
    cpu_most_s: float

    def line(self) -> str:
        """Return it as text."""
        text = f"{self.n_indexed:3d} of {self.n_shots} shots"
        if self.n_crystals:
            middle, most = np.median(self.errors_deg), max(self.errors_deg)
            text += f", {self.recalled:3d} of {self.n_crystals} crystals, {self.false} false"
            text += f", {middle:.3f} (at most {most:.3f}) degrees off"
        return f"{text}, {1e3 * self.cpu_s:.0f} ms a shot (at most {1e3 * self.cpu_most_s:.0f})"


def index_all(shots: list[Shot], settings: IndexSettings) -> Score:
    """Return what index finds in shots."""
    target = settings.target()
    assert target is not None
    errors: list[float] = []
    cpu, n_indexed, n_lattices = [], 0, 0
    for number, shot in enumerate(shots):
        start = time.process_time()
        found = index_spots(shot.spots, target, settings, number).lattices
        cpu.append(time.process_time() - start)
        n_indexed += bool(found)
        n_lattices += len(found) if len(shot.truths) else 0
        errors += _errors(shot.truths, np.array([one.a_matrix for one in found]), target)
    n_crystals = sum(len(shot.truths) for shot in shots)
    false = n_lattices - len(errors)
    return Score(
        len(shots),
        n_crystals,
        n_indexed,
        len(errors),
        false,
        errors,
        float(np.mean(cpu)),
        max(cpu),
    )


def _errors(truths: Array, found: Array, target: TargetLattice) -> list[float]:
    """Return the error of each true orientation that was found [degrees]."""
    if not len(found):
        return []
    nearest = (min(target.misorientation_deg(truth, one) for one in found) for truth in truths)
    return [error for error in nearest if error < SAME_DEG]


def joined(parts: Iterable[ShotSpots]) -> ShotSpots:
    """Return the spots of several shots of one run together."""
    parts = list(parts)
    s1 = np.concatenate([part.s1 for part in parts])
    return replace(parts[0], s1=s1, sigma=np.concatenate([part.sigma for part in parts]))


def together(shots: list[Shot], n_crystals: int, n: int) -> list[Shot]:
    """Return n shots, each of the spots of several."""
    rng = np.random.default_rng(n_crystals)
    result = []
    for _ in range(n):
        parts = [shots[i] for i in rng.choice(len(shots), n_crystals, replace=False)]
        truths = np.concatenate([part.truths for part in parts])
        result.append(Shot(joined(part.spots for part in parts), truths))
    return result


def contaminated(shots: list[Shot], n_own: int, n_false: int) -> list[Shot]:
    """Return some spots of each shot that has enough, among false ones."""
    rng = np.random.default_rng(n_own)
    noise = joined(turned(shot.spots, rng) for shot in shots)
    result = []
    for shot in shots:
        n = len(shot.spots.s1)
        if n >= n_own:
            own = shot.spots.take(rng.choice(n, n_own, replace=False))
            false = noise.take(rng.choice(len(noise.s1), n_false, replace=False))
            result.append(Shot(joined([own, false]), shot.truths))
    return result


def simulated() -> list[Shot]:
    """Return the simulated hits with their true orientations."""
    run = nanobragg_run()
    with h5py.File(data_folder("nanobragg_lysozyme") / "truth.h5") as truth:
        orientations = truth["A"][:]
    events = run.found.hits
    return [
        Shot(spots, orientations[event][None])
        for spots, event in zip(run.hits, events, strict=True)
    ]


def scattered(n: int, rng: np.random.Generator) -> ShotSpots:
    """Return n spots of no lattice, to 2 Angstrom."""
    wavelength_ang = 1.3
    s0 = np.array([0.0, 0.0, -1.0 / wavelength_ang])
    sin_theta = wavelength_ang / 4.0 * np.sqrt(rng.uniform(0.005, 1.0, n))
    two_theta, azimuth = 2.0 * np.arcsin(sin_theta), rng.uniform(0, 2 * np.pi, n)
    x, y = np.sin(two_theta) * np.cos(azimuth), np.sin(two_theta) * np.sin(azimuth)
    s1 = np.column_stack([x, y, -np.cos(two_theta)]) / wavelength_ang
    return ShotSpots(s0, s1, np.full(n, 2e-4), 1e-3)


def worst_cases() -> dict[str, float]:
    """Return the CPU seconds that shots without a lattice cost, with a cell and without; print."""
    rng = np.random.default_rng(0)
    large: Cell = ("250 240 230 85 95 100", "P1")
    cases = {"lysozyme": LYSOZYME, "receptor": RECEPTOR, "P1 250 240 230": large}
    result = {}
    for n in (20, 200, 2000):
        spots = scattered(n, rng)
        for name, cell in cases.items():
            score = index_all([Shot(spots, UNKNOWN)], index_settings(cell))
            result[f"{n} scattered spots, {name}"] = round(score.cpu_s, 3)
        for longest_ang in (250.0, 1000.0):
            start = time.process_time()
            find_cell(spots, longest_ang, 6)
            name = f"{n} scattered spots, cell unknown, to {longest_ang:.0f} Angstrom"
            result[name] = round(time.process_time() - start, 3)
    for name, seconds in result.items():
        print(f"{name}: {seconds:.3f} s of CPU", flush=True)
    return result


def several(hits: list[Shot]) -> dict[str, Score]:
    """Return how many crystals are found in shots of one, two and three; print them."""
    result = {}
    for n in (1, 2, 3):
        shots = hits if n == 1 else together(hits, n, 60)
        result[f"crystals_{n}"] = index_all(shots, index_settings(LYSOZYME))
        print(f"{n} crystals a shot: {result[f'crystals_{n}'].line()}", flush=True)
    return result


def second_tries(hits: list[Shot]) -> None:
    """Print what further searches gain and cost, on shots where the first may fail."""
    receptor = [Shot(spots, UNKNOWN) for spots in receptor_hits()]
    thaumatin = [Shot(spots, UNKNOWN) for spots in thaumatin_hits()]
    sets = {
        "nanobragg, hits and weak": (hits, LYSOZYME),
        "LCLS receptor": (receptor, RECEPTOR),
        "three crystals a shot": (together(hits, 3, 60), LYSOZYME),
        "12 spots and 40 false": (contaminated(hits, 12, 40), LYSOZYME),
        "20 spots and 150 false": (contaminated(hits, 20, 150), LYSOZYME),
        "cell 1 % too large": (hits, TOO_LARGE),
        "thaumatin, cell 1.5 % too small": (thaumatin, THAUMATIN),
    }
    for name, (shots, cell) in sets.items():
        for tries in TRIES:
            settings = index_settings(cell).model_copy(update={"tries": tries})
            print(f"{name}, tries {tries}: {index_all(shots, settings).line()}", flush=True)


def main() -> None:
    """Print what is found, then one line of JSON."""
    one_thread("benchmarks.lattices")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", action="store_true", help="also the table of second tries")
    args = parser.parse_args()
    worst = worst_cases()
    hits = simulated()
    scores = several(hits)
    if args.tries:
        second_tries(hits)
    figures: dict[str, float] = {"worst_miss_cpu_s": max(worst.values())}
    for name, score in scores.items():
        figures[f"{name}_recall"] = round(score.recalled / score.n_crystals, 4)
        figures[f"{name}_false"] = score.false
        figures[f"{name}_orientation_deg_median"] = round(float(np.median(score.errors_deg)), 4)
        figures[f"{name}_cpu_most_s"] = round(score.cpu_most_s, 3)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
