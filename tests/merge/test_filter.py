"""Crystals that do not belong: with wrong indices, thrown out by how they agree with the others."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.merge_data import Lattice, write_run
from tests.merge.stills import Stills
from xfel_apps.merge.crystals import Verdict
from xfel_apps.merge.delta import Moments, cc_half, delta_cc_half, unusual
from xfel_apps.merge.pipeline import Result, merge
from xfel_apps.merge.settings import MergeSettings
from xfel_apps.mpi import serial

STILLS = Stills(n_crystals=80)
WRONG = {"orientation": range(0, 80, 7), "indices": range(3, 80, 9)}
KEEP_ALL = {"min_log_odds": -1e9, "min_correlation": -1.0}


def contaminated() -> Iterator[tuple[int, Lattice]]:
    """Yield crystals, some with their intensities mixed up, some with indices off by one."""
    rng = np.random.default_rng(1)
    for event, lattice in STILLS.lattices():
        columns = dict(lattice.columns)
        if event in WRONG["orientation"]:
            order = rng.permutation(len(columns["h"]))
            columns |= {name: columns[name][order] for name in ("intensity", "sigma")}
        elif event in WRONG["indices"]:
            columns["l"] = columns["l"] + 1
        yield event, replace(lattice, columns=columns)


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("dirty") / "reflections.json", contaminated())


def merged(path: Path, **settings: float) -> Result:
    return merge(serial(), [path], MergeSettings.checked({"d_min_ang": 4.0, **settings}))


def wrong(result: Result) -> np.ndarray:
    events = result.dataset.crystals["event"].to_numpy()
    return np.isin(events, [*WRONG["orientation"], *WRONG["indices"]])


def cc(result: Result) -> float:
    hkl, plus, minus = STILLS.unique
    truth = np.full(len(result.unique), np.nan)
    truth[result.unique.slots(hkl) // result.unique.slots_each] = 0.5 * (plus + minus)
    known = result.merged.is_measured
    return float(np.corrcoef(result.merged.mean.intensity[known], truth[known])[0, 1])


def test_wrong_crystals_are_thrown_out(dirty: Path) -> None:
    everything, filtered = merged(dirty, **KEEP_ALL), merged(dirty)
    used = filtered.verdict == Verdict.USED.code
    assert not used[wrong(filtered)].any()
    assert used[~wrong(filtered)].mean() > 0.9
    assert cc(everything) < 0.9
    assert cc(filtered) > 0.97


def test_delta_cc_half_throws_out_wrong_crystals_too(dirty: Path) -> None:
    filtered = merged(dirty, **KEEP_ALL, max_delta_cc_half_sigma=3.0)
    refused = filtered.verdict == Verdict.DELTA.code
    assert refused[wrong(filtered)].mean() > 0.5
    assert refused[~wrong(filtered)].mean() < 0.15
    assert cc(filtered) > cc(merged(dirty, **KEEP_ALL))


def test_good_crystals_stay(tmp_path: Path) -> None:
    """However weak they are."""
    path = write_run(tmp_path / "reflections.json", replace(STILLS, level=60.0).lattices())
    assert (merged(path).verdict == Verdict.USED.code).sum() >= 79


def test_change_of_cc_half_is_that_of_leaving_the_crystal_out(dirty: Path) -> None:
    result = merged(dirty, **KEEP_ALL)
    averager, state = result.averager, result.state
    obs, kept = averager.mine, ~averager.rejected
    x, variance = averager.expectation(obs, state.scales, state.model, state.weigh_by)
    full = x * state.prior.mean[obs.slot]
    found = delta_cc_half(averager, state)

    def cc_without(crystal: int) -> float:
        rows = kept & (obs.crystal != crystal)
        weight, value = full[rows] ** 2 / variance[rows], obs.intensity[rows] / full[rows]
        sums = []
        for slot in np.unique(obs.slot[rows]):
            mine = obs.slot[rows] == slot
            n, w, y = mine.sum(), weight[mine], value[mine]
            if n > 1:
                mean = np.average(y, weights=w)
                half = 2 * np.average((y - mean) ** 2, weights=w) / (n - 1)
                sums.append([1, mean, mean**2, half])
        return float(cc_half(np.sum(sums, axis=0)))

    whole = cc_without(-1)
    for crystal in (0, 1, 40):
        assert found[crystal] == pytest.approx(whole - cc_without(crystal), rel=1e-5, abs=1e-9)


def test_sigma_tau_by_hand() -> None:
    """Means 1 and 3, each of two values 1 apart about it: tau^2 = 1, sigma^2 of a half 0.5."""
    moments = Moments(
        weight=np.array([2.0, 2.0, 1.0]),
        value=np.array([2.0, 6.0, 9.0]),
        square=np.array([0.5**2 + 1.5**2, 2.5**2 + 3.5**2, 81.0]),
        count=np.array([2.0, 2.0, 1.0]),
    )
    assert cc_half(moments.spread().sum(axis=1)) == pytest.approx((1 - 0.25) / (1 + 0.25))


def test_few_crystals_have_no_usual_change() -> None:
    assert not unusual(np.array([0.0, 0.1, -9.0]), np.ones(3, bool), 3.0).any()
