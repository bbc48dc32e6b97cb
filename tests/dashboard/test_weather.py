"""The page of the computational weather: figure, diagnoses, and names that are not taken."""

import time

from tests.dashboard.settled import settled


def test_figure_and_shares_of_a_run(client, tiny_trial):
    page = settled(client, "/weather", run="r0001")
    assert "Computational weather of r0001 in trial 000" in page
    assert "Nothing stands out" in page
    assert '<b data-key="ranks">2</b>' in page
    figure = settled(client, "/weather/figure", trial="000", run="r0001")
    boxes = sum(len(t["x"]) // 5 for t in figure["data"] if t.get("fill") == "toself")
    assert boxes == 2 * (18 + 12 + 10)
    assert figure["layout"]["yaxis"]["ticktext"] == ["0", "1"]


def test_it_follows_a_run_that_grows(client, tiny_trial):
    """Its figure is made anew once a container has changed, and tells of the slow shot by name."""
    import h5py

    before = settled(client, "/weather/part", run="r0002")
    assert "one slow shot" not in before
    with h5py.File(tiny_trial / "r0002" / "crystals" / "rank-0001.h5", "r+") as file:
        file["shots/end_s"][-1] += 60.0
        event = int(file["shots/event"][-1])
    manifest = tiny_trial / "r0002" / "crystals.json"
    manifest.write_text(manifest.read_text() + " ")
    client.app.state.room.changes.look()
    expected = f"r0002 shot {event}: 1 min in index on rank 1"
    until_s = time.monotonic() + 60.0
    while expected not in (after := settled(client, "/weather/part", run="r0002")):
        assert time.monotonic() < until_s, after
        time.sleep(0.1)
    assert f"event={event}" in after


def test_without_any_results(client):
    assert "Computational weather" in client.get("/weather").text
    assert client.get("/weather/figure").json() == {"data": [], "layout": {}}


def test_only_names_that_are_there_are_taken(client, tiny_trial):
    names = ("../000", "..", "/etc", "%2e%2e", "r0001/../r0001", "live", "a\0b")
    for page in ("/weather", "/shot", "/crystals"):
        for name in names:
            for given in ({"trial": name}, {"trial": "000", "run": name}):
                answer = client.get(page, params=given)
                assert answer.status_code == 404, (page, given)
                assert "there is:" in answer.json()["detail"]
        assert client.get(page, params={"trial": "x" * 81}).status_code == 422
