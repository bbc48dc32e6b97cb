"""Tables of a trial whose every number is known."""

import io
import json

import numpy as np
import pandas as pd
import pytest

from tests.tiny_trial import crystal_columns, spots_of
from xfel_apps.errors import ContainerError, SettingsError
from xfel_apps.table import read_table, to_csv, to_json, to_text


def test_events_of_a_run(tiny_trial):
    table = read_table(tiny_trial / "r0001", "events")
    assert table["event"].tolist() == list(range(20))
    assert table["shot"].tolist() == list(range(20))
    assert table["outcome"].value_counts().to_dict() == {
        "integrated": 10,
        "miss": 6,  # four as found, two because a pixel turned out hot
        "hit_not_indexed": 2,
        "failed": 2,
    }
    assert table.loc[10, "reason"] == "raw.h5: frame is truncated"
    assert table.loc[13, "reason"] == "no lattice explains 10 spots"
    assert pd.isna(table.loc[0, "n_spots"])
    assert table.loc[6, "n_spots"] == len(spots_of(6))


def test_seconds_by_stage_are_there_where_the_stage_worked(tiny_trial):
    table = read_table(tiny_trial / "r0001", "events").set_index("event")
    expected = 0.9 * 0.3 * (1.0 + 0.5 * np.sin(7))
    assert table.loc[7, "index_s"] == pytest.approx(expected, rel=1e-5)
    assert np.isnan(table.loc[1, "index_s"])
    assert np.isnan(table.loc[0, "spotfind_s"])


@pytest.mark.parametrize("depth", ["trial", "results", "above"])
def test_all_runs_below_a_folder(tiny_trial, depth):
    folder = {"trial": tiny_trial, "results": tiny_trial.parent, "above": tiny_trial.parents[1]}
    table = read_table(folder[depth], "events")
    assert table.groupby("run").size().to_dict() == {"r0001": 20, "r0002": 20}


def test_crystals_have_their_matrix_by_name(tiny_trial):
    table = read_table(tiny_trial / "r0002", "crystals")
    assert len(table) == 10
    row = table.set_index("event").loc[17]
    known = crystal_columns(17, len(spots_of(17)))
    a_matrix = known["a_matrix"][0]
    named = [[row[f"{axis}_star_{x}"] for axis in "abc"] for x in "xyz"]
    np.testing.assert_array_equal(named, a_matrix)
    np.testing.assert_array_equal(row[["a", "b", "c"]].tolist(), known["cell"][0][:3])
    assert row["space_group"] == "P 43 21 2"
    assert row["shot"] == 17
    assert row["n_reflections"] == 50 + 17 % 5
    assert row["n_indexed"] == len(spots_of(17)) - 2


def test_crystals_before_integration(tiny_trial):
    (tiny_trial / "r0001" / "reflections.json").unlink()
    table = read_table(tiny_trial / "r0001", "crystals")
    assert len(table) == 10
    assert table["n_reflections"].isna().all()


def test_spots_and_reflections(tiny_trial):
    spots = read_table(tiny_trial / "r0001", "spots")
    assert (spots["event"] == 5).sum() == len(spots_of(5))
    reflections = read_table(tiny_trial / "r0001", "reflections")
    assert (reflections["event"] == 8).sum() == 53


def test_products_of_other_input_are_not_mixed_in(tiny_trial):
    """Spots found again with other settings: crystals made from the old ones do not count."""
    path = tiny_trial / "r0001" / "spots.json"
    path.write_text(path.read_text().replace('"spots-digest"', '"other-digest"'))
    with pytest.raises(ContainerError, match="made from other input; run `xfelflow index`"):
        read_table(tiny_trial / "r0001", "crystals")
    assert set(read_table(tiny_trial / "r0001", "events")["outcome"]) == {
        "failed",
        "miss",
        "hit_not_indexed",
    }


def test_errors_say_what_to_do(tiny_trial, tmp_path):
    with pytest.raises(ContainerError, match="no such folder"):
        read_table(tmp_path / "nowhere", "events")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ContainerError, match="run `xfelflow process` first"):
        read_table(tmp_path / "empty", "events")
    with pytest.raises(SettingsError, match="choose from events, spots, crystals, reflections"):
        read_table(tiny_trial, "peaks")
    (tiny_trial / "r0001" / "crystals.json").unlink()
    with pytest.raises(ContainerError, match="crystals is not made yet; run `xfelflow index`"):
        read_table(tiny_trial / "r0001", "crystals")


@pytest.mark.parametrize("product", ["events", "spots", "crystals", "reflections"])
def test_csv_and_json_are_exact(tiny_trial, product):
    table = read_table(tiny_trial, product)
    again = pd.read_csv(
        io.StringIO(to_csv(table)),
        keep_default_na=False,
        na_values=[""],
        float_precision="round_trip",
    )
    records = json.loads(to_json(table))
    assert len(again) == len(records) == len(table)
    for name in table.select_dtypes("float"):
        read = np.array([np.nan if row[name] is None else row[name] for row in records])
        for values in (again[name], read):
            np.testing.assert_array_equal(values.astype(table[name].dtype), table[name])


def test_text_is_aligned(tiny_trial):
    lines = to_text(read_table(tiny_trial, "crystals")).splitlines()
    assert len(lines) == 21
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split()[:5] == ["run", "event", "file", "shot", "lattice"]


def test_a_table_without_rows_says_so():
    assert to_text(pd.DataFrame({"run": [], "shot": []})) == "no rows: run shot"


def test_a_run_without_a_single_hit_has_tables_all_the_same(tiny_trial):
    run = tiny_trial / "r0001"
    for name in ("crystals", "reflections"):
        path = run / f"{name}.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "containers": []}))
    crystals = read_table(run, "crystals")
    assert len(crystals) == 0
    assert {"a_star_x", "c_star_z", "gamma", "space_group"} <= set(crystals)
    assert len(read_table(tiny_trial, "crystals")) == 10
