"""Crystals indexed in several ways, put into one without a reference."""

from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest

from benchmarks.merge_data import Simulation, write_run
from tests.ranks import run_on_every
from xfel_apps.compute.french_wilson import french_wilson, normalized_amplitude
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.intensities.asu import unique_reflections
from xfel_apps.merge.ambiguity import most_as_they_are, turned_reflections
from xfel_apps.merge.pipeline import Result, merge
from xfel_apps.merge.settings import MergeSettings
from xfel_apps.mpi import serial

P61 = Simulation(
    cell=(60, 60, 90, 90, 90, 120),
    space_group="P 61",
    d_min_ang=4.0,
    n_crystals=60,
    n_each=150,
    relative_error=0.1,
    is_mixed=True,
)


def merged(folder: Path, simulation: Simulation, **settings: object) -> Result:
    path = write_run(folder / "reflections.json", simulation.lattices())
    return merge(serial(), [path], MergeSettings.checked({"d_min_ang": 4.0, **settings}))


@pytest.mark.parametrize(("space_group", "n_ways"), [("P 61", 2), ("P 31", 4)])
@pytest.mark.parametrize("friedel_apart", [False, True])
def test_all_crystals_come_out_in_one_way(
    tmp_path: Path, space_group: str, n_ways: int, friedel_apart: bool
) -> None:
    simulation = replace(P61, space_group=space_group)
    given = simulation.modes()
    assert np.bincount(given).tolist() == [60 // n_ways] * n_ways
    result = merged(tmp_path, simulation, friedel_apart=friedel_apart)
    assert len(set(simulation.modes_after(result.mode))) == 1
    hkl, _, truth = simulation.unique()
    turned = hkl @ simulation.operators()[simulation.modes_after(result.mode)[0]]
    slot = result.unique.slots(turned) // result.unique.slots_each
    found = result.merged.mean.intensity[slot]
    known = np.isfinite(found)
    assert np.corrcoef(found[known], truth[known])[0, 1] > 0.98


def test_most_crystals_stay_as_they_are(tmp_path: Path) -> None:
    lattices = [item for item in P61.lattices() if P61.modes()[item[0]] == 1 or item[0] < 30]
    given = P61.modes()[[event for event, _ in lattices]]
    assert 0 < np.sum(given == 0) < np.sum(given == 1)
    path = write_run(tmp_path / "reflections.json", lattices)
    result = merge(serial(), [path], MergeSettings(d_min_ang=4.0))
    np.testing.assert_array_equal(result.mode, given == 0)


def test_four_ways_are_named_after_the_commonest() -> None:
    cell, group = gemmi.UnitCell(60, 60, 90, 90, 90, 120), gemmi.SpaceGroup("P 31")
    unique = unique_reflections(cell, group, (5.0, 100.0), friedel_apart=False)
    operators = replace(P61, space_group="P 31").operators()
    table = turned_reflections(unique, operators)
    mode = np.array([2, 2, 2, 1, 3, 0], dtype=np.int8)
    named = most_as_they_are(mode, np.ones(6, dtype=bool), table)
    assert named[:3].tolist() == [0, 0, 0]
    assert sorted(named[2:].tolist()) == [0, 1, 2, 3]


def test_noise_decides_nothing(tmp_path: Path) -> None:
    result = merged(tmp_path, replace(P61, level=1e-6), max_relative_sigma=1e9)
    assert result.ways is not None
    assert not result.ways.is_decided
    assert not result.mode.any()


def test_left_as_indexed_on_request(tmp_path: Path) -> None:
    result = merged(tmp_path, P61, ambiguity="none")
    assert result.ways is None
    assert len(result.operators) == 1


def test_any_number_of_ranks_gives_the_same_files(tmp_path: Path) -> None:
    path = write_run(tmp_path / "reflections.json", P61.lattices())
    argv = ["--reflections", str(path), "--merged", str(tmp_path / "{size}" / "merged.json")]
    run_on_every((1, 2, 3), "xfel_apps.merge.__main__", *argv, "--settings", '{"d_min_ang": 4.0}')
    files = [{p.name: p.read_bytes() for p in (tmp_path / str(n)).iterdir()} for n in (1, 2, 3)]
    assert files[0] == files[1] == files[2]
    manifest = MergedManifest.read(tmp_path / "2" / "merged.json")
    assert list(manifest.modes.values()) == [30, 30]
    assert manifest.modes_chosen.startswith("by how the crystals agree")


def test_table_of_amplitudes_is_that_of_the_integral() -> None:
    rng = np.random.default_rng(0)
    sigma = np.exp(rng.normal(0, 1.5, 500))
    intensity = rng.exponential(size=500) + sigma * rng.normal(size=500)
    exact, _ = french_wilson(intensity, sigma, np.ones(500), np.zeros(500, dtype=bool))
    np.testing.assert_allclose(normalized_amplitude(intensity, sigma), exact, rtol=0.02)
