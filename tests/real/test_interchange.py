"""What DIALS and CrystFEL wrote of real and simulated shots is read as they counted it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xfel_apps.compare.intensities import agreement, read_mtz
from xfel_apps.compare.truth import Truth
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.results import RunResults
from xfel_apps.containers.spots import SPOTS
from xfel_apps.geometry.stills import ray_on_sphere
from xfel_apps.integrate.__main__ import main as integrate
from xfel_apps.interchange import export, load
from xfel_apps.merge.__main__ import main as merge
from xfel_apps.mpi import serial
from xfel_apps.process import Request, process

PEERS = "nanobragg_lysozyme/peers"
FILES = {
    "CSPAD stream": (["crystfel_stream/test.stream"], "C2221", (70, 2172, 32, 7966)),
    "simulated stream": ([f"{PEERS}/xg.stream"], "P43212", (130, 3427, 71, 21020)),
    "stills_process, integrated": (
        [f"{PEERS}/idx-000{i}_integrated.{kind}" for i in (0, 1) for kind in ("expt", "refl")],
        None,
        (71, 0, 71, 15018),
    ),
    "stills_process, all": (
        [
            f"{PEERS}/idx-000{i}_{name}"
            for i in (0, 1)
            for name in ("refined.expt", "indexed.refl", "integrated.expt", "integrated.refl")
        ],
        None,
        (71, 3844, 71, 15018),
    ),
    "CuNiR, strong": (
        ["cunir_ssx/imported_no_ref_5.expt", "cunir_ssx/strong_5.refl"],
        None,
        (5, 759, 0, 0),
    ),
    "CuNiR, indexed": (
        ["cunir_ssx/indexed.expt", "cunir_ssx/indexed.refl"],
        None,
        (5, 360, 5, 0),
    ),
    "CuNiR, integrated": (
        ["cunir_ssx/integrated.expt", "cunir_ssx/integrated.refl"],
        None,
        (5, 0, 5, 5203),
    ),
    "CSPAD, indexed": (
        ["cspad_lysozyme/benchmark_level2d.json", "cspad_lysozyme/benchmark_level2d.refl"],
        None,
        (300, 8790, 300, 0),
    ),
}


def read(data_dir: Path, name: str, out: Path) -> RunResults:
    paths, space_group, _ = FILES[name]
    load([data_dir / path for path in paths], out, space_group)
    return RunResults(out)


@pytest.mark.parametrize("name", FILES)
def test_counts_are_those_of_the_files(data_dir: Path, tmp_path: Path, name: str) -> None:
    results = read(data_dir, name, tmp_path / "run")
    tables = ((SPOTS, "spots"), (CRYSTALS, "crystals"), (REFLECTIONS, "reflections"))
    found = [
        len(results.reader(product).frame(table)) if results.has(product) else 0
        for product, table in tables
    ]
    results.close()
    assert (len(results.events.frame), *found) == FILES[name][2]


@pytest.mark.parametrize(
    ("name", "median_px"),
    [
        ("simulated stream", 0.06),
        ("CSPAD stream", 0.5),  # CrystFEL moved the detector for each crystal
        ("stills_process, integrated", 0.1),  # DIALS turns lattice points to the sphere
    ],
)
def test_lattices_are_in_the_frame_of_the_detector(
    data_dir: Path, tmp_path: Path, name: str, median_px: float
) -> None:
    """Where the other program predicted its reflections, our geometry has them too."""
    results = read(data_dir, name, tmp_path / "run")
    reader, events = results.reader(REFLECTIONS), results.events
    crystals = reader.frame("crystals").set_index(["event", "lattice"])
    matrices = crystals[[f"a_matrix_{i}" for i in range(9)]]
    off = []
    for key, rows in reader.frame("reflections").groupby(["event", "lattice"]):
        a_matrix = matrices.loc[key].to_numpy(float).reshape(3, 3)
        s1 = ray_on_sphere(rows[["h", "k", "l"]].to_numpy() @ a_matrix.T, events.beam(key[0]).s0)
        panel = rows["panel"].to_numpy(np.int64)
        fast, slow = events.detector(key[0]).panel_pixels(panel, s1)
        off.append(np.hypot(fast - rows["fast_px"], slow - rows["slow_px"]))
    results.close()
    assert np.median(np.concatenate(off)) < median_px


@pytest.mark.parametrize(
    ("name", "n_merged"), [("simulated stream", 4200), ("stills_process, integrated", 3326)]
)
def test_what_others_integrated_is_merged(
    data_dir: Path, tmp_path: Path, name: str, n_merged: int
) -> None:
    """Better than they merged about as many themselves: CC 0.885 and 0.864 to the truth."""
    read(data_dir, name, tmp_path / "run").close()
    merged = tmp_path / "merged.json"
    argv = ["--reflections", str(tmp_path / "run" / "reflections.json"), "--merged", str(merged)]
    assert merge([*argv, "--settings", '{"d_min_ang": 2.3}'], serial()) == 0
    truth = Truth.read(data_dir / "nanobragg_lysozyme" / "truth.h5")
    found = read_mtz(tmp_path / "merged.mtz")
    result = agreement(found, truth.intensities, truth.cell, (1e9, 2.3))
    assert result.n_merged > n_merged
    assert result.cc > 0.95


@pytest.mark.slow
def test_lattices_that_went_through_dials_files_are_integrated_to_the_same_bits(
    data_dir: Path, tmp_path: Path
) -> None:
    """Real CSPAD frames: 64 panels, a gain that spotfind finds, several lattices."""
    frames = [str(path) for path in sorted((data_dir / "thermolysin_cspad").glob("*.cbf"))]
    cell = {"cell": "93.2 93.2 130.7 90 90 120", "space_group": "P6122"}
    process(Request(frames, tmp_path / "ours", 1, False, {"index": cell}))
    files = export([tmp_path / "ours"], "dials", tmp_path / "dials")
    back = tmp_path / "run"  # of the same name, for shots to be named alike
    load([path for path in files if path.stem != "integrated"], back)
    names = ["--events", "--spots", "--crystals", "--reflections"]
    paths = [str(back / f"{name[2:]}.json") for name in names]
    assert integrate([text for pair in zip(names, paths, strict=True) for text in pair]) == 0
    tables = []
    for folder in (tmp_path / "ours" / "run", back):
        results = RunResults(folder)
        tables.append(results.reader(REFLECTIONS).frame("reflections"))
        results.close()
    assert len(tables[0]) > 1000
    pd.testing.assert_frame_equal(tables[0], tables[1])
