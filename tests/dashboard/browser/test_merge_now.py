"""From a tag to merged data in a browser: the workflow runs, its log and its result are seen."""

import pytest

from tests.dashboard.browser.test_pages import sign_in
from xfel_apps.catalog import open_catalog
from xfel_apps.catalog.sync import Source, Sync
from xfel_apps.catalog.url import default_url
from xfel_apps.demo import run_demo

LIMIT_MS = 400_000


@pytest.mark.slow
def test_a_dataset_is_merged_from_the_page(tmp_path, serve, open_page, shots):
    run_demo(tmp_path / "demo", 40, 1, print)
    results = tmp_path / "demo" / "results"
    catalog = open_catalog(default_url(results))
    Sync(catalog, Source("main", results, {})).look()
    catalog.close()
    place = serve(results)
    page = open_page(f"{place.url}/runs")
    sign_in(page, place)
    page.fill("#tag-r0001", "apo")
    page.press("#tag-r0001", "Enter")
    page.wait_for_selector("#run-r0001 .tag:has-text('apo')")
    page.goto(f"{place.url}/trials?trial=000")
    page.fill("#dataset-name", "mine")
    page.fill("#dataset-any", "apo")
    page.click("#new-dataset [type=submit]")
    page.click("#datasets tr:has-text('mine') button:has-text('merge now')")
    page.wait_for_url("**/jobs?job=*")
    page.wait_for_selector("tr.selected .state.good", timeout=LIMIT_MS)
    page.screenshot(path=shots / "job-laptop.png")
    assert "Merging dataset mine" in page.inner_text("pre.log")
    page.goto(f"{place.url}/trials?trial=000&dataset=mine")
    page.wait_for_selector("#versions .state.good", timeout=LIMIT_MS)
    assert "v001" in page.inner_text("#versions")
    assert (results / "000" / "datasets" / "mine" / "v001" / "merged.mtz").exists()
