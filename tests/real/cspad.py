"""The CSPAD lysozyme stills that DIALS indexed, as a run of events, spots and crystals."""

import json
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from tests.products import spots_at, write_product
from xfel_apps.containers.crystals import CRYSTALS, Crystals, IndexedSpots
from xfel_apps.containers.events import EVENTS, detectors_to_json
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.spots import SPOTS
from xfel_apps.geometry import Detector, Panel
from xfel_apps.geometry.stills import metric_cell

TYPES = {"int": "i4", "std::size_t": "u8", "cctbx::miller::index<>": "3i4", "vec3<double>": "3f8"}


def read_detector(model: dict[str, Any]) -> Detector:
    """Return the detector of a dxtbx model, its groups put together."""
    panels: dict[int, Panel] = {}

    def walk(node: dict[str, Any], outer: np.ndarray) -> None:
        if "panel" in node:
            number = node["panel"]
            panels[number] = _panel(model["panels"][number], outer, number)
            return
        for child in node["children"]:
            walk(child, outer if "panel" in child else outer @ _frame(child))

    walk(model["hierarchy"], _frame(model["hierarchy"]))
    n_slow, n_fast = panels[0].shape
    return Detector(tuple(panels[i] for i in range(len(panels))), (n_slow * len(panels), n_fast))


def _frame(item: dict[str, Any]) -> np.ndarray:
    """Return the (4, 4) matrix that takes a group's frame to the one it lies in."""
    fast, slow = np.array(item["fast_axis"]), np.array(item["slow_axis"])
    result = np.eye(4)
    result[:3] = np.column_stack([fast, slow, np.cross(fast, slow), item["origin"]])
    return result


def _panel(item: dict[str, Any], outer: np.ndarray, number: int) -> Panel:
    frame = outer @ _frame(item)
    n_fast, n_slow = item["image_size"]
    return Panel(
        item["name"],
        tuple(frame[:3, 3]),
        tuple(frame[:3, 0]),
        tuple(frame[:3, 1]),
        tuple(item["pixel_size"]),
        (n_slow, n_fast),
        (n_slow * number, 0),
        thickness_mm=item["px_mm_strategy"]["t0"],
        mu_invmm=item["px_mm_strategy"]["mu"],
    )


def read_columns(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    """Return columns of a DIALS reflection table."""
    data = msgpack.unpackb(path.read_bytes(), raw=False, strict_map_key=False)[2]["data"]
    return {name: np.frombuffer(data[name][1][1], TYPES[data[name][0]]) for name in names}


def write_run(folder: Path, data: Path) -> float:
    """Write the run; return the rms distance of DIALS' own predictions [pixel]."""
    models = json.loads(data.with_suffix(".json").read_text())
    names = ["id", "panel", "miller_index", "xyzobs.px.value", "xyzcal.px"]
    columns = read_columns(data.with_suffix(".refl"), names)
    wavelengths = [models["beam"][e["beam"]]["wavelength"] for e in models["experiment"]]
    events, spots, crystals = {}, {}, {}
    for event, experiment in enumerate(models["experiment"]):
        rows = columns["id"] == event
        shot = {"shot_id": f"r1:{event}".encode(), "frame": event}
        shot["wavelength_ang"] = wavelengths[event]
        events[event] = ShotResult(Outcome.PENDING, "", shot)
        found = spots_at(columns["panel"][rows], *columns["xyzobs.px.value"][rows, :2].T)
        spots[event] = ShotResult(
            Outcome.HIT_NOT_INDEXED, "", {"n_spots": len(found)}, {"spots": found}
        )
        crystal = models["crystal"][experiment["crystal"]]
        a_matrix = np.linalg.inv([crystal[f"real_space_{axis}"] for axis in "abc"])
        crystals[event] = _indexed(a_matrix, wavelengths[event], columns["miller_index"][rows])
    extra = {"files": ["none"], "geometry": None, "beams": [{"wavelength_ang": wavelengths[0]}]}
    extra["detectors"] = detectors_to_json([read_detector(models["detector"][0])])
    write_product(folder, EVENTS, events, dict.fromkeys(events, Outcome.PENDING), **extra)
    write_product(folder, SPOTS, spots, dict.fromkeys(spots, Outcome.HIT_NOT_INDEXED))
    write_product(folder, CRYSTALS, crystals, dict.fromkeys(crystals, Outcome.INDEXED))
    off = (columns["xyzcal.px"] - columns["xyzobs.px.value"])[:, :2]
    return float(np.sqrt(np.mean(np.sum(off**2, axis=1))))


def _indexed(a_matrix: np.ndarray, wavelength_ang: float, hkl: np.ndarray) -> ShotResult:
    n = len(hkl)
    lattice = Crystals.make(
        lattice=[0],
        a_matrix=[a_matrix],
        cell=[metric_cell(a_matrix)],
        space_group=[b"P 43 21 2"],
        wavelength_ang=[wavelength_ang],
        n_spots=[n],
        n_indexed=[n],
        rmsd_px=[1.0],
        excitation_rms_invang=[5e-4],
        mosaicity_deg=[0.1],
        block_size_ang=[2000.0],
        d_min_ang=[2.0],
    )
    zero = np.zeros(n)
    h, k, l = hkl.T  # noqa: E741 - Miller indices
    indexed = IndexedSpots.make(
        lattice=zero,
        spot=np.arange(n),
        h=h,
        k=k,
        l=l,
        delta_fast_px=zero,
        delta_slow_px=zero,
        excitation_invang=zero,
    )
    tables = {"crystals": lattice, "indexed": indexed}
    return ShotResult(Outcome.INDEXED, "", {"n_spots": n, "n_lattices": 1}, tables)
