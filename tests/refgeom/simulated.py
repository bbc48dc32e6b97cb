"""Runs of spots on a detector whose panels are not where the events say; the truth is known.

Spots are predicted on the true geometry with errors of position and excitation, and recorded with
the wrong one. There are no frames.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from tests.products import spots_at, write_product
from xfel_apps.containers.crystals import CRYSTALS, Crystals, IndexedSpots
from xfel_apps.containers.events import EVENTS, detectors_to_json
from xfel_apps.containers.manifest import Manifest
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.spots import SPOTS
from xfel_apps.geometry import Beam, Detector, Panel
from xfel_apps.geometry.mosaic import Mosaic
from xfel_apps.geometry.prediction import Lattice, predict
from xfel_apps.index.target import TargetLattice

TARGET = TargetLattice((79.2, 79.2, 38.0, 90.0, 90.0, 90.0), "P 43 21 2")
WAVELENGTH_ANG = 1.3
PIXEL_MM = 0.1
MOSAIC = Mosaic(0.04, 1500.0)


def design(distance_mm: float = 100.0) -> Detector:
    """Return 32 panels of 128 x 256 pixels: four quadrants around a hole, eight panels each."""
    panels = []
    for number in range(32):
        quadrant, row, column = number // 8, number % 8 // 2, number % 2
        middle = np.array([-262.0 + 262.0 * column, 262.0 - 132.0 * row])
        centre = np.array([[-252.0, 292.0], [292.0, 252.0], [252.0, -292.0], [-292.0, -252.0]])
        x, y = PIXEL_MM * (middle + centre[quadrant])
        panels.append(
            Panel(
                f"q{quadrant}m{row}a{column}",
                (x, y, -distance_mm),
                (1.0, 0.0, 0.0),
                (0.0, -1.0, 0.0),
                (PIXEL_MM, PIXEL_MM),
                (128, 256),
                (128 * (number // 2), 256 * column),
            )
        )
    return Detector(tuple(panels), (128 * 16, 512))


def displaced(
    detector: Detector,
    rng: np.random.Generator,
    shift_px: float = 3.0,
    turn_mrad: float = 2.0,
    distance_mm: float = 1.0,
) -> Detector:
    """Return the detector further away, each panel shifted and turned by up to so much."""
    panels = []
    for panel in detector.panels:
        middle = middle_mm(panel)
        turn = Rotation.from_rotvec(1e-3 * turn_mrad * _in_ball(rng))
        shift = shift_px * PIXEL_MM * _in_ball(rng) - [0.0, 0.0, distance_mm]
        origin = middle + turn.apply(np.subtract(panel.origin_mm, middle)) + shift
        panels.append(
            replace(
                panel,
                origin_mm=tuple(origin.tolist()),
                fast=tuple(turn.apply(panel.fast).tolist()),
                slow=tuple(turn.apply(panel.slow).tolist()),
            )
        )
    return replace(detector, panels=tuple(panels))


def shifted(detector: Detector, shift_mm: tuple[float, float, float]) -> Detector:
    """Return the whole detector moved."""
    panels = [
        replace(panel, origin_mm=tuple(np.add(panel.origin_mm, shift_mm).tolist()))
        for panel in detector.panels
    ]
    return replace(detector, panels=tuple(panels))


def middle_mm(panel: Panel) -> np.ndarray:
    """Return the middle of a panel [mm]."""
    slow, fast = np.array(panel.shape) / 2.0
    across = fast * panel.pixel_mm[0] * np.array(panel.fast)
    return np.array(panel.origin_mm) + across + slow * panel.pixel_mm[1] * np.array(panel.slow)


def _in_ball(rng: np.random.Generator) -> np.ndarray:
    vector = rng.normal(size=3)
    return vector / np.linalg.norm(vector) * rng.uniform() ** (1 / 3)


@dataclass(frozen=True)
class Stills:
    """Crystals of a run as nature has them.

    Attributes
    ----------
    lattices : A of each, of cells that scatter by 0.1 % about the known one
    spots : hkl, panel, fast, slow of each
    """

    lattices: list[np.ndarray]
    spots: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]


def take_stills(
    detector: Detector,
    n_crystals: int,
    rng: np.random.Generator,
    noise_px: float = 0.2,
    observed: float = 0.6,
) -> Stills:
    """Return stills as the true detector records them."""
    beam = Beam(WAVELENGTH_ANG)
    lattices, spots = [], []
    for _ in range(n_crystals):
        lengths = np.array(TARGET.cell[:3]) * (1.0 + 1e-3 * rng.normal(size=3))
        lengths[1] = lengths[0]
        a_matrix = Rotation.random(random_state=rng).as_matrix() @ np.diag(1.0 / lengths)
        seen = predict(Lattice(a_matrix, TARGET.space_group, MOSAIC), detector, beam, 2.1, 1.5)
        share = MOSAIC.partiality(seen.excitation_invang, seen.q_length_invang)
        seen = seen.take(rng.uniform(size=len(seen)) < observed * share)
        px = np.stack([seen.fast_px, seen.slow_px]) + noise_px * rng.normal(size=(2, len(seen)))
        inside = np.all((px > 1) & (px < (detector.sizes[seen.panel] - 1).T), axis=0)
        lattices.append(a_matrix)
        spots.append((seen.hkl[inside], seen.panel[inside], *px[:, inside]))
    return Stills(lattices, spots)


def write_run(folder: Path, wrong: Detector, stills: Stills, name: str = "r1") -> None:
    """Write events (with the wrong geometry) and spots of a run."""
    events, spots = {}, {}
    for event, (_, panel, fast, slow) in enumerate(stills.spots):
        columns = {
            "shot_id": f"{name}:{event}".encode(),
            "frame": event,
            "wavelength_ang": WAVELENGTH_ANG,
        }
        events[event] = ShotResult(Outcome.PENDING, "", columns)
        rows = spots_at(panel, fast, slow)
        columns = {"n_spots": len(rows)}
        spots[event] = ShotResult(Outcome.HIT_NOT_INDEXED, "", columns, {"spots": rows})
    extra = {
        "files": ["raw.h5"],
        "geometry": None,
        "detectors": detectors_to_json([wrong]),
        "beams": [{"wavelength_ang": WAVELENGTH_ANG}],
    }
    path = write_product(folder, EVENTS, events, dict.fromkeys(events, Outcome.PENDING), **extra)
    _named(path, name)
    outcomes = dict.fromkeys(spots, Outcome.HIT_NOT_INDEXED)
    _named(write_product(folder, SPOTS, spots, outcomes, hot_pixels=[]), name)


def write_crystals(folder: Path, stills: Stills, name: str = "r1") -> None:
    """Write the crystals as if index had found each, with its true indices."""
    results = {}
    for event, (a_matrix, (hkl, *_)) in enumerate(zip(stills.lattices, stills.spots, strict=True)):
        n = len(hkl)
        zero = np.zeros(n)
        lattice = Crystals.make(
            lattice=[0],
            a_matrix=[a_matrix],
            cell=[TARGET.cell],
            space_group=[TARGET.space_group.encode()],
            wavelength_ang=[WAVELENGTH_ANG],
            n_spots=[n],
            n_indexed=[n],
            rmsd_px=[1.0],
            excitation_rms_invang=[3e-4],
            mosaicity_deg=[MOSAIC.mosaicity_deg],
            block_size_ang=[MOSAIC.block_size_ang],
            d_min_ang=[2.0],
        )
        indexed = IndexedSpots.make(
            lattice=zero,
            spot=np.arange(n),
            h=hkl[:, 0],
            k=hkl[:, 1],
            l=hkl[:, 2],
            delta_fast_px=zero,
            delta_slow_px=zero,
            excitation_invang=zero,
        )
        tables = {"crystals": lattice, "indexed": indexed}
        columns = {"n_spots": n, "n_lattices": 1}
        results[event] = ShotResult(Outcome.INDEXED, "", columns, tables)
    path = write_product(folder, CRYSTALS, results, dict.fromkeys(results, Outcome.INDEXED))
    _named(path, name)
    manifest = Manifest.read(path)
    settings = {"cell": list(TARGET.cell), "space_group": TARGET.space_group}
    replace(manifest, settings=settings).write(path)


def _named(path: Path, name: str) -> None:
    replace(Manifest.read(path), run=name).write(path)


def ray_errors_px(detector: Detector, true: Detector, n: int = 5) -> np.ndarray:
    """Return (n_panels, n * n, 2) how far off the detector puts rays to points of the true one.

    The rotation about the beam that makes the whole best is taken off: crystals turn with it.
    """
    grid = (np.arange(n) + 0.5) / n
    share = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    panel = np.repeat(np.arange(len(true.panels)), len(share))
    px = np.tile(share, (len(true.panels), 1)) * true.sizes[panel]
    rays = true.lab_mm(panel, *px.T)

    def errors(turn_rad: float) -> np.ndarray:
        turned = Rotation.from_rotvec([0.0, 0.0, turn_rad]).apply(rays)
        return np.stack(detector.panel_pixels(panel, turned), axis=1) - px

    step = 1e-4
    at, slope = errors(0.0), (errors(step) - errors(-step)) / (2 * step)
    best = -np.sum(at * slope) / np.sum(slope**2)
    return errors(float(best)).reshape(len(true.panels), -1, 2)


def rms_px(detector: Detector, true: Detector) -> float:
    """Return the root mean square distance of `ray_errors_px`."""
    return float(np.sqrt(np.mean(np.sum(ray_errors_px(detector, true) ** 2, axis=2))))
