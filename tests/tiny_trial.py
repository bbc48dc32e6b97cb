"""A trial written with the containers' own writer: two runs, known counts, no raw frames."""

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from tests.products import spots_at
from xfel_apps.containers.crystals import CRYSTALS, Crystals, IndexedSpots
from xfel_apps.containers.events import EVENTS, detectors_to_json
from xfel_apps.containers.manifest import Manifest
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.powder import Powder, write_powder
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.reflections import REFLECTIONS, IntegratedCrystals, Reflections
from xfel_apps.containers.spots import SPOTS, Spots
from xfel_apps.containers.writer import ContainerWriter
from xfel_apps.geometry import Detector, Panel
from xfel_apps.geometry.stills import metric_cell

CELL = np.array([79.2, 79.2, 38.0, 90.0, 90.0, 90.0])
WAVELENGTH_ANG = 1.3
START_S = 1.7e9
# Every tenth shot, by its last digit: what becomes of it.
PLAN = {0: "failed", 1: "miss", 2: "miss", 3: "not_indexed", 4: "hot"}

DETECTOR = Detector(
    tuple(
        Panel(
            f"p{i}",
            (-10.0, 10.5 - 11.0 * i, -80.0),
            (1.0, 0.0, 0.0),
            (0.0, -1.0, 0.0),
            (0.1, 0.1),
            (100, 200),
            (100 * i, 0),
        )
        for i in range(2)
    ),
    (200, 200),
)


def kind(event: int) -> str:
    """Return what becomes of a shot: failed, miss, not_indexed, hot or integrated."""
    return PLAN.get(event % 10, "integrated")


def spots_of(event: int) -> Spots:
    """Return a shot's spots; their number is known: 3 on a miss, else 20 + event % 7."""
    rng = np.random.default_rng(event)
    n = 3 if kind(event) == "miss" else 20 + event % 7
    fast, slow = rng.uniform(2, 198, n), rng.uniform(2, 98, n)
    return spots_at(
        rng.integers(0, 2, n),
        fast,
        slow,
        fast_var_px2=np.full(n, 0.1),
        slow_var_px2=np.full(n, 0.1),
        intensity=rng.exponential(200.0, n) + 20,
        d_ang=rng.uniform(2.0, 15.0, n),
    )


def crystal_columns(event: int, n_spots: int) -> dict:
    """Return the columns of the one lattice of a shot."""
    rng = np.random.default_rng(10_000 + event)
    cell = CELL * np.array([*(1 + rng.normal(0, 1e-3, 2).repeat([2, 1])), 1, 1, 1])
    turn = Rotation.random(random_state=np.random.RandomState(event)).as_matrix()
    a_matrix = turn @ np.diag(1.0 / cell[:3])
    return {
        "lattice": [0],
        "a_matrix": [a_matrix],
        "cell": [metric_cell(a_matrix)],
        "space_group": [b"P 43 21 2"],
        "wavelength_ang": [WAVELENGTH_ANG],
        "n_spots": [n_spots],
        "n_indexed": [n_spots - 2],
        "rmsd_px": [0.3],
        "excitation_rms_invang": [4e-4],
        "mosaicity_deg": [rng.gamma(4.0, 0.02)],
        "block_size_ang": [1500.0],
        "d_min_ang": [2.0 + rng.uniform(0, 0.5)],
    }


def indexed_of(event: int) -> IndexedSpots:
    """Return which spots lie on the lattice: all but the first two."""
    n = len(spots_of(event)) - 2
    zero = np.zeros(n)
    return IndexedSpots.make(
        lattice=zero,
        spot=np.arange(n) + 2,
        h=np.arange(n),
        k=zero + 1,
        l=zero + 2,
        delta_fast_px=zero + 0.25,
        delta_slow_px=zero - 0.5,
        excitation_invang=zero,
    )


def reflections_of(event: int) -> Reflections:
    """Return a shot's reflections: 50 + event % 5 of them."""
    rng = np.random.default_rng(20_000 + event)
    n = 50 + event % 5
    one = np.ones(n)
    intensity = rng.exponential(100.0, n)
    return Reflections.make(
        lattice=0 * one,
        h=rng.integers(-20, 20, n),
        k=rng.integers(-20, 20, n),
        l=rng.integers(-10, 10, n),
        panel=rng.integers(0, 2, n),
        fast_px=rng.uniform(0, 200, n),
        slow_px=rng.uniform(0, 100, n),
        d_ang=rng.uniform(2.0, 15.0, n),
        intensity=intensity,
        sigma=10 * one,
        intensity_sum=intensity,
        sigma_sum=10 * one,
        background=8 * one,
        excitation_invang=0 * one,
        partiality=rng.uniform(0.1, 1, n),
        polarization=one,
        flags=0 * one,
    )


def event_result(event: int) -> ShotResult:
    columns = {
        "shot_id": f"r:{event}".encode(),
        "file": 0,
        "frame": event,
        "detector": 0,
        "wavelength_ang": WAVELENGTH_ANG,
        "timestamp_s": float("nan"),
        "pulse_energy_mj": 1.0 + event,
        "laser_on": -1,
        "complete_s": float("nan"),
    }
    if kind(event) == "failed":
        return ShotResult(Outcome.FAILED, "raw.h5: frame is truncated", columns)
    return ShotResult(Outcome.PENDING, "", columns)


def spot_result(event: int) -> ShotResult:
    spots = spots_of(event)
    columns = {"n_spots": len(spots), "d_min_ang": 2.5, "background": 8.0}
    if kind(event) == "miss":
        return ShotResult(Outcome.MISS, "3 spots, 15 wanted", columns, {"spots": spots})
    return ShotResult(Outcome.HIT_NOT_INDEXED, "", columns, {"spots": spots})


def crystal_result(event: int) -> ShotResult:
    n = len(spots_of(event))
    if kind(event) == "not_indexed":
        columns = {"n_spots": n, "n_lattices": 0}
        return ShotResult(Outcome.HIT_NOT_INDEXED, "no lattice explains 10 spots", columns)
    tables = {
        "crystals": Crystals.make(**crystal_columns(event, n)),
        "indexed": indexed_of(event),
    }
    return ShotResult(Outcome.INDEXED, "", {"n_spots": n, "n_lattices": 1}, tables)


def reflection_result(event: int) -> ShotResult:
    rows = reflections_of(event)
    crystals = IntegratedCrystals.make(
        **crystal_columns(event, len(spots_of(event))),
        n_reflections=[len(rows)],
        shot_id=[f"r:{event}".encode()],
    )
    columns = {"n_reflections": len(rows), "d_min_ang": 2.1}
    tables = {"crystals": crystals, "reflections": rows}
    return ShotResult(Outcome.INTEGRATED, "", columns, tables)


STAGES = (
    (EVENTS, event_result, 0.001, lambda event: True),
    (SPOTS, spot_result, 0.1, lambda event: kind(event) != "failed"),
    (
        CRYSTALS,
        crystal_result,
        0.3,
        lambda event: kind(event) in ("not_indexed", "integrated"),
    ),
    (REFLECTIONS, reflection_result, 0.05, lambda event: kind(event) == "integrated"),
)


class Clock:
    """Stands in for time.time: shots of two ranks side by side, with a break between stages."""

    def __init__(self, start_s: float) -> None:
        self.now_s = start_s

    def time(self) -> float:
        return self.now_s


def write_run(folder: Path, n_shots: int, monkeypatch, n_ranks: int = 2) -> None:
    """Write a run's four products: of ten shots 1 failed, 3 missed (1 hot), 1 not indexed."""
    clock = Clock(START_S)
    monkeypatch.setattr("xfel_apps.containers.writer.time", clock)
    outcomes: dict[int, Outcome] = {}
    inputs: dict[str, str] = {}
    extra = {
        "files": [str(folder / "raw.h5")],
        "geometry": None,
        "detectors": detectors_to_json([DETECTOR]),
        "beams": [{"wavelength_ang": WAVELENGTH_ANG, "direction": [0.0, 0.0, -1.0]}],
    }
    for product, result_of, seconds, wanted in STAGES:
        events = [event for event in range(n_shots) if wanted(event)]
        free_s = [clock.now_s + 0.02 * rank for rank in range(n_ranks)]
        writers = [
            ContainerWriter(folder / product.name, rank, product, f"{product.name}-digest")
            for rank in range(n_ranks)
        ]
        for event in events:
            result = result_of(event)
            outcomes[event] = result.outcome
            rank = int(np.argmin(free_s))
            took_s = seconds * (1.0 + 0.5 * np.sin(event))
            start_s, clock.now_s = free_s[rank], free_s[rank] + took_s
            free_s[rank] = clock.now_s + 0.01
            writers[rank].append(event, result, start_s, 0.9 * took_s)
        for writer in writers:
            writer.close()
        clock.now_s = max(free_s) + 2.0
        decided = {}
        if product is SPOTS:
            decided = {e: Outcome.MISS for e in events if kind(e) == "hot"}
            outcomes.update(decided)
            extra = {
                "hot_pixels": [[0, 5, 5]],
                "decided": {str(e): "miss" for e in decided},
                "powder": {"file": "spots/powder.h5", "n_all": 18, "n_hits": 14},
            }
            write_powder(folder / "spots" / "powder.h5", powder())
        counts = {str(item): list(outcomes.values()).count(item) for item in Outcome}
        Manifest(
            product=product.name,
            stage=product.stage,
            version=product.version,
            run=folder.name,
            digest=f"{product.name}-digest",
            settings={"example": 1.5},
            inputs=dict(inputs),
            n_events=n_shots,
            outcomes=counts,
            containers=tuple(
                f"{product.name}/{path.name}"
                for path in sorted((folder / product.name).glob("rank-*.h5"))
            ),
            extra=extra,
        ).write(folder / f"{product.name}.json")
        inputs[product.name] = f"{product.name}-digest"
        extra = {}


def powder() -> Powder:
    """Return powder patterns: flat noise."""
    images = np.random.default_rng(1).poisson(20, (4, *DETECTOR.slab_shape)).astype(float)
    return Powder(*images, n_all=18, n_hits=14)


def write_trial(folder: Path, monkeypatch, n_shots: int = 20) -> Path:
    """Write a trial of two runs and return its folder."""
    for name in ("r0001", "r0002"):
        write_run(folder / name, n_shots, monkeypatch)
    return folder
