"""The app on made-up crystals whose truth is known."""

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

from benchmarks.merge_data import Lattice, Simulation, write_run
from tests.merge.stills import Stills
from tests.ranks import run_on_every
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.intensities.asu import ambiguity_operators
from xfel_apps.intensities.statistics import statistics
from xfel_apps.merge import averaging, observations
from xfel_apps.merge.__main__ import main
from xfel_apps.merge.pipeline import Result, merge
from xfel_apps.merge.settings import MergeSettings
from xfel_apps.mpi import serial

SMALL = Simulation(d_min_ang=4.0, n_crystals=80, n_each=150)


def written(folder: Path, simulation: Simulation, run: str = "r1") -> Path:
    return write_run(folder / run / "reflections.json", simulation.lattices(), run)


def truth_of(result: Result, simulation: Simulation) -> np.ndarray:
    hkl, _, intensity = simulation.unique()
    truth = np.full(len(result.unique), np.nan)
    slot = result.unique.slots(hkl) // result.unique.slots_each
    truth[slot[slot >= 0]] = intensity[slot >= 0]
    return truth


def merged(folder: Path, simulation: Simulation, **settings: object) -> tuple[Result, np.ndarray]:
    path = written(folder, simulation)
    result = merge(serial(), [path], MergeSettings.checked({"d_min_ang": 4.0, **settings}))
    return result, truth_of(result, simulation)


def cc(result: Result, truth: np.ndarray) -> float:
    known = result.merged.is_measured
    return float(np.corrcoef(result.merged.mean.intensity[known], truth[known])[0, 1])


def test_scales_and_intensities_are_found(tmp_path: Path) -> None:
    simulation = replace(SMALL, n_crystals=200, sd_log_scale=0.8)
    result, truth = merged(tmp_path, simulation)
    log_scale, b_ang2 = simulation.scales()
    scales = result.state.scales
    assert cc(result, truth) > 0.998
    assert np.std(scales.log_scale - log_scale) < 0.1
    assert np.corrcoef(scales.log_scale, log_scale)[0, 1] > 0.98
    assert np.corrcoef(scales.b_ang2, b_ang2)[0, 1] > 0.7


def test_sigmas_are_true_errors(tmp_path: Path) -> None:
    result, truth = merged(tmp_path, replace(SMALL, n_crystals=200))
    mean = result.merged.mean
    level = np.nansum(mean.intensity * truth) / np.nansum(truth**2)
    deviation = ((mean.intensity - level * truth) / mean.sigma)[result.merged.is_measured]
    assert 0.8 < np.median(np.abs(deviation)) * 1.4826 < 1.25
    assert abs(np.median(deviation)) < 0.15


def test_scatter_beyond_counting_widens_sigmas(tmp_path: Path) -> None:
    simulation = replace(SMALL, n_crystals=200, relative_error=0.3)
    result, truth = merged(tmp_path, simulation)
    assert 0.15 < result.state.model.relative < 0.45
    mean = result.merged.mean
    level = np.nansum(mean.intensity * truth) / np.nansum(truth**2)
    deviation = ((mean.intensity - level * truth) / mean.sigma)[result.merged.is_measured]
    assert 0.7 < np.median(np.abs(deviation)) * 1.4826 < 1.4


@pytest.mark.parametrize("relative_error", [0.0, 0.3])
def test_repeats_scatter_as_sigmas_say_weak_or_strong(
    tmp_path: Path, relative_error: float
) -> None:
    simulation = replace(SMALL, n_crystals=200, relative_error=relative_error)
    result, _ = merged(tmp_path, simulation)
    stats = statistics(result.merged, result.scatter, 5)
    assert stats.overall.chi_square == pytest.approx(1.0, abs=0.1)
    assert len(stats.intensities) == 10
    assert {0.7 < found.chi_square < 1.35 for found in stats.intensities} == {True}


def test_scaling_and_partiality_each_help(tmp_path: Path) -> None:
    simulation = replace(SMALL, sd_log_scale=0.8)
    both, truth = merged(tmp_path / "a", simulation)
    unity, _ = merged(tmp_path / "b", simulation, partiality="unity")
    plain, _ = merged(tmp_path / "c", simulation, partiality="unity", scaling="none")
    assert cc(both, truth) > cc(unity, truth) > cc(plain, truth)


def test_weak_data_do_not_suffer_from_scaling(tmp_path: Path) -> None:
    simulation = replace(SMALL, level=8.0, n_each=60, sd_log_scale=0.3, sd_b_ang2=1.0)
    scaled, truth = merged(tmp_path / "a", simulation)
    plain, _ = merged(tmp_path / "b", simulation, scaling="none")
    assert cc(scaled, truth) > cc(plain, truth) - 0.02


def test_outliers_are_rejected(tmp_path: Path) -> None:
    def spoilt() -> Iterator[tuple[int, Lattice]]:
        for event, lattice in replace(SMALL, n_crystals=200).lattices():
            intensity = lattice.columns["intensity"].copy()
            intensity[0] = 1e6
            yield event, replace(lattice, columns={**lattice.columns, "intensity": intensity})

    path = write_run(tmp_path / "reflections.json", spoilt())
    result = merge(serial(), [path], MergeSettings(d_min_ang=4.0))
    assert result.n_rejected >= 190
    assert cc(result, truth_of(result, SMALL)) > 0.99


def test_noise_alone_has_no_correlation(tmp_path: Path) -> None:
    result, _ = merged(tmp_path, replace(SMALL, level=1e-6), max_relative_sigma=1e9)
    first, second = (half.intensity for half in result.merged.halves)
    known = np.isfinite(first) & np.isfinite(second)
    assert abs(np.corrcoef(first[known], second[known])[0, 1]) < 4 / np.sqrt(known.sum())


def test_foreign_crystals_are_refused_with_the_reason(tmp_path: Path) -> None:
    def mixed() -> Iterator[tuple[int, Lattice]]:
        for event, lattice in SMALL.lattices():
            columns = dict(lattice.columns)
            if event == 3:
                yield event, replace(lattice, a_matrix=lattice.a_matrix * 1.1)
            elif event == 4:
                yield event, replace(lattice, space_group="P 4")
            elif event == 5:
                yield event, replace(lattice, columns={k: v[:5] for k, v in columns.items()})
            elif event in (6, 7):
                columns["intensity"] = 1000 - columns["intensity"]
                yield event, replace(lattice, columns=columns)
            else:
                yield event, lattice

    path = write_run(tmp_path / "reflections.json", mixed())
    out = tmp_path / "merged.json"
    settings = '{"d_min_ang": 4.0}'
    argv = ["--reflections", str(path), "--merged", str(out), "--settings", settings]
    assert main(argv, serial()) == 0
    crystals = MergedManifest.read(out).crystals
    assert crystals["cell too far from the merged cell"] == 1
    assert crystals["another space group"] == 1
    assert crystals["too few usable reflections"] == 1
    assert crystals["does not correlate with the others"] == 2
    assert crystals["used"] == 75


def test_reference_settles_the_way_of_indexing(tmp_path: Path) -> None:
    simulation = replace(
        SMALL, cell=(60, 60, 60, 90, 90, 90), space_group="P 21 3", d_min_ang=4.0, n_crystals=60
    )
    hkl, _, intensity = simulation.unique()
    group, cell = gemmi.SpaceGroup("P 21 3"), gemmi.UnitCell(60, 60, 60, 90, 90, 90)
    other = ambiguity_operators(cell, group)[1]

    def ambiguous() -> Iterator[tuple[int, Lattice]]:
        for event, lattice in simulation.lattices():
            if event % 2:
                turned = np.stack([lattice.columns[name] for name in "hkl"], axis=1) @ other
                columns = {**lattice.columns, **dict(zip("hkl", turned.T, strict=True))}
                yield event, replace(lattice, columns=columns)
            else:
                yield event, lattice

    reference = gemmi.Mtz(with_base=True)
    reference.spacegroup = group
    reference.add_dataset("truth")
    reference.set_cell_for_all(cell)
    reference.add_column("IMEAN", "J")
    reference.set_data(np.column_stack([hkl, intensity]).astype(np.float32))
    reference.write_to_file(str(tmp_path / "truth.mtz"))
    path = write_run(tmp_path / "reflections.json", ambiguous())
    for scaling in ("mean", "reference"):
        settings = MergeSettings(d_min_ang=4.0, reference=tmp_path / "truth.mtz", scaling=scaling)
        result = merge(serial(), [path], settings)
        assert result.mode.tolist() == [0, 1] * 30
        assert cc(result, truth_of(result, simulation)) > 0.98


def test_friedel_mates_apart_or_together_give_the_same_mean(tmp_path: Path) -> None:
    together, _ = merged(tmp_path / "a", SMALL, scaling="none", error_model="none")
    apart, _ = merged(tmp_path / "b", SMALL, scaling="none", error_model="none", friedel_apart=True)
    assert apart.merged.mates is not None
    plus, minus = apart.merged.mates
    np.testing.assert_array_equal(plus.count + minus.count, apart.merged.mean.count)
    one, two = together.merged.mean.intensity, apart.merged.mean.intensity
    known = np.isfinite(one) & np.isfinite(two)
    assert np.corrcoef(one[known], two[known])[0, 1] > 0.99
    assert not np.isfinite(minus.intensity[apart.unique.centric]).any()


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs, the first of crystals that need turning, the second with two in every shot."""
    folder = tmp_path_factory.mktemp("runs")
    stills = Stills(n_crystals=30, seed=SMALL.seed)
    first = write_run(folder / "r0001" / "reflections.json", stills.lattices(), "r0001")
    second = ((event // 2, lattice) for event, lattice in replace(SMALL, n_crystals=31).lattices())
    return [first, write_run(folder / "r0002" / "reflections.json", second, "r0002")]


def test_any_number_of_ranks_gives_the_same_files(tmp_path: Path, two_runs: list[Path]) -> None:
    settings = json.dumps({"d_min_ang": 4.0, "write_unmerged": True, "friedel_apart": True})
    here = tmp_path / "here" / "merged.json"
    names = [str(path) for path in two_runs]
    argv = ["--reflections", *names[::-1], "--merged", str(here), "--settings", settings]
    assert main(argv, serial()) == 0
    each = ["--merged", str(tmp_path / "{size}" / "merged.json"), "--settings", settings]
    run_on_every((1, 2, 3, 5), "xfel_apps.merge.__main__", "--reflections", *names, *each)
    for size in (1, 2, 3, 5):
        assert outputs(here.parent) == outputs(tmp_path / str(size)), f"{size} ranks"
    used = MergedManifest.read(here).crystals["used"]
    assert used >= 59
    unmerged = gemmi.read_mtz_file(str(here.with_name("unmerged.mtz")))
    numbers = [batch.number for batch in unmerged.batches]
    assert len(numbers) == used
    assert set(numbers) <= set(range(1, 62))


def test_what_is_read_at_a_time_changes_nothing(
    tmp_path: Path, two_runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, n_rows in (("large", 10**6), ("small", 700)):
        monkeypatch.setattr(observations, "BLOCK_ROWS", n_rows)
        argv = ["--reflections", *map(str, two_runs), "--settings", '{"d_min_ang": 4.0}']
        assert main([*argv, "--merged", str(tmp_path / folder / "merged.json")], serial()) == 0
    assert outputs(tmp_path / "large") == outputs(tmp_path / "small")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"d_mim_ang": 2.0}, "d_mim_ang"),
        ({"space_group": "P 99"}, "P 99"),
        ({"scaling": "reference"}, "merge.reference"),
        ({"reference": "/nowhere.mtz"}, "/nowhere.mtz"),
        ({"cell": [10, 20, 30, 90, 90, 90]}, "merge.cell"),
        ({"min_reflections": 100000}, "min_reflections"),
        ({"d_min_ang": 50.0, "d_max_ang": 20.0}, "d_min_ang"),
    ],
)
def test_mistakes_are_said_in_one_line(
    tmp_path: Path,
    two_runs: list[Path],
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, object],
    said: str,
) -> None:
    argv = ["--reflections", str(two_runs[0]), "--merged", str(tmp_path / "merged.json")]
    assert main([*argv, "--settings", json.dumps(settings)], serial()) == 1
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1
    assert not (tmp_path / "merged.json").exists()


def test_missing_input_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--reflections", str(tmp_path / "no.json"), "--merged", str(tmp_path / "m.json")]
    assert main(argv, serial()) == 1
    assert "no.json" in capsys.readouterr().err


def test_stopped_by_a_signal_writes_nothing(
    tmp_path: Path, two_runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = averaging.Averager.cycle

    def stopped(*args: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return original(*args, **options)

    monkeypatch.setattr(averaging.Averager, "cycle", stopped)
    argv = ["--reflections", str(two_runs[0]), "--merged", str(tmp_path / "merged.json")]
    assert main([*argv, "--settings", '{"d_min_ang": 4.0}'], serial()) == 75
    assert list(tmp_path.iterdir()) == []
