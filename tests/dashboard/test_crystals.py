"""The page of crystals: cells, orientations, resolution, each point with its shot."""

import numpy as np
import pytest

from tests.dashboard.settled import settled

ALL = {"trial": "000"}


@pytest.fixture(autouse=True)
def _trial(client, tiny_trial):
    """Have results below the server's folder."""


def test_numbers_of_all_runs_and_of_one(client):
    page = settled(client, "/crystals", **ALL)
    assert '<b data-key="lattices">20</b><span>lattices on 20 shots</span>' in page
    assert "P 43 21 2" in page
    assert 'data-pick="/shot?trial=000"' in page
    one = settled(client, "/crystals/part", **ALL, run="r0002")
    assert '<b data-key="lattices">10</b>' in one


def test_each_point_leads_to_its_shot(client):
    for name in ("scatter", "orientation"):
        data = settled(client, f"/crystals/figure/{name}", **ALL)["data"]
        picks = [pick for trace in data for pick in trace.get("customdata", ())]
        assert picks
        for run, event in picks:
            shot = client.get("/shot", params={**ALL, "run": run, "event": event})
            assert f"<h1>{run}, shot {event}</h1>" in shot.text
            break


def test_histograms_have_all_lattices(client):
    cells = settled(client, "/crystals/figure/cells", **ALL)
    assert {trace["xaxis"] for trace in cells["data"]} == {"x", "x2"}
    total = np.sum([np.sum(trace["y"]) for trace in cells["data"] if trace["xaxis"] == "x"])
    assert 18 <= total <= 20
    resolution = settled(client, "/crystals/figure/resolution", **ALL)
    assert [sum(trace["y"]) for trace in resolution["data"]] == [28, 20]


def test_before_any_lattice(client, tiny_trial):
    for run in ("r0001", "r0002"):
        for name in ("crystals", "reflections"):
            (tiny_trial / run / f"{name}.json").unlink()
            for path in (tiny_trial / run / name).iterdir():
                path.unlink()
    client.app.state.room.changes.look()
    assert "No lattice has been found yet" in settled(client, "/crystals", **ALL)
    assert settled(client, "/crystals/figure/cells", **ALL)["data"] == []


def test_no_other_figures(client):
    assert client.get("/crystals/figure/passwd", params=ALL).status_code == 404
