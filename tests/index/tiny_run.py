"""A run as ingest and spotfind leave it, with stills of known lattices and no raw frames."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.index.stills import Errors, random_rotation, still
from xfel_apps.containers.events import EVENTS, detectors_to_json
from xfel_apps.containers.manifest import Manifest
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import Product, ShotResult
from xfel_apps.containers.spots import SPOTS, Spots
from xfel_apps.containers.writer import ContainerWriter
from xfel_apps.geometry import Detector, Panel
from xfel_apps.index.target import TargetLattice

WAVELENGTH_ANG = 1.3
DETECTOR = Detector(
    (
        Panel(
            "p0",
            (-51.2, 51.2, -80.0),
            (1.0, 0.0, 0.0),
            (0.0, -1.0, 0.0),
            (0.1, 0.1),
            (1024, 1024),
        ),
    ),
    (1024, 1024),
)


@dataclass(frozen=True)
class TinyRun:
    """Paths of the manifests, and the truth: A of each shot that holds a crystal."""

    events: Path
    spots: Path
    truth: dict[int, np.ndarray]


def write_run(folder: Path, target: TargetLattice, n_shots: int = 12, seed: int = 0) -> TinyRun:
    """Write a run: every third shot is a miss, shot 4 holds 30 spots of nothing."""
    rng = np.random.default_rng(seed)
    truth: dict[int, np.ndarray] = {}
    results: dict[int, ShotResult] = {}
    for event in range(n_shots):
        if event % 3 == 2:
            results[event] = ShotResult(Outcome.MISS, "1 spot", {"n_spots": 1})
            continue
        errors = Errors(observed=0.5, n_alien=4)
        if event == 4:
            errors = Errors(observed=0.0, n_alien=30)
        else:
            truth[event] = random_rotation(rng) @ target.b_matrix
        shot = still(truth.get(event, target.b_matrix), target, rng, errors, d_min_ang=2.4)
        results[event] = _hit(shot.s1)
    events = _write(folder, EVENTS, {e: _event(e) for e in range(n_shots)}, {})
    return TinyRun(events, _write(folder, SPOTS, results, {"events": "d-events"}), truth)


def _hit(s1: np.ndarray) -> ShotResult:
    panel, fast, slow = DETECTOR.ray_pixels(s1)
    fast, slow = fast[panel >= 0], slow[panel >= 0]
    one = np.ones(len(fast))
    spots = Spots.make(
        panel=0 * one,
        fast_px=fast,
        slow_px=slow,
        fast_var_px2=0.04 * one,
        slow_var_px2=0.04 * one,
        intensity=100 * one,
        sigma=10 * one,
        background=8 * one,
        peak=60 * one,
        peak_fast=fast.astype(int),
        peak_slow=slow.astype(int),
        n_pixels=6 * one,
        d_ang=5 * one,
        flags=0 * one,
    )
    return ShotResult(Outcome.HIT_NOT_INDEXED, "", {"n_spots": len(one)}, {"spots": spots})


def _event(event: int) -> ShotResult:
    columns = {"shot_id": f"r:{event}".encode(), "frame": event, "wavelength_ang": WAVELENGTH_ANG}
    return ShotResult(Outcome.PENDING, "", columns)


def _write(
    folder: Path, product: Product, results: dict[int, ShotResult], inputs: dict[str, str]
) -> Path:
    with ContainerWriter(folder / product.name, 0, product, f"d-{product.name}") as writer:
        for event, result in results.items():
            writer.append(event, result, 0.0, 0.0)
        name = f"{product.name}/{writer.path.name}"
    outcomes = dict.fromkeys(map(str, Outcome), 0)
    for result in results.values():
        outcomes[str(result.outcome)] += 1
    beam = {"wavelength_ang": WAVELENGTH_ANG}
    extra = {
        "events": {
            "files": ["raw.h5"],
            "geometry": None,
            "detectors": detectors_to_json([DETECTOR]),
            "beams": [beam],
        },
        "spots": {"hot_pixels": []},
    }[product.name]
    manifest = Manifest(
        product=product.name,
        stage=product.stage,
        version=product.version,
        run="tiny",
        digest=f"d-{product.name}",
        settings={},
        inputs=inputs,
        n_events=len(results),
        outcomes=outcomes,
        containers=(name,),
        extra=json.loads(json.dumps(extra)),
    )
    path = folder / f"{product.name}.json"
    manifest.write(path)
    return path
