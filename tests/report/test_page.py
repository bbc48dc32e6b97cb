"""The page as a whole: stands alone, says everything, fails in one line."""

import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from tests.latency.chunks import write_events
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.errors import ContainerError
from xfel_apps.live.layout import LiveRun
from xfel_apps.report import write_report
from xfel_apps.report.__main__ import main


class Page(HTMLParser):
    """Collects addresses, ids and text, and checks that tags are closed."""

    VOID = ("meta", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def statistics(shells: int = 3) -> dict:
    shell = {
        "d_max_ang": 20.0,
        "d_min_ang": 2.0,
        "n_possible": 1000,
        "n_unique": 900,
        "n_observations": 4500,
        "completeness": 0.9,
        "multiplicity": 5.0,
        "mean_intensity": 12.0,
        "mean_i_over_sigma": 3.3,
        "cc_half": 0.812,
        "cc_star": 0.947,
        "r_split": 0.321,
        "cc_anom": None,
        "cc_reference": None,
        "n_reference": 0,
    }
    return {
        "overall": shell,
        "shells": [{**shell, "d_max_ang": 20.0 - i, "d_min_ang": 19.0 - i} for i in range(shells)],
        "wilson_b_ang2": 21.5,
        "wilson_s2_invang2": [0.01, 0.02],
        "wilson_log_ratio": [1.0, 0.5],
    }


def add_merged(trial, version: str = "v002") -> None:
    folder = trial / "datasets" / "all" / version
    MergedManifest(
        digest="m",
        settings={"d_min_ang": 2.0},
        inputs={"r0001": "reflections-digest"},
        cell=(79.2, 79.2, 38.0, 90.0, 90.0, 90.0),
        space_group="P 43 21 2",
        d_max_ang=20.0,
        d_min_ang=2.0,
        n_crystals=20,
        crystals={"used": 18, "too few usable reflections": 2},
        modes={"h,k,l": 18},
        n_observations=4500,
        n_rejected=12,
        error_model={},
        statistics=statistics(),
        files={"mtz": "merged.mtz"},
    ).write(folder / "merged.json")


def test_page_stands_alone_and_says_everything(tiny_trial):
    add_merged(tiny_trial, "v001")
    add_merged(tiny_trial, "v002")
    path = write_report(tiny_trial)
    assert path == tiny_trial / "report.html"
    page = Page(path.read_text())
    assert page.open == []
    assert all(re.match(r"data:image/|#", address) for address in page.addresses)
    assert sum(address.startswith("data:") for address in page.addresses) >= 12
    for text in ("all v002", "index dominates".capitalize(), "P 43 21 2", "CC½", "0.812"):
        assert text in page.text
    assert "all v001" not in page.text
    assert "18 of 20 crystals used, 2 left out (too few usable reflections)" in page.text
    assert "raw.h5: frame is truncated" in page.text


@pytest.mark.parametrize("missing", ["reflections", "crystals", "spots"])
def test_half_done_trials_have_a_page(tiny_trial, missing):
    for run in ("r0001", "r0002"):
        (tiny_trial / run / f"{missing}.json").unlink()
    page = Page(write_report(tiny_trial).read_text())
    assert page.open == []
    assert "r0002" in page.text


def test_reasons_are_text_not_markup(tiny_trial):
    shutil.rmtree(tiny_trial / "r0002")
    path = tiny_trial / "r0001" / "spots.json"
    content = json.loads(path.read_text())
    content["settings"] = {"note": "<script>alert(1)</script>"}
    path.write_text(json.dumps(content))
    assert "<script>alert" not in write_report(tiny_trial).read_text()


def test_command(tiny_trial, tmp_path, capsys):
    out = tmp_path / "pages" / "r1.html"
    assert main([str(tiny_trial / "r0001"), "--out", str(out)]) == 0
    assert out.is_file()
    assert main([str(tmp_path / "nowhere")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_no_events_yet(tiny_trial):
    for run in ("r0001", "r0002"):
        (tiny_trial / run / "events.json").unlink()
    with pytest.raises(ContainerError, match="run `xfelflow ingest`"):
        write_report(tiny_trial)


def test_a_trial_that_was_processed_live_has_its_latencies(tiny_trial):
    assert "Latency" not in Page(write_report(tiny_trial).read_text()).text
    write_events(LiveRun(tiny_trial, "r0001").chunk(0), [1, 2, 3], [-60.0] * 3)
    page = Page(write_report(tiny_trial).read_text())
    assert "Latency of live processing" in page.text
    assert "r0001spotfind3" in "".join(page.text.split())
