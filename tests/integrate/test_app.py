"""The app on a run of simulated frames whose lattices are given."""

from pathlib import Path

import numpy as np
import pytest

from tests.integrate.test_shot import lattice, strength
from tests.products import write_product
from tests.small_nxmx import write_nxmx
from xfel_apps import mpi
from xfel_apps.containers.crystals import CRYSTALS, Crystals, IndexedSpots
from xfel_apps.containers.events import Events
from xfel_apps.containers.manifest import open_product
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.reflections import (
    REFLECTIONS,
    IntegratedCrystals,
    ReflectionFlag,
    Reflections,
)
from xfel_apps.containers.spots import SPOTS
from xfel_apps.geometry.prediction import predict
from xfel_apps.geometry.stills import metric_cell
from xfel_apps.ingest.__main__ import main as ingest
from xfel_apps.integrate.__main__ import main

N_PIXELS = 700
BACKGROUND = 5.0


def crystal(event: int) -> Crystals:
    found = lattice(event)
    return Crystals.make(
        lattice=[0],
        a_matrix=[found.a_matrix],
        cell=[metric_cell(found.a_matrix)],
        space_group=[b"P 43 21 2"],
        wavelength_ang=[1.3],
        n_spots=[0],
        n_indexed=[0],
        rmsd_px=[0.2],
        excitation_rms_invang=[3e-4],
        mosaicity_deg=[found.mosaic.mosaicity_deg],
        block_size_ang=[found.mosaic.block_size_ang],
        d_min_ang=[3.0],
    )


def spotty_frame(events: Events, event: int) -> np.ndarray:
    rng = np.random.default_rng(event)
    found = predict(lattice(event), events.detector(event), events.beam(event), 2.2, reach=2.0)
    frame = np.full((N_PIXELS, N_PIXELS), BACKGROUND)
    photons = strength(found, rng, 1500.0)
    axis = np.arange(N_PIXELS) + 0.5
    for fast, slow, n in zip(found.fast_px, found.slow_px, photons, strict=True):
        s, f = (np.exp(-0.5 * ((axis - x) / 0.8) ** 2) for x in (slow, fast))
        box = np.ix_(s > 1e-7, f > 1e-7)
        frame[box] += n * np.outer(s[s > 1e-7], f[f > 1e-7]) / (2 * np.pi * 0.8**2)
    return rng.poisson(frame)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shot 0 a miss, 1 and 2 indexed, 3 indexed but its frame is all masked values."""
    folder = tmp_path_factory.mktemp("run")
    frames = np.zeros((4, N_PIXELS, N_PIXELS), dtype=np.int32)
    dead = {"instrument__detector__underload_value": 0}
    raw = write_nxmx(folder / "raw.h5", frames, **dead)
    argv = ["--events", str(folder / "events.json"), "--run", "r1", str(raw)]
    assert ingest(argv, mpi.serial()) == 0
    events = Events.read(folder / "events.json")
    for event in (1, 2):
        frames[event] = spotty_frame(events, event)
    frames[3] = -1
    write_nxmx(folder / "raw.h5", frames, **dead)
    hits = dict.fromkeys((1, 2, 3), Outcome.HIT_NOT_INDEXED)
    spots = {0: ShotResult(Outcome.MISS, "no spots", {"n_spots": 0})}
    spots |= {event: ShotResult(end, "", {"n_spots": 30}) for event, end in hits.items()}
    write_product(folder, SPOTS, spots, {0: Outcome.MISS, **hits}, hot_pixels=[[0, 350, 351]])
    lattices = {
        event: ShotResult(
            Outcome.INDEXED,
            "",
            {"n_lattices": 1},
            {"crystals": crystal(event), "indexed": IndexedSpots.empty()},
        )
        for event in hits
    }
    indexed = dict.fromkeys(hits, Outcome.INDEXED)
    write_product(folder, CRYSTALS, lattices, {0: Outcome.MISS, **indexed})
    return folder


def integrate(folder: Path, *more: str) -> int:
    argv = [f"--{name}={folder / name}.json" for name in ("events", "spots", "crystals")]
    return main([*argv, f"--reflections={folder / 'reflections.json'}", *more], mpi.serial())


def test_every_event_is_accounted_for(run: Path) -> None:
    assert integrate(run) == 0
    manifest, reader = open_product(run / "reflections.json", REFLECTIONS)
    ended = {name: n for name, n in manifest.outcomes.items() if n}
    assert ended == {"miss": 1, "indexed": 1, "integrated": 2}
    shots = reader.shots()
    assert "usable" in shots.loc[3, "reason"]
    for event in (1, 2):
        rows = reader.rows("reflections", event, Reflections)
        lattices = reader.rows("crystals", event, IntegratedCrystals)
        assert len(rows) == lattices.n_reflections[0] == shots.loc[event, "n_reflections"] > 50
        assert lattices.shot_id[0] == Events.read(run / "events.json").shot_id(event).encode()
        assert (rows.d_ang >= lattices.d_min_ang[0] * 0.9999).all()
        strong = (rows.intensity > 10 * rows.sigma) & (rows.flags == 0)
        assert strong.sum() > 20
        np.testing.assert_allclose(rows.background[strong], BACKGROUND, rtol=0.25)
    reader.close()


def test_hot_pixels_are_masked(run: Path) -> None:
    """A reflection predicted on the run's hot pixel is flagged."""
    assert integrate(run, '--settings={"min_share": 1.0}') == 0
    _, reader = open_product(run / "reflections.json", REFLECTIONS)
    masked = 0
    for event in (1, 2):
        rows = reader.rows("reflections", event, Reflections)
        near = np.hypot(rows.fast_px - 351.5, rows.slow_px - 350.5) < 1.0
        hidden = (rows.flags & int(ReflectionFlag.MASKED)) > 0
        assert hidden[near].all()
        masked += int(hidden.sum())
    reader.close()
    assert masked < 5


def test_misspelt_settings_are_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert integrate(run, '--settings={"d_mni_ang": 2.0}') == 1
    error = capsys.readouterr().err
    assert "d_mni_ang: unknown setting" in error
    assert error.count("\n") == 1
