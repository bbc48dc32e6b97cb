"""Spots of shots with a known cell: simulated by nanoBragg, LCLS and synchrotron stills."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.data import data_folder
from xfel_apps.index.processor import chosen_spots, shot_spots
from xfel_apps.index.refine import ShotSpots
from xfel_apps.index.run import IndexInput
from xfel_apps.index.settings import IndexSettings
from xfel_apps.interchange.expt import read_expt
from xfel_apps.interchange.from_crystfel import read_stream
from xfel_apps.interchange.refl import read_refl
from xfel_apps.process import Request, process

Cell = tuple[str, str]
LYSOZYME: Cell = ("79.2 79.2 38 90 90 90", "P43212")
RECEPTOR: Cell = ("61.4 122.6 168 90 90 90", "C2221")
THERMOLYSIN: Cell = ("93.2 93.2 130.7 90 90 120", "P6122")
THAUMATIN: Cell = ("58 58 150 90 90 90", "P41212")
CSPAD_PIXEL_MM, CSPAD_DISTANCE_MM = 0.11, 105.0
"""To turn errors of spot positions into angles."""


def index_settings(cell: Cell) -> IndexSettings:
    """Return the settings of index with a cell to look for."""
    return IndexSettings.checked({"cell": cell[0], "space_group": cell[1]})


@dataclass(frozen=True)
class IndexedRun:
    """Hits of a run.

    Attributes
    ----------
    found : the run as index reads it
    hits : spots of each of its hits
    """

    found: IndexInput
    hits: list[ShotSpots]


def run_of(raw: list[Path], cell: Cell) -> IndexedRun:
    """Return the hits of raw files, in which spots are looked for as usual."""
    settings = index_settings(cell)
    with tempfile.TemporaryDirectory() as scratch:
        request = {"index": {"cell": cell[0], "space_group": cell[1]}}
        process(Request([str(path) for path in raw], Path(scratch) / "run", 2, False, request))
        folder = next(Path(scratch).glob("run/*/events.json")).parent
        found = IndexInput.read(folder / "events.json", folder / "spots.json")
        hits = []
        for event in found.hits:
            spots = found.spots.shot(event)
            spots = spots.take(chosen_spots(spots, settings))
            detector, beam = found.events.detector(event), found.events.beam(event)
            hits.append(shot_spots(spots, detector, beam))
    return IndexedRun(found, hits)


def nanobragg_run() -> IndexedRun:
    """Return the simulated lysozyme."""
    return run_of([data_folder("nanobragg_lysozyme") / "lyso130.h5"], LYSOZYME)


def thermolysin_hits() -> list[ShotSpots]:
    """Return the three LCLS stills of thermolysin."""
    return run_of(sorted(data_folder("thermolysin_cspad").glob("*.cbf")), THERMOLYSIN).hits


def thaumatin_hits() -> list[ShotSpots]:
    """Return the five synchrotron stills of thaumatin that have spots."""
    return run_of(sorted(data_folder("thaumatin_pilatus").glob("*.cbf.bz2")), THAUMATIN).hits


def receptor_hits() -> list[ShotSpots]:
    """Return the peaks of the 70 LCLS stills of a receptor that CrystFEL found."""
    settings, hits = index_settings(RECEPTOR), []
    stream = data_folder("crystfel_stream") / "test.stream"
    for frame in read_stream(stream, RECEPTOR[1]):
        spots = frame.spots.take(chosen_spots(frame.spots, settings))
        hits.append(shot_spots(spots, frame.detector, frame.beam))
    return hits


def cspad_hits() -> list[ShotSpots]:
    """Return the indexed spots of 300 LCLS stills of lysozyme."""
    data = data_folder("cspad_lysozyme")
    columns = read_refl(data / "benchmark_level2d.refl").columns
    shots = []
    for number, experiment in enumerate(read_expt(data / "benchmark_level2d.json")):
        beam, rows = experiment.beam, columns["id"] == number
        scale = 1.0 / (CSPAD_DISTANCE_MM * beam.wavelength_ang)
        sigma = np.sqrt(columns["xyzobs.mm.variance"][rows, :2].mean(axis=1)) * scale
        shots.append(ShotSpots(beam.s0, columns["s1"][rows], sigma, CSPAD_PIXEL_MM * scale))
    return [shot for shot in shots if len(shot.s1) >= 10]
