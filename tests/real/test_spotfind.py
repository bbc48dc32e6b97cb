"""Spots on real stills and on simulated ones by another group, against truth and against DIALS."""

import itertools
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.spatial import cKDTree

from xfel_apps.compute.local_noise import local_noise
from xfel_apps.compute.threshold import Dispersion, strong_pixels, strong_pixels_reference
from xfel_apps.containers.events import Events
from xfel_apps.containers.manifest import open_product
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.reader import ProductReader
from xfel_apps.containers.spots import SPOTS, Spots, good_spots
from xfel_apps.geometry.stills import excitation_error_invang, ray_on_sphere
from xfel_apps.ingest.__main__ import main as ingest
from xfel_apps.interchange.expt import read_expt
from xfel_apps.interchange.refl import read_refl
from xfel_apps.sources import open_raw
from xfel_apps.spotfind.__main__ import main
from xfel_apps.spotfind.frame import as_native, checked_levels
from xfel_apps.spotfind.settings import SpotfindSettings
from xfel_apps.spotfind.setup import Setup

NEAR_PX = 1.5
"""A spot this near to a predicted reflection is true."""

WIDTH_INVANG = 1.2e-3
"""Reflections this near to the Ewald sphere can be seen (blocks of 20 x 20 x 40 cells)."""


def spots_of(folder: Path, *paths: Path, settings: str = "{}") -> tuple[Events, ProductReader]:
    events, spots = folder / "events.json", folder / "spots.json"
    assert ingest(["--events", str(events), "--run", "r", *map(str, paths)]) == 0
    assert main(["--events", str(events), "--spots", str(spots), "--settings", settings]) == 0
    return Events.read(events), open_product(spots, SPOTS)[1]


@pytest.fixture(scope="module")
def lysozyme(data_dir, tmp_path_factory) -> tuple[Events, ProductReader, np.ndarray]:
    folder = data_dir / "nanobragg_lysozyme"
    events, reader = spots_of(tmp_path_factory.mktemp("lysozyme"), folder / "lyso130.h5")
    with h5py.File(folder / "truth.h5") as file:
        return events, reader, file["kind"][()].astype(str)


@cache
def all_indices(truth: Path) -> np.ndarray:
    """Return the Miller indices of the whole sphere, (n, 3)."""
    with h5py.File(truth) as file:
        hkl = file["F_hkl"][()]
    signs = [np.diag(s) for s in itertools.product((1, -1), repeat=3)]
    return np.unique(
        np.concatenate([h @ s for s in signs for h in (hkl, hkl[:, [1, 0, 2]])]), axis=0
    )


def visible(data_dir: Path, events: Events, event: int) -> np.ndarray:
    """Return where the reflections of the true crystal are recorded, (n, 2) fast and slow."""
    truth = data_dir / "nanobragg_lysozyme" / "truth.h5"
    with h5py.File(truth) as file:
        a_matrix = file["A"][event]
    s0 = events.beam(event).s0
    q = all_indices(truth) @ a_matrix.T
    q = q[np.abs(excitation_error_invang(q, s0)) < WIDTH_INVANG]
    panel, fast, slow = events.detector(event).ray_pixels(ray_on_sphere(q, s0))
    return np.column_stack([fast, slow])[panel >= 0]


def centroids(spots: Spots) -> np.ndarray:
    return np.column_stack([spots.fast_px, spots.slow_px])


def test_hits_are_told_from_blanks(lysozyme) -> None:
    _, reader, kind = lysozyme
    shots = reader.shots()
    hits = (shots["outcome"] == Outcome.HIT_NOT_INDEXED).to_numpy()
    n_spots = shots["n_spots"].to_numpy()
    assert hits[kind == "hit"].all()
    assert not hits[kind == "blank"].any()
    assert n_spots[kind == "blank"].max() <= 2
    assert n_spots[kind == "hit"].min() >= 20
    assert hits[kind == "weak"].sum() >= 20


def test_spots_are_reflections_of_the_true_crystal(lysozyme, data_dir) -> None:
    events, reader, kind = lysozyme
    distances = np.concatenate(
        [
            cKDTree(visible(data_dir, events, event)).query(centroids(found))[0]
            for event in np.flatnonzero(kind != "blank")[::3]
            if len(found := good_spots(reader, int(event), []))
        ]
    )
    assert len(distances) > 2000
    assert np.mean(distances > NEAR_PX) < 0.002
    assert np.median(distances) < 0.2


def dials_spots(folder: Path) -> dict[int, np.ndarray]:
    """Return centroids (n, 2) of the spots that DIALS indexed, by frame."""
    found = {}
    for name in ("idx-0000", "idx-0001"):
        columns = read_refl(folder / f"{name}_indexed.refl").columns
        for number, experiment in enumerate(read_expt(folder / f"{name}_refined.expt")):
            rows = columns["id"] == number
            found[experiment.frame] = columns["xyzobs.px.value"][rows][:, :2]
    return found


def test_more_spots_than_dials_at_the_same_places(lysozyme, data_dir) -> None:
    """Both are compared with the same true positions: ours are nearer."""
    events, reader, _ = lysozyme
    offsets, shared, ours, theirs, better = [], 0, 0, 0, []
    for event, peer in dials_spots(data_dir / "nanobragg_lysozyme" / "peers").items():
        mine = centroids(good_spots(reader, event, []))
        distance, row = cKDTree(mine).query(peer)
        same = distance < NEAR_PX
        offsets.append((mine[row] - peer)[same])
        shared, ours, theirs = shared + same.sum(), ours + len(mine), theirs + len(peer)
        tree = cKDTree(visible(data_dir, events, event))
        better.append([np.median(tree.query(part)[0]) for part in (mine[row][same], peer[same])])
    assert shared / theirs > 0.97
    assert ours > 1.3 * theirs
    assert np.abs(np.median(np.concatenate(offsets), axis=0)).max() < 0.02
    mine_px, peer_px = np.median(better, axis=0)
    assert mine_px < peer_px
    print(f"{ours} spots, DIALS {theirs}, {shared} shared; {mine_px:.3f} and {peer_px:.3f} px")


def test_thaumatin(data_dir, tmp_path) -> None:
    """Five crystals and a nearly blank still, in that order."""
    _, reader = spots_of(tmp_path, data_dir / "thaumatin_pilatus")
    shots = reader.shots()
    assert shots["outcome"].tolist() == [*[Outcome.HIT_NOT_INDEXED] * 5, Outcome.MISS]
    assert (shots["n_spots"][:5] > 250).all()
    assert shots["n_spots"][5] < 5
    assert (shots["gain_adu"] == 1).all()


def test_cspad_gain_and_spots(data_dir, tmp_path) -> None:
    """XFEL stills in ADU, gain unknown, noisier in some parts: hundreds of spots, no thousands."""
    _, reader = spots_of(tmp_path, data_dir / "thermolysin_cspad")
    shots = reader.shots()
    assert (shots["outcome"] == Outcome.HIT_NOT_INDEXED).all()
    assert shots["gain_adu"].between(3.5, 5.0).all()
    assert shots["n_spots"].between(150, 400).all()


STILLS = (
    ("nanobragg_lysozyme/lyso130.h5", range(130)),
    *((f"thaumatin_pilatus/thau_3_2_{n:04d}.cbf.bz2", range(1)) for n in (1, 2, 3, 4, 5, 19)),
    *((f"thermolysin_cspad/idx-20130301060858{n}.cbf", range(1)) for n in (401, 601, 701)),
)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "frames"), STILLS, ids=[name for name, _ in STILLS])
def test_looking_only_where_a_band_leaves_room_loses_no_pixel(data_dir, name, frames) -> None:
    """The definition looks at every window of every pixel: the same pixels are strong."""
    raw = open_raw(data_dir / name)
    setup = Setup(raw.detector(0), raw.mask(0), raw.beam(0).direction, SpotfindSettings())
    n_strong = 0
    for number in frames:
        frame, mask, how = as_native(raw.pixels(number)), setup.mask_bytes, Dispersion(3, 3.0, 3.0)
        levels = checked_levels(frame, setup)
        panels = setup.panels_of(levels)
        excess = None if levels.are_photons else local_noise(frame, mask, panels)
        expected = strong_pixels_reference(frame, mask, panels, how, excess)
        np.testing.assert_array_equal(strong_pixels(frame, mask, panels, how, excess), expected)
        n_strong += expected.sum()
    raw.close()
    assert n_strong > 10


def test_radial_mode_finds_the_same_strong_spots(data_dir, tmp_path) -> None:
    _, reader = spots_of(tmp_path / "a", data_dir / "thaumatin_pilatus" / "thau_3_2_0003.cbf.bz2")
    _, radial = spots_of(
        tmp_path / "b",
        data_dir / "thaumatin_pilatus" / "thau_3_2_0003.cbf.bz2",
        settings='{"method": "radial"}',
    )
    strong = good_spots(reader, 0, [])
    strong = strong.take(strong.peak > 40)
    distance, _ = cKDTree(centroids(good_spots(radial, 0, []))).query(centroids(strong))
    assert len(strong) > 200
    assert np.mean(distance < 1) > 0.95
