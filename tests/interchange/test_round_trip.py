"""What is exported and imported again is what it was."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.interchange.a_run import (
    FAILED,
    GAIN_ADU,
    MISS,
    NOT_INDEXED,
    TWO_LATTICES,
    write_run,
)
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.results import RunResults
from xfel_apps.containers.spots import SPOTS
from xfel_apps.interchange import export, load
from xfel_apps.interchange.dials_columns import INDEXED_TYPES
from xfel_apps.interchange.refl import ReflWriter, read_refl

NEAR = {"rtol": 2e-6, "atol": 1e-5}
"""Of numbers that are worked out again, in single precision."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("ours") / "r1")


@pytest.fixture(scope="module")
def back(run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the runs that come back from DIALS' and from CrystFEL's files."""
    folder = tmp_path_factory.mktemp("theirs")
    dials = export([run], "dials", folder / "dials")
    stream = export([run], "crystfel", folder / "all.stream")
    load(dials, folder / "from_dials")
    load(stream[:1], folder / "from_crystfel")
    return {"dials": folder / "from_dials", "crystfel": folder / "from_crystfel"}


def frame(folder: Path, product, table: str) -> pd.DataFrame:
    """Return a table with the frame in the raw file instead of the event's number."""
    results = RunResults(folder)
    rows = results.reader(product).frame(table)
    rows["event"] = results.events.frame["frame"].loc[rows["event"]].to_numpy()
    keys = [k for k in ("event", "lattice", "h", "k", "l", "panel", "fast_px") if k in rows]
    results.close()
    return rows.sort_values(keys, ignore_index=True)


def test_every_shot_but_the_failed_comes_back_with_its_outcome(run, back) -> None:
    for folder in back.values():
        results = RunResults(folder)
        assert list(results.manifests) == ["events", "spots", "crystals", "reflections"]
        frames = results.events.frame["frame"].to_numpy()
        assert sorted(frames) == [e for e in range(7) if e != FAILED]
        ours = RunResults(run).outcomes["outcome"]
        theirs = results.outcomes["outcome"].set_axis(frames)
        assert theirs[theirs.index != MISS].to_dict() == ours.drop([FAILED, MISS]).to_dict()
        results.close()


def test_geometry_and_wavelengths_come_back(run, back) -> None:
    ours = RunResults(run).events
    for folder in back.values():
        events = RunResults(folder).events
        for event, number in enumerate(events.frame["frame"]):
            detector, expected = events.detector(event), ours.detector(int(number))
            np.testing.assert_allclose(detector.origins_mm, expected.origins_mm, atol=2e-8)
            np.testing.assert_allclose(detector.axes, expected.axes, atol=1e-12)
            assert [p.slab_start for p in detector.panels] == [(0, 0), (150, 10)]
            assert events.beam(event).wavelength_ang == pytest.approx(
                ours.beam(int(number)).wavelength_ang, rel=1e-13
            )


def test_the_gain_that_was_found_comes_back(back) -> None:
    for folder in back.values():
        results = RunResults(folder)
        assert {panel.gain for panel in results.events.detectors[0].panels} == {GAIN_ADU}
        assert results.need(SPOTS).extra["gain_adu"] == GAIN_ADU
        results.close()


def test_spots_come_back_from_dials_but_for_hot_pixels(run, back) -> None:
    ours, theirs = (frame(folder, SPOTS, "spots") for folder in (run, back["dials"]))
    is_hot = (ours["panel"] == 0) & (ours["peak_fast"] == 30) & (ours["peak_slow"] == 40)
    assert is_hot.sum() == 6
    ours = ours[~is_hot].reset_index(drop=True)
    exact = [name for name in ours if name != "d_ang"]
    pd.testing.assert_frame_equal(theirs[exact], ours[exact])
    np.testing.assert_allclose(theirs["d_ang"], ours["d_ang"], **NEAR)


def test_good_spots_come_back_from_crystfel(run, back) -> None:
    ours, theirs = (frame(folder, SPOTS, "spots") for folder in (run, back["crystfel"]))
    is_hot = (ours["panel"] == 0) & (ours["peak_fast"] == 30) & (ours["peak_slow"] == 40)
    ours = ours[~is_hot & ((ours["flags"] & 8) == 0)].reset_index(drop=True)
    assert len(ours) > 100
    exact = ["event", "panel", "fast_px", "slow_px", "intensity"]
    pd.testing.assert_frame_equal(theirs[exact], ours[exact])
    np.testing.assert_allclose(theirs["d_ang"], ours["d_ang"], **NEAR)


@pytest.mark.parametrize("program", ["dials", "crystfel"])
def test_lattices_come_back(run, back, program: str) -> None:
    ours, theirs = (frame(folder, CRYSTALS, "crystals") for folder in (run, back[program]))
    assert ours["event"].tolist() == theirs["event"].tolist()
    assert (ours["event"] == TWO_LATTICES).sum() == 2
    assert NOT_INDEXED not in theirs["event"].to_numpy()
    matrix = [f"a_matrix_{i}" for i in range(9)]
    np.testing.assert_allclose(theirs[matrix], ours[matrix], rtol=1e-12, atol=1e-16)
    exact = ["lattice", "space_group", "mosaicity_deg", "block_size_ang"]
    pd.testing.assert_frame_equal(theirs[exact], ours[exact])


def test_indexed_spots_come_back_from_dials(run, back) -> None:
    """The spot of each is at the same place, though its row may be another."""
    tables = [frame(folder, CRYSTALS, "indexed") for folder in (run, back["dials"])]
    names = ["event", "lattice", "h", "k", "l"]
    pd.testing.assert_frame_equal(tables[0][names], tables[1][names])
    np.testing.assert_allclose(
        tables[0]["excitation_invang"], tables[1]["excitation_invang"], **NEAR
    )
    # predicted minus found is worked out again: the run says 0.1 px, noise was added to the spots
    assert np.abs(tables[1]["delta_slow_px"]).max() < 1e-3
    assert 0.05 < tables[1]["delta_fast_px"].std() < 0.2


def test_reflections_come_back_from_dials(run, back) -> None:
    ours, theirs = (frame(folder, REFLECTIONS, "reflections") for folder in (run, back["dials"]))
    worked_out = ["d_ang", "excitation_invang", "polarization"]
    exact = [name for name in ours if name not in worked_out]
    assert set(ours["flags"]) == {0, 1, 2, 3, 4, 8, 16}
    pd.testing.assert_frame_equal(theirs[exact], ours[exact])
    np.testing.assert_allclose(theirs[worked_out], ours[worked_out], **NEAR)


def test_usable_reflections_come_back_from_crystfel(run, back) -> None:
    ours, theirs = (frame(folder, REFLECTIONS, "reflections") for folder in (run, back["crystfel"]))
    ours = ours[ours["flags"] == 0].reset_index(drop=True)
    exact = ["event", "lattice", "h", "k", "l", "panel", "fast_px", "slow_px"]
    exact += ["intensity", "sigma", "background"]
    pd.testing.assert_frame_equal(theirs[exact], ours[exact])
    worked_out = ["d_ang", "excitation_invang", "polarization", "partiality"]
    np.testing.assert_allclose(theirs[worked_out], ours[worked_out], rtol=1e-5, atol=1e-5)


def test_each_stage_can_be_exported_by_itself(tmp_path: Path) -> None:
    """A run that has got as far as its events, its spots or its lattices."""
    folder = write_run(tmp_path / "r1")
    expected = ["imported.expt", "strong.refl", "indexed.expt", "indexed.refl"]
    for last, n_files in (("reflections", 4), ("crystals", 2), ("spots", 1)):
        (folder / f"{last}.json").unlink()
        written = export([folder], "dials", tmp_path / f"before_{last}")
        assert [path.name for path in written] == expected[:n_files]
        stream, _ = export([folder], "crystfel", tmp_path / f"before_{last}.stream")
        assert stream.read_text().count("Begin crystal") == (5 if last == "reflections" else 0)
        back = load(written, tmp_path / f"back_{last}")
        assert len(back) == {"reflections": 3, "crystals": 2, "spots": 1}[last]


def test_spots_that_dials_did_not_index_are_counted(run: Path, tmp_path: Path, capsys) -> None:
    export([run], "dials", tmp_path)
    table = read_refl(tmp_path / "indexed.refl")
    ids = table.columns["id"].copy()
    ids[:7] = -1
    with ReflWriter(tmp_path / "indexed.refl", INDEXED_TYPES) as writer:
        writer.append({**table.columns, "id": ids})
        writer.finish([table.identifiers[i] for i in range(len(table.identifiers))])
    load([tmp_path / "indexed.expt", tmp_path / "indexed.refl"], tmp_path / "back")
    assert f"7 of {table.n_rows} rows belong to no experiment" in capsys.readouterr().err
    spots = frame(tmp_path / "back", SPOTS, "spots")
    assert len(spots) == table.n_rows - 7
