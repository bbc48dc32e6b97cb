"""A run as ingest and spotfind leave it, with stills of known lattices and no raw frames."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.index.stills import Errors, random_rotation, still
from tests.products import spots_at, write_product
from xfel_apps.containers.events import EVENTS, detectors_to_json
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.spots import SPOTS
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
    events = write_product(
        folder,
        EVENTS,
        {event: _event(event) for event in results},
        dict.fromkeys(results, Outcome.PENDING),
        files=["raw.h5"],
        geometry=None,
        detectors=detectors_to_json([DETECTOR]),
        beams=[{"wavelength_ang": WAVELENGTH_ANG}],
    )
    outcomes = {event: result.outcome for event, result in results.items()}
    return TinyRun(events, write_product(folder, SPOTS, results, outcomes, hot_pixels=[]), truth)


def _hit(s1: np.ndarray) -> ShotResult:
    panel, fast, slow = DETECTOR.ray_pixels(s1)
    fast, slow = fast[panel >= 0], slow[panel >= 0]
    spots = spots_at(np.zeros(len(fast)), fast, slow)
    return ShotResult(Outcome.HIT_NOT_INDEXED, "", {"n_spots": len(spots)}, {"spots": spots})


def _event(event: int) -> ShotResult:
    columns = {"shot_id": f"r:{event}".encode(), "frame": event, "wavelength_ang": WAVELENGTH_ANG}
    return ShotResult(Outcome.PENDING, "", columns)
