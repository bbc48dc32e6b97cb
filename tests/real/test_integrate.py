"""Integration of real stills, and of stills that another group's program simulated."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from xfel_apps import mpi
from xfel_apps.containers.manifest import open_product
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.geometry.mosaic import Mosaic
from xfel_apps.geometry.prediction import Lattice
from xfel_apps.index.__main__ import main as index
from xfel_apps.ingest.__main__ import main as ingest
from xfel_apps.integrate.__main__ import main as integrate
from xfel_apps.integrate.predicted import Shot
from xfel_apps.integrate.rows import best_estimate, flags_of
from xfel_apps.integrate.settings import IntegrateSettings
from xfel_apps.integrate.shot import integrate_shot
from xfel_apps.sources import FrameCache
from xfel_apps.spotfind.__main__ import main as spotfind


def reflections_of(folder: Path, paths: list[Path], settings: str) -> pd.DataFrame:
    """Return the usable reflections of images, processed from the beginning."""
    done = [f"--{name}={folder / name}.json" for name in REFLECTIONS_AND_BEFORE]
    comm = mpi.serial()
    assert ingest([done[0], "--run=r", *map(str, paths)], comm) == 0
    assert spotfind(done[:2], comm) == 0
    assert index([*done[:3], f"--settings={settings}"], comm) == 0
    assert integrate(done, comm) == 0
    _, reader = open_product(folder / "reflections.json", REFLECTIONS)
    frame = reader.frame("reflections")
    reader.close()
    return frame[frame["flags"] == 0]


REFLECTIONS_AND_BEFORE = ("events", "spots", "crystals", "reflections")


def n_clear(reflections: pd.DataFrame) -> list[int]:
    """Return the number of reflections with I/sigma above 3 of each shot, in order."""
    clear = reflections["intensity"] > 3 * reflections["sigma"]
    return clear.groupby(reflections["event"]).sum().tolist()


def test_xfel_stills_of_thermolysin(data_dir: Path, tmp_path: Path) -> None:
    """More than DIALS has (56 to 174 a still), and strong in the inner shells."""
    paths = sorted((data_dir / "thermolysin_cspad").glob("*.cbf"))
    settings = '{"cell": "93.2 93.2 130.7 90 90 120", "space_group": "P6122"}'
    found = reflections_of(tmp_path, paths, settings)
    clear = n_clear(found)
    assert len(clear) == 3
    assert min(clear) > 120
    assert sum(clear) > 600
    inner = found[(found["d_ang"] > 4.0) & (found["partiality"] > 0.5)]
    assert (inner["intensity"] / inner["sigma"]).median() > 1.0


def test_synchrotron_stills_of_thaumatin(data_dir: Path, tmp_path: Path) -> None:
    """DIALS has 592 to 1,914 with I/sigma above 3 on the five stills, the first the least."""
    paths = sorted((data_dir / "thaumatin_pilatus").glob("*_000[1-5].cbf.bz2"))
    settings = '{"cell": "58 58 150 90 90 90", "space_group": "P41212"}'
    clear = n_clear(reflections_of(tmp_path, paths, settings))
    assert clear[0] > 640
    assert min(clear[1:]) > 1600


@pytest.fixture(scope="module")
def truth(data_dir: Path) -> dict[str, np.ndarray]:
    with h5py.File(data_dir / "nanobragg_lysozyme" / "truth.h5") as file:
        return {name: file[name][()] for name in ("A", "hit", "wl", "F_hkl", "I_true")}


def test_intensities_follow_the_truth(data_dir: Path, truth: dict[str, np.ndarray]) -> None:
    """With the true lattices: plain means of 72 stills against the true intensities.

    Peers' means without scaling reach 0.864 over 58 % of the 5,740 unique reflections (cctbx) and
    0.904 over 73 % (CrystFEL), with lattices of their own.
    """
    path = data_dir / "nanobragg_lysozyme" / "lyso130.h5"
    frames = FrameCache()
    file = frames.file(path)
    parts = []
    for frame in np.flatnonzero(truth["hit"]):
        shot = Shot(
            frames.pixels(path, frame),
            frames.mask(path, frame),
            file.detector(frame),
            file.beam(frame),
            spot_radius_px=3.0,
        )
        lattice = Lattice(truth["A"][frame], "P 43 21 2", Mosaic(0.05, 1580.0))
        done = integrate_shot(shot, [lattice], [2.5], IntegrateSettings(d_min_ang=2.3))
        good = flags_of(done.sums, IntegrateSettings()) == 0
        parts.append(np.column_stack([done.found.hkl, best_estimate(done)[0]])[good])
    frames.close()
    means, true = _means_and_truth(np.concatenate(parts), truth)
    assert len(means) > 0.85 * 5740
    assert np.corrcoef(means, true)[0, 1] > 0.9


def _means_and_truth(
    rows: np.ndarray, truth: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and true intensity of each unique reflection; columns h, k, l, intensity."""
    hkl = np.sort(np.abs(rows[:, :2]), axis=1)[:, ::-1]
    table = pd.DataFrame({"h": hkl[:, 0], "k": hkl[:, 1], "l": np.abs(rows[:, 2]), "i": rows[:, 3]})
    means = table.groupby(["h", "k", "l"])["i"].mean()
    index = pd.MultiIndex.from_arrays(truth["F_hkl"].T, names=["h", "k", "l"])
    both = pd.concat([means, pd.Series(truth["I_true"], index, name="true")], axis=1, join="inner")
    return both["i"].to_numpy(), both["true"].to_numpy()
