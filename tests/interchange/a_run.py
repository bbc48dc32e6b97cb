"""A run with all that interchange has to carry: tilted panels, two lattices, flags, hot pixels."""

from pathlib import Path

import h5py
import numpy as np
from scipy.spatial.transform import Rotation

from tests.products import spots_at, write_product
from xfel_apps.containers.crystals import CRYSTALS, Crystals, IndexedSpots
from xfel_apps.containers.events import EVENTS, detectors_to_json
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.reflections import REFLECTIONS, IntegratedCrystals, Reflections
from xfel_apps.containers.spots import SPOTS
from xfel_apps.geometry import Beam, Detector, Panel
from xfel_apps.geometry.mosaic import Mosaic
from xfel_apps.geometry.prediction import Lattice, Predictions, predict
from xfel_apps.geometry.stills import metric_cell, resolution_ang
from xfel_apps.sources.nxmx_write import write_geometry

HOT = [[0, 40, 30]]
GAIN_ADU = 2.5
N_SHOTS = 7
FAILED, MISS, NOT_INDEXED, TWO_LATTICES = 0, 1, 6, 4
TILT = Rotation.from_euler("xyz", [1.0, -2.0, 3.0], degrees=True).as_matrix()


def panel(name: str, corner: tuple[float, float], slab_start: tuple[int, int]) -> Panel:
    fast, slow = TILT @ [1.0, 0.0, 0.0], TILT @ [0.0, -1.0, 0.0]
    return Panel(
        name,
        (*corner, -60.0),
        tuple(fast.tolist()),
        tuple(slow.tolist()),
        (0.1, 0.1),
        (150, 300),
        slab_start,
        trusted=(-5.0, 9e4),
    )


DETECTOR = Detector(
    (panel("m0", (-14.0, 16.0), (0, 0)), panel("m1", (-14.0, 0.0), (150, 10))), (300, 310)
)


def beam(event: int) -> Beam:
    return Beam(1.3 + 0.001 * event)


def lattices(event: int) -> list[Lattice]:
    """Return the crystals of a shot: one, two, or none."""
    if event in (FAILED, MISS, NOT_INDEXED):
        return []
    result = []
    for number in range(2 if event == TWO_LATTICES else 1):
        turn = Rotation.random(random_state=np.random.RandomState(10 * event + number))
        a_matrix = turn.as_matrix() @ np.diag([1 / 79.2, 1 / 79.3, 1 / 38.0])
        mosaic = Mosaic(float(np.float32(0.1 + 0.01 * event)), float(np.float32(800.0)))
        result.append(Lattice(a_matrix, "P 21 21 2", mosaic))
    return result


def predictions(event: int) -> list[Predictions]:
    return [predict(one, DETECTOR, beam(event), 2.5) for one in lattices(event)]


def spots_result(event: int) -> ShotResult:
    """Return spots at every second prediction, after one on a hot pixel and one on ice."""
    rng = np.random.default_rng(event)
    found = [part.take(np.arange(0, len(part), 2)) for part in predictions(event)]
    panel = np.concatenate([[0, 1], *(part.panel for part in found)]).astype(int)
    fast = np.concatenate([[30.5, 7.5], *(part.fast_px for part in found)])
    slow = np.concatenate([[40.5, 9.5], *(part.slow_px for part in found)])
    n = len(panel)
    fast = fast + rng.normal(0, 0.1, n) * (np.arange(n) > 1)
    flags = np.zeros(n)
    flags[1], flags[2:3] = 8, 1
    rows = spots_at(
        panel,
        fast,
        slow,
        fast_var_px2=rng.uniform(0.01, 0.1, n),
        slow_var_px2=rng.uniform(0.01, 0.1, n),
        intensity=rng.exponential(300.0, n),
        sigma=rng.uniform(5.0, 20.0, n),
        background=rng.uniform(1.0, 9.0, n),
        peak=rng.uniform(10.0, 90.0, n),
        n_pixels=rng.integers(2, 12, n),
        d_ang=resolution_ang(
            DETECTOR.s1(panel, fast, slow, beam(event).wavelength_ang) - beam(event).s0
        ),
        flags=flags,
    )
    outcome = Outcome.MISS if event == MISS else Outcome.HIT_NOT_INDEXED
    return ShotResult(outcome, "", {"n_spots": n, "gain_adu": 1.0}, {"spots": rows})


def crystals_result(event: int) -> ShotResult:
    models = lattices(event)
    if not models:
        return ShotResult(Outcome.HIT_NOT_INDEXED, "no lattice", {"n_spots": 1})
    counts = [len(part.hkl[::2]) for part in predictions(event)]
    starts = np.cumsum([0, *counts])
    parts = []
    for number, part in enumerate(predictions(event)):
        hkl = part.hkl[::2]
        n = len(hkl)
        parts.append(
            IndexedSpots.make(
                lattice=np.full(n, number),
                spot=starts[number] + np.arange(n),  # neither the hot one nor ice is good
                **dict(zip("hkl", hkl.T, strict=True)),
                delta_fast_px=np.full(n, 0.1),
                delta_slow_px=np.full(n, 0.0),
                excitation_invang=part.excitation_invang[::2],
            )
        )
    tables = {
        "crystals": Crystals.make(**crystal_columns(event, counts)),
        "indexed": IndexedSpots.concatenate(parts),
    }
    return ShotResult(Outcome.INDEXED, "", {"n_spots": 1, "n_lattices": len(models)}, tables)


def crystal_columns(event: int, n_indexed: list[int]) -> dict:
    models = lattices(event)
    n = len(models)
    return {
        "lattice": np.arange(n),
        "a_matrix": [one.a_matrix for one in models],
        "cell": [metric_cell(one.a_matrix) for one in models],
        "space_group": [one.space_group.encode() for one in models],
        "wavelength_ang": [beam(event).wavelength_ang] * n,
        "n_spots": [sum(n_indexed)] * n,
        "n_indexed": n_indexed,
        "rmsd_px": [0.1] * n,
        "excitation_rms_invang": [1e-4] * n,
        "mosaicity_deg": [one.mosaic.mosaicity_deg for one in models],
        "block_size_ang": [one.mosaic.block_size_ang for one in models],
        "d_min_ang": [2.5] * n,
    }


def reflections_result(event: int) -> ShotResult:
    rng = np.random.default_rng(100 + event)
    parts = []
    for number, (model, found) in enumerate(zip(lattices(event), predictions(event), strict=True)):
        n = len(found)
        intensity = rng.exponential(100.0, n) - 20.0
        length = found.q_length_invang
        parts.append(
            Reflections.make(
                lattice=np.full(n, number),
                **dict(zip("hkl", found.hkl.T, strict=True)),
                panel=found.panel,
                fast_px=found.fast_px,
                slow_px=found.slow_px,
                d_ang=1.0 / length,
                intensity=intensity,
                sigma=rng.uniform(3.0, 9.0, n),
                intensity_sum=intensity + rng.normal(0, 2, n),
                sigma_sum=rng.uniform(4.0, 10.0, n),
                background=rng.uniform(1.0, 9.0, n),
                excitation_invang=found.excitation_invang,
                partiality=model.mosaic.partiality(found.excitation_invang, length),
                polarization=beam(event).polarization(found.s1),
                flags=rng.choice([0, 0, 0, 0, 1, 2, 4, 8, 16, 3], n),
            )
        )
    rows = Reflections.concatenate(parts)
    counts = [len(part) for part in parts]
    crystals = IntegratedCrystals.make(
        **crystal_columns(event, counts),
        n_reflections=counts,
        shot_id=[f"r1:{event}".encode()] * len(counts),
    )
    columns = {"n_reflections": len(rows), "d_min_ang": 2.5}
    return ShotResult(Outcome.INTEGRATED, "", columns, {"crystals": crystals, "reflections": rows})


def event_result(event: int) -> ShotResult:
    columns = {
        "shot_id": f"r1:{event}".encode(),
        "frame": event,
        "wavelength_ang": beam(event).wavelength_ang,
    }
    if event == FAILED:
        return ShotResult(Outcome.FAILED, "damaged", columns)
    return ShotResult(Outcome.PENDING, "", columns)


def frames() -> np.ndarray:
    """Return pixels (shots, slow, fast), no two rows or columns alike."""
    shape = (N_SHOTS, *DETECTOR.slab_shape)
    return np.random.default_rng(5).integers(0, 50_000, shape, dtype=np.int32)


def write_raw(path: Path) -> Path:
    """Write the run's raw file, NXmx with two modules."""
    write_geometry(path, DETECTOR, beam(0))
    with h5py.File(path, "r+") as file:
        del file["entry/data/data"], file["entry/instrument/beam/incident_wavelength"]
        file["entry/data/data"] = frames()
        wavelengths = [beam(event).wavelength_ang for event in range(N_SHOTS)]
        item = file.create_dataset("entry/instrument/beam/incident_wavelength", data=wavelengths)
        item.attrs["units"] = "angstrom"
    return path


def write_run(folder: Path) -> Path:
    """Write all products of the run; its raw file, `raw.h5`, is for `write_raw` to write."""
    events = range(N_SHOTS)
    stages = (
        (EVENTS, event_result, events),
        (SPOTS, spots_result, [e for e in events if e != FAILED]),
        (CRYSTALS, crystals_result, [e for e in events if e not in (FAILED, MISS)]),
        (REFLECTIONS, reflections_result, [e for e in events if lattices(e)]),
    )
    outcomes: dict[int, Outcome] = {}
    for product, make, mine in stages:
        results = {event: make(event) for event in mine}
        outcomes.update({event: result.outcome for event, result in results.items()})
        extra = {"hot_pixels": HOT, "gain_adu": GAIN_ADU} if product is SPOTS else {}
        if product is EVENTS:
            extra = {
                "files": [str(folder / "raw.h5")],
                "geometry": None,
                "detectors": detectors_to_json([DETECTOR]),
                "beams": [{"wavelength_ang": 1.0, "direction": [0.0, 0.0, -1.0]}],
            }
        write_product(folder, product, results, dict(outcomes), **extra)
    return folder
