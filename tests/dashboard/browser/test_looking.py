"""Weather, crystals and a shot in a real browser: drawn, picked, zoomed, gone through."""

import json

import numpy as np
import pytest

from tests.tiny_trial import write_trial

sync_api = pytest.importorskip("playwright.sync_api")

TRIAL = "trial=000"
SIZES = pytest.mark.parametrize("size", ["laptop", pytest.param("wall", marks=pytest.mark.slow)])


@pytest.fixture
def place(serve, tmp_path, monkeypatch):
    """Return a server of a trial of two runs, whose raw frames are made up."""
    write_trial(tmp_path / "results" / "000", monkeypatch)
    frame = np.random.default_rng(0).poisson(3.0, (200, 200)).astype(np.float32)
    monkeypatch.setattr("xfel_apps.plots.shot._photons", lambda *_: (frame, ""))
    return serve(tmp_path / "results")


def drawn(page, name):
    page.wait_for_selector(f"#{name}[data-drawn=yes]")


def where(page, name, trace, point):
    """Return where on the page a point of a figure is."""
    script = """([id, trace, point]) => {
        const e = document.getElementById(id), l = e._fullLayout, t = e._fullData[trace];
        const box = e.getBoundingClientRect();
        return [box.x + l.xaxis._offset + l.xaxis.d2p(t.x[point]),
                box.y + l.yaxis._offset + l.yaxis.d2p(t.y[point])];
    }"""
    return page.evaluate(script, [name, trace, point])


@SIZES
def test_weather(place, open_page, shots, size):
    page = open_page(f"{place.url}/weather?{TRIAL}&run=r0001", size)
    drawn(page, "weather")
    assert page.locator("#weather .js-fill").count() > 0
    page.wait_for_selector("text=What cost time")
    assert page.locator("[data-key=ranks]").inner_text() == "2"
    page.screenshot(path=shots / f"weather-{size}.png")


@SIZES
def test_a_click_on_a_crystal_shows_its_shot(place, open_page, shots, size):
    page = open_page(f"{place.url}/crystals?{TRIAL}&run=r0001", size)
    for name in ("cells", "scatter", "orientation", "resolution"):
        drawn(page, name)
    page.wait_for_selector("[data-key=lattices]")
    page.screenshot(path=shots / f"crystals-{size}.png", full_page=True)
    run, event = page.evaluate("document.getElementById('scatter').data[0].customdata[4]")
    page.locator("#scatter").scroll_into_view_if_needed()
    page.mouse.move(*where(page, "scatter", 0, 4), steps=4)
    page.mouse.click(*where(page, "scatter", 0, 4))
    page.wait_for_url("**/shot?**")
    assert page.locator("h1").inner_text() == f"{run}, shot {event}"


@SIZES
def test_a_shot_is_zoomed_and_its_reflections_looked_at(place, open_page, shots, size):
    page = open_page(f"{place.url}/shot?{TRIAL}&run=r0001&event=6", size)
    page.wait_for_selector("#frame[data-shows=all]")
    page.wait_for_selector("#closeup[data-drawn=yes]")
    first = page.locator("#closeup-of").inner_text()
    page.mouse.move(*where(page, "frame", 2, 10), steps=4)
    words = page.locator("#closeup-of")
    sync_api.expect(words).not_to_have_text(first, timeout=60_000)
    assert "integrated" in words.inner_text()
    page.screenshot(path=shots / f"shot-{size}.png")
    for _ in range(6):
        page.mouse.wheel(0, -300)
    page.wait_for_selector("#frame[data-shows=part]")
    images = json.loads(
        page.evaluate("JSON.stringify(document.getElementById('frame').layout.images)")
    )
    assert len(images) == 2
    assert images[1]["sizex"] < 0.7 * images[0]["sizex"]
    page.select_option("#contrast", "99.0")
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**event=7**")
    page.click("#lost a >> nth=0")
    page.wait_for_url("**should+have+indexed**")
    assert page.locator("#outcome").inner_text() == "hit not indexed"
