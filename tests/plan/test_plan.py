"""Plans as a user makes them: the published situation, sizes compared, bad input."""

import json
import subprocess
import sys

import pytest

from xfel_apps.errors import SettingsError
from xfel_apps.plan import PlanRequest, make_plan, run_plan, smallest
from xfel_apps.plan.history import Activity

FEW = ("repeats=60",)


def plan_of(name: str, *changes: str):
    return run_plan(PlanRequest(name, assignments=(*FEW, *changes)).settings()[0])


def test_p175_used_little_of_its_reservation():
    """Published: 22 % of the reserved node time."""
    assert plan_of("p175").outcome.used == pytest.approx(0.22, abs=0.025)


def test_filling_that_takes_five_minutes_to_leave_makes_people_wait():
    """Published: 12 % urgent, 65 % preemptible, several jobs wait over 10 minutes."""
    found = plan_of("p175-filled").outcome
    urgent = found.node_time[Activity.LIVE] + found.node_time[Activity.REPROCESSING]
    assert urgent == pytest.approx(0.12, abs=0.02)
    assert found.node_time[Activity.PREEMPTIBLE] == pytest.approx(0.65, abs=0.05)
    assert 0.02 < (found.waits_s > 600).mean() < 0.3


def test_filling_that_leaves_within_seconds_makes_nobody_wait():
    found = plan_of("p175-gives-way").outcome
    assert found.used > 0.85
    assert found.waits_s.max() < 10


def test_the_smallest_reservation_that_is_enough_is_found():
    request = PlanRequest("p175-gives-way", "64,8,16,32", 15, assignments=FEW)
    plans = [run_plan(settings) for settings in request.settings()]
    shares = [plan.outcome.share_within(15) for plan in plans]
    assert [plan.outcome.nodes for plan in plans] == [8, 16, 32, 64]
    assert shares == sorted(shares)
    best = smallest(plans)
    assert best is not None
    assert best.outcome.nodes == next(
        plan.outcome.nodes for plan, share in zip(plans, shares, strict=True) if share >= 0.9
    )


def test_plan_prints_json_and_draws(tmp_path, capsys):
    request = PlanRequest(nodes="1,2", within_min=5, assignments=("repeats=3",))
    make_plan(request, tmp_path / "plan.png", as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert [row["nodes"] for row in said["reservations"]] == [1, 2]
    for row in said["reservations"]:
        assert sum(row["node_time"].values()) == pytest.approx(1)
        assert row["wait_s"]["median"] <= row["wait_s"]["p90"] <= row["wait_s"]["max"]
    assert said["smallest_nodes"] == 1
    assert (tmp_path / "plan.png").stat().st_size > 10_000


def test_plan_prints_tables(capsys):
    make_plan(PlanRequest("p175", nodes="1", assignments=("repeats=2",)))
    said = capsys.readouterr().out
    assert "1 node can do" in said
    assert "Waits of live jobs" in said


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"preset": "p157"}, "p175-gives-way"),
        ({"nodes": "4,x"}, "whole numbers"),
        ({"nodes": "0"}, "whole numbers"),
        ({"assignments": ("reservation.node=4",)}, "reservation.node: unknown setting"),
        ({"assignments": ("work.hit_core_s=-1",)}, "work.hit_core_s"),
        ({"assignments": ("filling.reprocess=never",)}, "'filling' or 'reservation'"),
        ({"assignments": ("reservation.warm_up_s=9999",)}, "shorter than walltime_min"),
        ({"assignments": ("beam.hit_spread=0.4",)}, "hit_spread must be below 0.3"),
        ({"assignments": ("beam.shift_h=1.0e+9",)}, "more than 100000 runs"),
        ({"within_min": 0.0}, "result_within_min"),
    ],
)
def test_bad_input_is_named(options, expected):
    with pytest.raises(SettingsError) as said:
        PlanRequest(**options).settings()
    assert expected in str(said.value)
    assert "\n" not in str(said.value)


def test_a_plot_of_unknown_format_is_refused_before_the_work():
    code = "from xfel_apps.cli import main; main()"
    command = [sys.executable, "-c", code, "plan", "--plot", "plan.jpg"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "error: --plot plan.jpg: expected a name that ends in .png or .svg"
    ]
