"""The weather plot and what is told of it, on jobs whose faults are known."""

from dataclasses import replace

import numpy as np
import pytest

from tests.plots.jobs import START_S, steady
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.results import runs_below
from xfel_apps.errors import ContainerError
from xfel_apps.plots import weather_draw
from xfel_apps.plots.diagnoses import diagnose
from xfel_apps.plots.timing import STAGES, timings
from xfel_apps.plots.weather import KINDS, MOST_LINES, weather


def kinds(times):
    return [item.kind for item in diagnose(times)]


def test_nothing_is_told_of_a_steady_job():
    assert diagnose(steady()) == ()


def test_one_slow_shot_is_named():
    times = steady()
    end_s = times.end_s.copy()
    end_s[399] += 20.0  # the last of rank 3
    found = diagnose(replace(times, end_s=end_s, cpu_s=end_s - times.start_s))
    assert [(item.kind, item.event, item.rows) for item in found] == [("one slow shot", 399, (3,))]
    assert "r0001 shot 399: 20 s in spotfind on rank 3, 41 times the median" in found[0].text
    assert found[0].lost_s == pytest.approx(20.5 + 7 * 20.0)


@pytest.mark.parametrize(("n_stuck", "is_told"), [(3, False), (4, True)])
def test_a_stall_is_half_of_the_ranks_off_the_processor_at_once(n_stuck, is_told):
    times = steady()
    begin_s = START_S + 20.4  # shot 40 of each rank
    late = (times.start_s >= begin_s - 0.005) & (times.row < n_stuck)
    first = late & (times.start_s < begin_s + 0.005)
    start_s = times.start_s + np.where(late & ~first, 8.0, 0.0)
    end_s = times.end_s + np.where(late, 8.0, 0.0)
    found = [d for d in diagnose(replace(times, start_s=start_s, end_s=end_s)) if "stall" in d.kind]
    assert bool(found) is is_told
    if is_told:
        assert found[0].rows == (0, 1, 2, 3)
        assert found[0].to_s - found[0].from_s == pytest.approx(8.5)
        assert "4 of 8 ranks stood still together for 8.5 s" in found[0].text


def test_starved_and_late_ranks_are_named():
    times = steady()
    kept = (times.row != 5) | (times.start_s > START_S + 40)
    some = {
        name: getattr(times, name)[kept]
        for name in ("run", "row", "stage", "event", "outcome", "start_s", "end_s", "cpu_s")
    }
    found = {item.kind: item for item in diagnose(replace(times, **some))}
    assert set(found) == {"starved ranks", "late start"}
    assert found["starved ranks"].rows == found["late start"].rows == (5,)


def test_waiting_for_work_and_shared_cores():
    times = steady()
    far = START_S + 4.0 * (times.start_s - START_S)
    assert kinds(replace(times, start_s=far, end_s=far + 0.5)) == ["waiting for work"]
    assert kinds(replace(times, cpu_s=0.4 * times.cpu_s)) == ["I/O or shared cores"]


def test_lines_cover_the_time_of_the_shots_whether_summed_or_not():
    few, many = weather(steady()), weather(steady(n_ranks=40, n_each=2000))
    assert not few.is_summed
    assert many.is_summed
    assert len(many.lines.row) <= MOST_LINES
    for data, n in ((few, 800), (many, 80_000)):
        drawn_s = (data.lines.end_s - data.lines.start_s).sum()
        assert drawn_s == pytest.approx(0.5 * n, rel=1e-6)
        assert data.shares["read"] == pytest.approx(0.05 * data.shares["spotfind"] / 0.95)
        assert sum(data.shares.values()) == pytest.approx(1.0)
        assert data.lines.end_s.max() <= data.length_s + 0.3


def test_of_very_many_ranks_some_are_drawn_with_those_that_are_told_of():
    times = steady(n_ranks=1000, n_each=30)
    end_s = times.end_s.copy()
    end_s[times.row == 777] += np.where(np.arange(30) == 29, 30.0, 0.0)
    data = weather(replace(times, end_s=end_s))
    assert data.n_ranks == 1000
    assert len(data.rows) <= 194
    assert "777" in data.rows
    assert "of 1000" in weather_draw.chart(data)["layout"]["yaxis"]["title"]["text"]


def test_rows_of_a_trial(tiny_trial):
    with runs_below(tiny_trial) as runs:
        times = timings(runs)
    assert times.runs == ("r0001", "r0002")
    assert times.rows == ("0", "1")
    n_by_stage = np.bincount(times.stage) / len(times.runs)
    assert n_by_stage.tolist() == [18, 12, 10]
    assert (times.end_s > times.start_s).all()


def test_a_stage_that_is_running_is_read_from_its_containers(tiny_trial):
    with runs_below(tiny_trial / "r0001") as runs:
        done = timings(runs)
    (tiny_trial / "r0001" / "reflections.json").unlink()
    live = tiny_trial / "r0001" / "live" / "crew-1" / "crystals"
    live.parent.mkdir(parents=True)
    (tiny_trial / "r0001" / "crystals.json").unlink()
    (tiny_trial / "r0001" / "crystals").rename(live)
    with runs_below(tiny_trial / "r0001") as runs:
        growing = timings(runs)
    assert sorted(growing.event.tolist()) == sorted(done.event.tolist())
    assert growing.rows == ("0", "1", "crew-1/0", "crew-1/1")


def test_figure_and_chart_show_the_same(tiny_trial):
    with runs_below(tiny_trial) as runs:
        data = weather(timings(runs))
    chart = weather_draw.chart(data)
    names = [trace["name"] for trace in chart["data"] if trace.get("showlegend", True)]
    assert [name.split()[0] for name in names] == ["off", *STAGES, "blank:"]
    boxes = sum(len(t["x"]) // 5 for t in chart["data"] if t.get("fill") == "toself")
    assert boxes == len(data.lines.row)
    axes = weather_draw.draw(data).axes[0]
    assert sum(len(c.get_segments()) for c in axes.collections) == len(data.lines.row)
    assert len(KINDS) == 4


def test_before_any_shot(tiny_trial):
    with runs_below(tiny_trial) as runs:
        times = timings(runs)
    none = {
        name: getattr(times, name)[:0]
        for name in ("run", "row", "stage", "event", "outcome", "start_s", "end_s", "cpu_s")
    }
    with pytest.raises(ContainerError, match="no shot has been processed yet"):
        weather(replace(times, **none))


def test_failed_shots_are_marked():
    times = steady()
    outcome = times.outcome.copy()
    outcome[[3, 150]] = Outcome.FAILED.code
    data = weather(replace(times, outcome=outcome))
    assert data.failed_row.tolist() == [0, 1]
    np.testing.assert_allclose(data.failed_s, [3 * 0.51, 50 * 0.51], atol=1e-6)
