"""People in the control room: what they see and change, in a real browser."""

import json

import pytest

from tests.dashboard.browser.conftest import SIZES
from tests.tiny_trial import CELL, write_run
from xfel_apps.catalog import open_catalog
from xfel_apps.catalog.sync import Source, Sync
from xfel_apps.catalog.url import default_url
from xfel_apps.dashboard.pages import pages
from xfel_apps.merge.__main__ import main as merge

N_SHOTS = 40
SETTINGS = {"space_group": "P43212", "cell": CELL.tolist(), "d_min_ang": 2.5}


class Analysis:
    """An analysis that goes on while people look: runs come, data are merged."""

    def __init__(self, results, monkeypatch):
        self.results, self._monkeypatch = results, monkeypatch
        self.catalog = open_catalog(default_url(results))
        self._sync = Sync(self.catalog, Source("main", results, {}))

    def add_run(self, name, trial="000"):
        write_run(self.results / trial / name, N_SHOTS, self._monkeypatch)
        self._monkeypatch.undo()
        self._sync.look()

    def merge(self, dataset, version, runs, trial="000"):
        folder = self.results / trial
        inputs = [str(folder / run / "reflections.json") for run in runs]
        merged = folder / "datasets" / dataset / version / "merged.json"
        merged.parent.mkdir(parents=True)
        arguments = ["--reflections", *inputs, "--merged", str(merged), "--key", version]
        assert merge([*arguments, "--settings", json.dumps(SETTINGS)]) == 0
        self._sync.look()


@pytest.fixture
def analysis(results, monkeypatch):
    analysis = Analysis(results, monkeypatch)
    analysis.add_run("r0001")
    yield analysis
    analysis.catalog.close()


def sign_in(page, place):
    page.click("#sign-in")
    page.fill("#sign-in-dialog input[name=token]", place.token)
    page.click("#sign-in-dialog button[type=submit]")
    page.wait_for_selector("#sign-out")


def texts(page, selector):
    return page.locator(selector).all_inner_texts()


def test_every_page_opens_on_a_laptop_and_on_the_wall(analysis, serve, open_page, shots):
    analysis.add_run("r0002")
    analysis.merge("all", "v001", ["r0001"])
    analysis.merge("all", "v002", ["r0001", "r0002"])
    place = serve(analysis.results)
    for size in SIZES:
        page = open_page(place.url, size)
        assert "/runs" in page.url
        for item in pages():
            page.goto(f"{place.url}/{item.name}")
            page.wait_for_selector("#link.on")
            assert item.title in texts(page, "nav a[aria-current]")
            for chart in page.locator("[data-chart]").all():
                page.wait_for_function("e => e.dataset.drawn", arg=chart.element_handle())
            page.screenshot(path=shots / f"{item.name}-{size}.png", full_page=True)
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= SIZES[size][0], f"{item.name} is wider than the screen"


def test_people_see_each_others_changes_and_the_analysis_go_on(analysis, serve, open_page, shots):
    place = serve(analysis.results)
    mine, other = open_page(f"{place.url}/runs"), open_page(f"{place.url}/runs", "wall")
    assert mine.locator("#tag-r0001").count() == 0  # looking only
    sign_in(mine, place)

    mine.fill("#tag-r0001", "apo")
    mine.press("#tag-r0001", "Enter")
    for page in (mine, other):
        page.wait_for_selector("#run-r0001 .tag:has-text('apo')")

    before = other.inner_text("[data-key=events]")
    analysis.add_run("r0002")
    other.wait_for_selector("#run-r0002")
    other.wait_for_function(
        "old => document.querySelector('[data-key=events]').textContent != old", arg=before
    )
    assert "80" in other.inner_text("[data-key=events]")

    mine.goto(f"{place.url}/trials/new?base=000")
    mine.fill("[id='spotfind.min_snr']", "7.5")
    assert "spotfind.min_snr" in mine.inner_text("#n-changed")
    mine.fill("[name=comment]", "stronger spots")
    mine.screenshot(path=shots / "new-trial-laptop.png")
    mine.click("#new-trial [type=submit]")
    mine.wait_for_url("**/trials?trial=001")
    assert "7.5" in mine.inner_text("main")

    mine.goto(f"{place.url}/trials?trial=000")
    mine.fill("#dataset-name", "apo")
    mine.fill("#dataset-any", "apo")
    mine.click("#new-dataset [type=submit]")
    mine.wait_for_selector("#datasets a:has-text('apo')")
    assert "due" in mine.inner_text("#datasets")
    mine.click("#datasets a:has-text('apo')")
    analysis.merge("apo", "v001", ["r0001"])
    mine.wait_for_selector("#versions td:has-text('v001')")
    mine.wait_for_selector("#versions .state.good")
    other.goto(f"{place.url}/jobs")
    assert "alice" in other.inner_text("#changes")
    other.screenshot(path=shots / "changes-wall.png")


def test_the_later_of_two_people_is_told_on_the_page(analysis, serve, open_page, shots):
    place = serve(analysis.results)
    one = open_page(f"{place.url}/runs")
    sign_in(one, place)
    two = one.context.new_page()
    two.goto(f"{place.url}/runs")
    # A page that has not heard yet of what the other one does.
    two.route("**/runs/part*", lambda route: route.abort())
    two.wait_for_selector("#tag-r0001")
    two.fill("#tag-r0001", "second")
    one.fill("#tag-r0001", "first")
    one.press("#tag-r0001", "Enter")
    one.wait_for_selector("#run-r0001 .tag:has-text('first')")
    two.press("#tag-r0001", "Enter")
    two.wait_for_selector(".message:has-text('Conflict')")
    assert "somebody else" in two.inner_text("#messages")
    two.screenshot(path=shots / "conflict-laptop.png")
    two.unroute("**/runs/part*")
    two.reload()
    assert texts(two, "#run-r0001 .tag")[0].startswith("first")
    assert "second" not in two.inner_text("#run-r0001")
