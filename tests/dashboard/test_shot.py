"""The page of one shot: marks, pixels, neighbours, lists, and what is refused."""

import io

import numpy as np
import pytest
from PIL import Image

RUN = {"trial": "000", "run": "r0001"}


@pytest.fixture(autouse=True)
def _trial(client, tiny_trial):
    """Have results below the server's folder."""


def test_a_shot_with_all_that_is_known_of_it(client):
    page = client.get("/shot", params={**RUN, "event": 6})
    assert page.status_code == 200
    assert "<h1>r0001, shot 6</h1>" in page.text
    assert "P 43 21 2" in page.text
    assert "26; more than 90.0 % of the indexed shots" in page.text
    assert 'id="previous" rel="prev" href="/shot?trial=000&amp;run=r0001&amp;event=5' in page.text
    figure = client.get("/shot/figure", params={**RUN, "event": 6}).json()
    names = [trace.get("name") for trace in figure["data"]]
    assert names[:3] == ["spot, not indexed (2)", "spot, indexed (24)", "integrated (51)"]


def test_hits_that_should_have_indexed(client):
    page = client.get("/shot", params={**RUN, "kind": "should have indexed"}).text
    assert "<h1>r0001, shot 13</h1>" in page
    assert "no lattice explains 10 spots" in page
    assert "1 of 2" in page
    assert 'id="next" rel="next" href="/shot?trial=000&amp;run=r0001&amp;event=3' in page


def test_the_last_run_and_its_first_hit_where_nothing_is_asked_for(client):
    assert "<h1>r0002, shot 3</h1>" in client.get("/shot").text


def test_a_run_that_is_live_is_passed_over_but_said_of(client, tiny_trial):
    (tiny_trial / "r0003" / "live" / "chunks").mkdir(parents=True)
    assert "<h1>r0002, shot 3</h1>" in client.get("/shot").text
    page = client.get("/shot", params={"run": "r0003"}).text
    assert "Shots of a run that is still live can be looked at once it is complete" in page


def test_pixels_of_the_raw_frame(client, tiny_trial, monkeypatch):
    frame = np.random.default_rng(0).poisson(2.0, (200, 200)).astype(np.float32)
    monkeypatch.setattr(
        "xfel_apps.plots.shot._photons", lambda *_: (frame, "")
    )  # the tiny trial has no raw files
    answer = client.get("/shot/image", params={**RUN, "event": 7, "percentile": 99.5})
    assert answer.headers["content-type"] == "image/png"
    image = Image.open(io.BytesIO(answer.content))
    left, right, bottom, top = map(float, answer.headers["x-extent-mm"].split(","))
    assert image.width / image.height == pytest.approx((right - left) / (top - bottom), rel=0.02)
    region = {"left": 0, "right": 2, "bottom": 1, "top": 3}
    part = client.get("/shot/image", params={**RUN, "event": 7, **region})
    assert Image.open(io.BytesIO(part.content)).width == pytest.approx(21, abs=2)
    place = {"panel": 1, "fast": 40.5, "slow": 30.5}
    close_up = client.get("/shot/closeup", params={**RUN, "event": 7, **place}).json()
    assert close_up["data"][0]["z"][8][8] == frame[130, 40]


def test_a_run_made_anew_is_read_anew(client, tiny_trial):
    assert "2 of 12" in client.get("/shot", params={**RUN, "event": 5, "kind": "hits"}).text
    for name in ("crystals", "reflections"):  # as when they are made from other input
        (tiny_trial / "r0001" / f"{name}.json").unlink()
    page = client.get("/shot", params={**RUN, "event": 5}).text
    assert "hit not indexed" in page
    assert "not indexed (12)" in page
    assert "integrated (0)" in page


REFUSED = (
    ("/figure", {"event": 20}, 400),
    ("", {"event": "x"}, 422),
    ("", {"event": -2}, 422),
    ("", {"kind": "<script>"}, 422),
    ("/image", {"event": 6, "percentile": 101}, 422),
    ("/image", {"event": 6, "left": "nan", "right": "inf"}, 422),
    ("/closeup", {"event": 6, "panel": 2, "fast": 1, "slow": 1}, 404),
    ("/closeup", {"event": 6, "panel": 0, "fast": 1e9, "slow": 1}, 422),
    ("/figure", {"event": 6, "run": "../r0002"}, 404),
    ("/image", {"event": 6, "trial": "../../etc"}, 404),
)


def test_what_is_not_there_is_refused_in_words(client):
    for path, given, status in REFUSED:
        answer = client.get(f"/shot{path}", params={**RUN, **given})
        assert answer.status_code == status, (path, given, answer.text)
        assert answer.json()["detail"]
        page = client.get(f"/shot{path}", params={**RUN, **given}, headers={"Accept": "text/html"})
        assert "<script>" not in page.text
    page = client.get("/shot", params={**RUN, "event": 20})
    assert "no shot 20, run r0001 has shots 0 to 19" in page.text


def test_places_beyond_the_panel_have_no_pixels(client):
    given = {**RUN, "event": 6, "panel": 0, "fast": 5000, "slow": 1}
    assert client.get("/shot/closeup", params=given).status_code == 200


def test_before_any_run(client, tiny_trial):
    import shutil

    shutil.rmtree(tiny_trial)
    assert "no run has any results yet" in client.get("/shot").text
    assert client.get("/shot/figure", params={"event": 1}).status_code == 404
