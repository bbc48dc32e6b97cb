"""Latencies of runs whose times are known: live, sealed, batch; in the terminal and as a figure."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from tests.latency.chunks import START_S, write_events
from tests.products import write_product
from xfel_apps.cli import app
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import Product, ShotResult
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.spots import SPOTS
from xfel_apps.containers.writer import ContainerWriter
from xfel_apps.errors import ContainerError
from xfel_apps.latency import latencies, latencies_of, show_latency, summarize
from xfel_apps.latency.first import first_results, keep
from xfel_apps.live.layout import LiveRun

OUTCOME = {
    SPOTS.name: Outcome.HIT_NOT_INDEXED,
    CRYSTALS.name: Outcome.INDEXED,
    REFLECTIONS.name: Outcome.INTEGRATED,
}


class Clock:
    """Stands in for the clock of the containers' writer."""

    now_s = START_S

    def time(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("xfel_apps.containers.writer.time", clock)
    return clock


def write_part(folder: Path, product: Product, ends_s: Mapping[int, float], clock: Clock) -> None:
    """Write a part file; its shots ended at these times."""
    with ContainerWriter(folder, 0, product, "d") as writer:
        for event, end_s in ends_s.items():
            clock.now_s = START_S + end_s
            writer.append(event, ShotResult(OUTCOME[product.name]), clock.now_s - 1.0, 1.0)


def write_version(trial: Path, version: str, digest: str, made_s: float) -> None:
    path = trial / "datasets" / "all" / version / "merged.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"inputs": {"r0001": digest}}))
    os.utime(path, (START_S + made_s, START_S + made_s))


@pytest.fixture
def run(tmp_path, clock) -> Path:
    """Return a live run of five shots in two chunks: four searched, two integrated and merged."""
    live = LiveRun(tmp_path / "000", "r0001")
    write_events(live.chunk(0), [7, 3, 5], [0.0, 1.0, 2.0])
    write_events(live.chunk(3), [1, 9], [10.0, 11.0])
    write_part(live.parts("crew-a", "spots"), SPOTS, {0: 3.0, 1: 3.5, 2: 30.0}, clock)
    write_part(live.parts("crew-b", "spots"), SPOTS, {2: 4.0, 3: 12.5}, clock)
    write_part(live.parts("crew-a", "crystals"), CRYSTALS, {0: 3.25, 1: 4.0}, clock)
    write_part(live.parts("crew-a", "reflections"), REFLECTIONS, {0: 3.75, 1: 4.5}, clock)
    log = [{"digest": "s1", "new": [0]}, {"digest": "s2", "new": [1]}, {"digest": "s3", "new": []}]
    live.snapshots.write_text("".join(f"\n{json.dumps(entry)}" for entry in log) + '\n{"digest": ')
    write_version(live.trial, "v001", "s1", 20.0)
    write_version(live.trial, "v002", "s3", 50.0)
    return live.products


EXPECTED = {
    "spotfind": [3.0, 2.5, 2.0, 2.5, np.nan],
    "index": [3.25, 3.0, np.nan, np.nan, np.nan],
    "integrate": [3.75, 3.5, np.nan, np.nan, np.nan],
    "merge": [20.0, 49.0, np.nan, np.nan, np.nan],
}


def assert_expected(run: Path) -> None:
    found = latencies_of(run)
    np.testing.assert_array_equal(found["complete_s"] - START_S, [0.0, 1.0, 2.0, 10.0, 11.0])
    for stage, expected in EXPECTED.items():
        np.testing.assert_allclose(found[stage], expected, atol=1e-6, err_msg=stage)


def test_a_live_run_has_the_first_time_of_each_result(run):
    assert_expected(run)


def test_sealing_keeps_them_whatever_is_done_anew(run, clock):
    live = LiveRun(run.parent, run.name)
    keep(live.first, first_results(live, 5))
    for crew in live.crews():
        for path in crew.glob("*/*"):
            path.unlink()
    # Sealed by number of file: all was searched again, an hour later.
    write_events(run, [1, 3, 5, 7, 9], [99.0] * 5)
    clock.now_s = START_S + 3600.0
    rows = dict.fromkeys(range(4), ShotResult(Outcome.MISS))
    write_product(run, SPOTS, rows, dict.fromkeys(range(5), Outcome.MISS))
    assert_expected(run)


def test_a_batch_run_has_latencies_as_well(tmp_path, clock):
    run = tmp_path / "000" / "r0001"
    write_events(run, [0, 1], [0.0, 5.0])
    for product in (SPOTS, CRYSTALS, REFLECTIONS):
        clock.now_s += 10.0
        rows = dict.fromkeys(range(2), ShotResult(OUTCOME[product.name]))
        write_product(run, product, rows, dict.fromkeys(range(2), OUTCOME[product.name]))
    write_version(run.parent, "v001", "reflections-digest", 100.0)
    found = latencies_of(run)
    assert found["spotfind"].tolist() == [10.0, 5.0]
    assert found["integrate"].tolist() == [30.0, 25.0]
    assert found["merge"].tolist() == [100.0, 95.0]


def test_quantiles_by_stage_and_run(run):
    summaries = summarize(latencies(run.parents[1]))
    assert list(summaries) == ["000/r0001"]
    spotfind = summaries["000/r0001"]["spotfind"]
    assert (spotfind.n, spotfind.median_s, spotfind.max_s) == pytest.approx((4, 2.5, 3.0))
    console = Console(width=100)
    with console.capture() as capture:
        console.print(show_latency(latencies(run)))
    text = capture.get()
    assert "5 s  ████████████ 4" in text
    assert "r0001  integrate" in text


def test_the_command_prints_json_and_draws(run, tmp_path):
    picture = tmp_path / "latency.png"
    result = CliRunner().invoke(app, ["latency", str(run.parent), "--json", "--plot", str(picture)])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["r0001"]["merge"]["p90_s"] == pytest.approx(46.1)
    with Image.open(picture) as image:
        assert image.width > 1000
    assert CliRunner().invoke(app, ["latency", str(run), "--plot", "x.pdf"]).exit_code == 1


def test_nothing_to_tell_is_said(tmp_path):
    with pytest.raises(ContainerError, match="no such folder"):
        latencies(tmp_path / "nowhere")
    with pytest.raises(ContainerError, match="no shot here has a time"):
        latencies(tmp_path)
