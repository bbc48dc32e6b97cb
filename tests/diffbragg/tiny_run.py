"""A run of frames by the forward model, its lattices turned a little, and merged intensities."""

from pathlib import Path

import gemmi
import numpy as np

from tests.products import write_product
from tests.small_nxmx import write_nxmx
from xfel_apps import mpi
from xfel_apps.compute.forward import (
    R_ELECTRON_SQUARED_MM2,
    Illumination,
    MosaicCrystal,
    Rectangles,
    Sampling,
    forward,
)
from xfel_apps.compute.structure_factors import DenseIntensities
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.events import Events
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.reflections import REFLECTIONS, IntegratedCrystals
from xfel_apps.containers.spots import SPOTS
from xfel_apps.geometry.stills import metric_cell
from xfel_apps.ingest.__main__ import main as ingest
from xfel_apps.intensities.mtz import Header, write_mtz
from xfel_apps.pixel_model.crystal import rotation

N_PIXELS, N_SHOTS = 600, 4
CELL = np.array([79.2, 79.2, 38.0, 90.0, 90.0, 90.0])
SPACE_GROUP = gemmi.SpaceGroup("P 43 21 2")
N_CELLS, SPREAD_DEG, BACKGROUND = (15.0, 15.0, 30.0), 0.03, 6.0
WRONG_SHOT, EMPTY_SHOT = 2, 3
"""One whose lattice is another crystal's, one without spots."""

NAMES = ("events", "spots", "crystals", "reflections", "merged")


def true_a_matrix(event: int) -> np.ndarray:
    """Return A of the crystal in the beam; its cell is not the mean one."""
    rng = np.random.default_rng(event)
    cell = CELL[:3] * (1.0 + 1e-3 * rng.normal(size=2)[[0, 0, 1]])
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return turn * np.sign(np.linalg.det(turn)) @ np.diag(1.0 / cell)


def true_intensities() -> tuple[np.ndarray, np.ndarray]:
    """Return unique Miller indices and their |F|^2: Wilson statistics with a fall-off."""
    unit_cell = gemmi.UnitCell(*CELL)
    hkl = gemmi.make_miller_array(unit_cell, SPACE_GROUP, 2.0, 100.0, True)
    fall_off = np.exp(-10.0 * unit_cell.calculate_1_d2_array(hkl))
    return hkl, 3e4 * fall_off * np.random.default_rng(7).exponential(size=len(hkl))


def dense(hkl: np.ndarray, intensity: np.ndarray) -> DenseIntensities:
    """Return the intensities with all symmetry mates."""
    rotations = [np.array(op.rot) // 24 for op in SPACE_GROUP.operations().sym_ops]
    mates = np.concatenate([sign * hkl @ rot for rot in rotations for sign in (-1, 1)])
    return DenseIntensities.from_reflections(
        mates.astype(np.int64), np.tile(np.sqrt(intensity), 2 * len(rotations))
    )


def frame(events: Events, event: int, table: DenseIntensities) -> np.ndarray:
    """Return counts of one shot: 200 domains, 2 x 2 sub-pixels."""
    rng = np.random.default_rng(100 + event)
    detector, beam = events.detector(event), events.beam(event)
    turns = np.radians(SPREAD_DEG) * rng.normal(size=(200, 3))
    turns -= turns.mean(axis=0)
    domains = np.array([rotation(turn) for turn in turns]) @ true_a_matrix(event)
    photons = forward(
        Rectangles(detector.origins_mm, detector.axes, detector.sizes),
        MosaicCrystal(domains, N_CELLS, table),
        Illumination(
            np.array([beam.wavelength_ang]),
            np.array([2.0 / R_ELECTRON_SQUARED_MM2 / np.prod(N_CELLS)]),
            polarization_fraction=beam.polarization_fraction,
        ),
        Sampling(oversample=2),
    )
    return rng.poisson(photons.reshape(N_PIXELS, N_PIXELS) + BACKGROUND)


def integrated(a_matrix: np.ndarray, shot_id: str) -> ShotResult:
    """Return a lattice as integrate leaves it, its intensities left out."""
    one = IntegratedCrystals.make(
        lattice=[0],
        a_matrix=[a_matrix],
        cell=[metric_cell(a_matrix)],
        space_group=[SPACE_GROUP.hm.encode()],
        wavelength_ang=[1.3],
        n_spots=[50],
        n_indexed=[50],
        rmsd_px=[0.3],
        excitation_rms_invang=[3e-4],
        mosaicity_deg=[0.05],
        block_size_ang=[1000.0],
        d_min_ang=[2.2],
        n_reflections=[0],
        shot_id=[shot_id.encode()],
    )
    return ShotResult(Outcome.INTEGRATED, "", {}, {"crystals": one})


def write_run(folder: Path) -> None:
    """Write everything that the stage reads: orientations off by 0.03 degrees, errors of 20 %."""
    rng = np.random.default_rng(3)
    frames = np.zeros((N_SHOTS, N_PIXELS, N_PIXELS), dtype=np.int32)
    raw = write_nxmx(folder / "raw.h5", frames)
    argv = ["--events", str(folder / "events.json"), "--run", "r1", str(raw)]
    assert ingest(argv, mpi.serial()) == 0
    events, (hkl, intensity) = Events.read(folder / "events.json"), true_intensities()
    table = dense(hkl, intensity)
    found = {}
    for event in range(N_SHOTS):
        frames[event] = (
            frame(events, event, table)
            if event != EMPTY_SHOT
            else rng.poisson(BACKGROUND, frames[event].shape)
        )
        turn = rotation(np.radians(0.03) * _direction(rng))
        a_matrix = turn @ true_a_matrix(event + 50 * (event == WRONG_SHOT))
        found[event] = integrated(a_matrix, events.shot_id(event))
    write_nxmx(folder / "raw.h5", frames)
    every = dict.fromkeys(range(N_SHOTS), Outcome.INTEGRATED)
    none = {event: ShotResult(Outcome.INDEXED) for event in every}
    write_product(folder, SPOTS, none, every)
    write_product(folder, CRYSTALS, none, every)
    write_product(folder, REFLECTIONS, found, every)
    _write_merged(folder, hkl, intensity * np.exp(0.2 * rng.normal(size=len(hkl))))


def _direction(rng: np.random.Generator) -> np.ndarray:
    vector = rng.normal(size=3)
    return vector / np.linalg.norm(vector)


def _write_merged(folder: Path, hkl: np.ndarray, intensity: np.ndarray) -> None:
    kept = np.random.default_rng(4).random(len(hkl)) < 0.8
    columns = [("IMEAN", "J", intensity[kept]), ("SIGIMEAN", "Q", 0.2 * intensity[kept])]
    header = Header(gemmi.UnitCell(*CELL), SPACE_GROUP, 1.3)
    write_mtz(folder / "merged.mtz", hkl[kept], columns, header, [])
    MergedManifest(
        digest="merged-digest",
        settings={},
        inputs={},
        cell=tuple(CELL),
        space_group=SPACE_GROUP.hm,
        d_max_ang=100.0,
        d_min_ang=2.0,
        n_crystals=0,
        crystals={},
        modes={},
        n_observations=0,
        n_rejected=0,
        error_model={},
        statistics={},
        files={"mtz": "merged.mtz"},
    ).write(folder / "merged.json")
