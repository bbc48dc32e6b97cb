"""The verb `plot`: every figure of a trial in every format, and errors that say what to do."""

import re
from importlib import resources

import pytest
from typer.testing import CliRunner

from tests.plots.test_plots import merged
from xfel_apps.cli import app

PLOTS = ("weather", "rates", "cells", "orientation", "resolution", "powder", "merge", "latency")


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    from tests.tiny_trial import write_trial

    with pytest.MonkeyPatch.context() as patch:
        folder = write_trial(tmp_path_factory.mktemp("results") / "000", patch)
    dataset = folder / "datasets" / "lyso" / "v001"
    dataset.mkdir(parents=True)
    merged(20, 0.9).write(dataset / "merged.json")
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["plot", *map(str, arguments)])


@pytest.mark.parametrize("name", PLOTS[:-1])
def test_every_plot_as_picture_and_as_page(trial, tmp_path, name):
    source = trial / "r0001" if name == "powder" else trial
    for suffix, begins in ((".png", b"\x89PNG"), (".html", b"<!doctype html>")):
        out = tmp_path / "new" / f"{name}{suffix}"
        result = run(name, source, "--out", out)
        assert result.exit_code == 0, result.output
        assert str(out) in result.output
        assert out.read_bytes().startswith(begins)
    page = out.read_text()
    library = resources.files("plotly").joinpath("package_data", "plotly.min.js").read_text()
    assert library in page
    assert not re.search(r"<[^>]*(src|href)=", page.replace(library, ""))


def test_vector_drawing(trial, tmp_path):
    out = tmp_path / "new" / "rates.svg"
    assert run("rates", trial, "-o", out).exit_code == 0
    assert "<svg" in out.read_text()[:400]


def test_weather_says_what_stands_out(trial, tmp_path):
    result = run("weather", trial, "--out", tmp_path / "w.png")
    assert "Nothing stands out" in result.output


@pytest.mark.parametrize("name", ["weather", "merge", "latency", "powder"])
def test_errors_say_what_to_do(trial, tmp_path, name):
    result = run(name, tmp_path / "nowhere", "--out", tmp_path / "x.png")
    assert result.exit_code == 1
    assert "no such folder" in result.output
    result = run(name, trial, "--out", tmp_path / "x.jpg")
    assert result.exit_code == 1
    assert "ends in .png, .svg or .html" in result.output
    assert "Traceback" not in result.output


def test_powder_of_one_run(trial, tmp_path):
    result = run("powder", trial, "--out", tmp_path / "x.png")
    assert "several runs (r0001, r0002); give one of them" in result.output


@pytest.mark.parametrize("name", PLOTS)
def test_help_teaches(name):
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"xfelflow plot {name}" in result.output
