"""Peaks, geometry and cells in a CrystFEL stream."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xfel_apps.containers.spots import Spots
from xfel_apps.geometry import Beam, Detector
from xfel_apps.geometry.stills import q_of_spots, resolution_ang
from xfel_apps.sources.geom import parse_geom
from xfel_apps.sources.geom_detector import GeomLayout
from xfel_apps.units import wavelength_from_energy

PEAK_VARIANCE_PX2 = 0.1
"""A stream gives no errors of its peaks: a third of a pixel is assumed."""


@dataclass(frozen=True)
class StreamFrame:
    """One chunk.

    Attributes
    ----------
    detector, beam : with the chunk's own camera length and photon energy
    spots : its peaks
    resolution_ang : (n,) resolution that CrystFEL gives for each [Angstrom]
    n_crystals : lattices that CrystFEL found
    """

    detector: Detector
    beam: Beam
    spots: Spots
    resolution_ang: np.ndarray
    n_crystals: int


def read_stream(path: Path) -> list[StreamFrame]:
    """Return the chunks of a stream whose header holds the geometry."""
    text = path.read_text()
    geometry = _between(text, "----- Begin geometry file -----", "----- End geometry file -----")
    layout = GeomLayout(parse_geom(geometry, str(path)))
    return [_frame(chunk, layout) for chunk in text.split("----- Begin chunk -----")[1:]]


def _between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0]


def _number(chunk: str, name: str) -> float:
    found = re.search(rf"^{name} = ([-\d.eE+]+)", chunk, re.MULTILINE)
    if found is None:
        raise ValueError(f"chunk without {name}")
    return float(found[1])


def _frame(chunk: str, layout: GeomLayout) -> StreamFrame:
    coffset_m = layout.panels[0].number("coffset", 0.0)
    energy_ev = _number(chunk, "photon_energy_eV")
    clen_m = _number(chunk, "average_camera_length") - coffset_m
    detector = layout.detector(clen_m, energy_ev, (0.0, 0.0), np.dtype(np.float32))
    beam = Beam(wavelength_from_energy(energy_ev))
    body = _between(chunk, "Peaks from peak search\n", "End of peak list").splitlines()[1:]
    rows = [line.split() for line in body]
    names = {panel.name: number for number, panel in enumerate(detector.panels)}
    panel = np.array([names[row[4]] for row in rows], dtype=np.int64)
    numbers = np.array([row[:4] for row in rows], dtype=float).reshape(-1, 4)
    resolution = 10.0 / numbers[:, 2]
    place = numbers[:, :2] - detector.slab_starts[panel]
    d_ang = resolution_ang(q_of_spots(detector, beam, panel, place[:, 0], place[:, 1]))
    spots = _spots(panel, place, numbers[:, 3], d_ang)
    return StreamFrame(detector, beam, spots, resolution, chunk.count("--- Begin crystal"))


def _spots(panel: np.ndarray, place: np.ndarray, intensity: np.ndarray, d_ang: np.ndarray) -> Spots:
    one = np.ones(len(panel))
    return Spots.make(
        panel=panel,
        fast_px=place[:, 0],
        slow_px=place[:, 1],
        fast_var_px2=PEAK_VARIANCE_PX2 * one,
        slow_var_px2=PEAK_VARIANCE_PX2 * one,
        intensity=intensity,
        sigma=one,
        background=0 * one,
        peak=intensity,
        peak_fast=place[:, 0].astype(int),
        peak_slow=place[:, 1].astype(int),
        n_pixels=one,
        d_ang=d_ang,
        flags=0 * one,
    )
