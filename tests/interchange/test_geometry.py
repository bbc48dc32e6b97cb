"""The geometry file of a stream: the run's own where it has one, moved where its panels are."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from tests.interchange import a_run
from xfel_apps.containers.events import Events
from xfel_apps.errors import SourceError
from xfel_apps.geometry import Detector
from xfel_apps.interchange import export, load
from xfel_apps.interchange.models import detector_model, read_detector


def with_geometry(run: Path, geometry: Path, detector: Detector, settings: dict) -> None:
    """Let the run say that its raw files need a geometry file, and where its panels are."""
    manifest = json.loads((run / "events.json").read_text())
    manifest["extra"] |= {"geometry": str(geometry), "detectors": [detector.to_json()]}
    (run / "events.json").write_text(json.dumps({**manifest, "settings": settings}))


def shifted(detector: Detector) -> Detector:
    panels = [
        replace(panel, origin_mm=tuple(np.add(panel.origin_mm, (0.2, -0.1, 0.05 * number))))
        for number, panel in enumerate(detector.panels)
    ]
    return replace(detector, panels=tuple(panels))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return a_run.write_run(tmp_path / "r1")


def test_the_run_s_own_geometry_file_is_kept_word_for_word(run: Path, tmp_path: Path) -> None:
    _, geometry = export([run], "crystfel", tmp_path / "first.stream")
    own = tmp_path / "own.geom"
    own.write_text("; bad pixels and comments stay\n" + geometry.read_text())
    with_geometry(run, own, a_run.DETECTOR, {})
    stream, written = export([run], "crystfel", tmp_path / "second.stream")
    assert written.read_text() == own.read_text()
    assert own.read_text().rstrip() in stream.read_text()


@pytest.mark.parametrize(("first_dimension", "events"), [("0", 0), ("%", 6)])
def test_events_are_numbered_where_files_hold_many_frames(
    run: Path, tmp_path: Path, first_dimension: str, events: int
) -> None:
    _, geometry = export([run], "crystfel", tmp_path / "first.stream")
    own = tmp_path / "own.geom"
    own.write_text(geometry.read_text().replace("dim0 = %", f"dim0 = {first_dimension}"))
    with_geometry(run, own, a_run.DETECTOR, {})
    stream, _ = export([run], "crystfel", tmp_path / "second.stream")
    assert stream.read_text().count("\nEvent: //") == events


def test_a_dataset_for_each_event_is_refused(run: Path, tmp_path: Path) -> None:
    _, geometry = export([run], "crystfel", tmp_path / "first.stream")
    own = tmp_path / "own.geom"
    own.write_text(geometry.read_text().replace("/entry/data/data", "/entry/%/data"))
    with_geometry(run, own, a_run.DETECTOR, {})
    with pytest.raises(SourceError, match="a dataset for each event"):
        export([run], "crystfel", tmp_path / "second.stream")


def test_panels_that_were_refined_are_moved_in_the_file(run: Path, tmp_path: Path) -> None:
    _, geometry = export([run], "crystfel", tmp_path / "first.stream")
    a_run.write_raw(run / "raw.h5")
    moved = shifted(a_run.DETECTOR)
    with_geometry(run, geometry, moved, {"panels": "refined.json"})
    stream, _ = export([run], "crystfel", tmp_path / "second.stream")
    load([stream], tmp_path / "back")
    found = Events.read(tmp_path / "back" / "events.json").detectors[0]
    np.testing.assert_allclose(found.origins_mm, moved.origins_mm, atol=1e-7)


def test_moved_panels_need_the_raw_file(run: Path, tmp_path: Path) -> None:
    _, geometry = export([run], "crystfel", tmp_path / "first.stream")
    with_geometry(run, geometry, shifted(a_run.DETECTOR), {"panels": "refined.json"})
    with pytest.raises(SourceError, match="no such raw file"):
        export([run], "crystfel", tmp_path / "second.stream")


def test_shots_on_two_detectors_are_two_streams(run: Path, tmp_path: Path) -> None:
    """And one set of DIALS files."""
    other = a_run.write_run(tmp_path / "r2")
    manifest = json.loads((other / "events.json").read_text())
    manifest["extra"]["detectors"] = [shifted(a_run.DETECTOR).to_json()]
    for name in ("events", "spots", "crystals", "reflections"):
        item = json.loads((other / f"{name}.json").read_text())
        extra = manifest["extra"] if name == "events" else item["extra"]
        (other / f"{name}.json").write_text(json.dumps({**item, "run": "r2", "extra": extra}))
    written = export([run, other], "crystfel", tmp_path / "all.stream")
    assert [path.name for path in written] == [
        "all.stream", "all.geom", "all-2.stream", "all-2.geom"
    ]  # fmt: skip
    files = export([run, other], "dials", tmp_path / "dials")
    load(files, tmp_path / "both")
    events = Events.read(tmp_path / "both" / "events.json")
    assert len(events.frame) == 12
    assert len(events.detectors) == 2


def test_detector_models_come_back_whole() -> None:
    thick = replace(a_run.DETECTOR.panels[0], thickness_mm=0.45, mu_invmm=3.8, gain=2.5)
    detector = replace(a_run.DETECTOR, panels=(thick, a_run.DETECTOR.panels[1]))
    back = read_detector(json.loads(json.dumps(detector_model(detector))))
    assert back == detector


def test_panels_without_a_place_are_put_below_each_other() -> None:
    model = detector_model(a_run.DETECTOR)
    for panel in model["panels"]:
        panel["raw_image_offset"] = [0, 0]
    found = read_detector(model)
    assert [panel.slab_start for panel in found.panels] == [(0, 0), (150, 0)]
    assert found.slab_shape == (300, 300)
    assert asdict(found.panels[0]) == asdict(a_run.DETECTOR.panels[0])
