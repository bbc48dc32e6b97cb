"""Tables of the report against counts that are known."""

import pandas as pd
import pytest

from xfel_apps.report import tables
from xfel_apps.report.trial import Trial


@pytest.fixture
def trial(tiny_trial):
    opened = Trial.open(tiny_trial)
    yield opened
    opened.close()


def by_name(table: tables.Table, row) -> dict[str, str]:
    names = [name.removesuffix(" <") for name in table.columns]
    return dict(zip(names, row, strict=True))


def test_outcomes_of_runs_add_up(trial):
    table = tables.run_table(trial)
    rows = [by_name(table, row) for row in (*table.rows, table.total)]
    assert [row["run"] for row in rows] == ["r0001", "r0002", "all"]
    for row in rows:
        ends = ("filtered", "miss", "hit not indexed", "indexed", "integrated", "failed")
        assert sum(int(row[name]) for name in ends) == int(row["shots"])
    assert rows[2]["shots"] == "40"
    assert rows[2]["hit rate"] == "66.7 %"  # 24 of 36
    assert rows[2]["indexing rate"] == "83.3 %"  # 20 of 24


def test_time_by_stage_and_outcome(trial):
    table = tables.time_table(trial)
    rows = [by_name(table, row) for row in table.rows]
    assert [(row["stage"], row["left as"], row["shots"]) for row in rows] == [
        ("spotfind", "hit not indexed", "28"),
        ("spotfind", "miss", "8"),
        ("index", "hit not indexed", "4"),
        ("index", "indexed", "20"),
        ("integrate", "integrated", "20"),
    ]
    shares = [float(row["share"].removesuffix(" %")) for row in rows]
    assert sum(shares) == pytest.approx(100.0, abs=0.3)


def test_the_slowest_stage_is_named(trial):
    assert tables.dominating(trial).startswith("index dominates with 6")


def test_rates(trial):
    table = tables.rate_table(trial)
    row = by_name(table, table.rows[0])
    assert (row["run"], row["stage"], row["shots"], row["ranks"]) == (
        "r0001",
        "spotfind",
        "18",
        "2",
    )
    assert float(row["shots/CPU s"]) == pytest.approx(1 / (0.9 * 0.1), rel=0.25)
    assert 80 < float(row["busy"].removesuffix(" %")) <= 100


def test_alike_reasons_are_counted_together(trial):
    table = tables.reason_table(trial)
    rows = [by_name(table, row) for row in table.rows]
    assert [(row["outcome"], row["shots"]) for row in rows] == [
        ("failed", "4"),
        ("hit not indexed", "4"),
        ("miss", "8"),
        ("miss", "4"),
    ]
    assert rows[0]["such as"] == "r0001 0, r0001 10, r0002 0 …"


def test_many_reasons_end_in_one_line():
    n = tables.N_REASONS + 3
    letters = [chr(ord("a") + i) * 3 for i in range(n)]
    outcomes = pd.DataFrame(
        {"run": "r", "event": range(n), "outcome": "failed", "reason": letters, "stage": "index"}
    )
    trial = Trial.__new__(Trial)
    trial.__dict__["outcomes"] = outcomes
    rows = tables.reason_table(trial).rows
    assert len(rows) == tables.N_REASONS + 1
    assert rows[-1][2:4] == ["3", "3 other reasons"]


def test_nothing_done_yet(tiny_trial):
    for run in ("r0001", "r0002"):
        (tiny_trial / run / "spots.json").unlink()
    trial = Trial.open(tiny_trial)
    assert tables.dominating(trial) == "No stage has processed a shot yet."
    assert "pending" in tables.run_table(trial).columns
    trial.close()
