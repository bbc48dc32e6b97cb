"""Shifts drawn at random have the means they should, and bring the work they should."""

import numpy as np
import pytest

from xfel_apps.plan.arrivals import draw_runs, draw_shift
from xfel_apps.plan.presets import PRESETS, merged
from xfel_apps.plan.settings import BeamTime, PlanSettings

LONG = {"shift_h": 5000.0, "runs_per_sample": 4.0}


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_runs_and_gaps_are_as_long_and_as_spread_as_set():
    beam = BeamTime.checked({**LONG, "run_spread": 0.5, "hit_fraction": 0.3, "hit_spread": 0.1})
    runs = list(draw_runs(beam, rng()))
    lengths_min = np.array([run.end_s - run.start_s for run in runs]) / 60
    starts_s, ends_s = (
        np.array([getattr(run, name) for run in runs]) for name in ("start_s", "end_s")
    )
    gaps_min = (starts_s[1:] - ends_s[:-1]) / 60
    hits = np.array([run.hit_fraction for run in runs])
    assert gaps_min.min() >= 0
    assert lengths_min.mean() == pytest.approx(10, rel=0.03)
    assert lengths_min.std() == pytest.approx(5, rel=0.05)
    assert gaps_min.mean() == pytest.approx(0.75 * 5 + 0.25 * 20, rel=0.05)
    assert (hits.mean(), hits.std()) == pytest.approx((0.3, 0.1), rel=0.05)
    assert sum(run.shots for run in runs) == pytest.approx(120 * 60 * lengths_min.sum())


def test_without_spread_a_shift_can_be_written_down():
    beam = {"shift_h": 1, "run_spread": 0, "gap_spread": 0, "runs_per_sample": 1e9, "hit_spread": 0}
    runs = list(draw_runs(BeamTime.checked(beam), rng()))
    assert [(run.start_s / 60, run.end_s / 60) for run in runs] == [
        (5, 15), (20, 30), (35, 45), (50, 60),
    ]  # fmt: skip


def test_chunks_have_the_work_of_their_run():
    settings = PlanSettings.checked({"beam": {"chunk_min": 3, "transfer_min": 1}})
    whole = PlanSettings.checked({"beam": {"transfer_min": 1}})
    chunks, runs = draw_shift(settings, rng()), draw_shift(whole, rng())
    assert chunks.runs == runs.runs
    for job in runs.jobs:
        parts = [part for part in chunks.jobs if part.run == job.run]
        assert sum(part.work_s for part in parts) == pytest.approx(job.work_s)
        assert max(part.arrival_s for part in parts) == pytest.approx(job.arrival_s)
        assert len(parts) == np.ceil(runs.runs[job.run].shots / 120 / 180 - 1e-9)


def test_a_new_trial_brings_all_shots_so_far_again():
    data = {"work": {"trials": 3}, "filling": {"reprocess": "reservation"}}
    queued = draw_shift(PlanSettings.checked(data), rng())
    filled = draw_shift(PlanSettings.checked({"work": {"trials": 3}}), rng())
    again = [job for job in queued.jobs if not job.is_live]
    times_s = sorted({job.arrival_s for job in again})
    assert times_s == [part.arrival_s for part in filled.backlog[1:]]
    for at_s, part in zip(times_s, filled.backlog[1:], strict=True):
        live = [job for job in queued.jobs if job.is_live and job.arrival_s <= at_s]
        assert {job.run for job in again if job.arrival_s == at_s} == {job.run for job in live}
        assert part.node_s == pytest.approx(sum(job.nodes * job.work_s for job in live))


def test_work_is_what_the_shots_cost():
    data = merged(PRESETS["p175"], {"beam": {"run_spread": 0, "hit_spread": 0}})
    shift = draw_shift(PlanSettings.checked(data), rng())
    run, job = shift.runs[0], shift.jobs[0]
    assert run.shots == pytest.approx(15 * 60 * 9.3)
    core_s = run.shots * (0.49 * 60 + 0.51 * 5)
    assert job.work_s == pytest.approx(core_s / (28 * 32))
