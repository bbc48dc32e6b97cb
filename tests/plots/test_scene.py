"""A shot for browsers: parts of its picture, its marks by outcome, the pixels of a reflection."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.tiny_trial import DETECTOR
from xfel_apps.containers.reflections import ReflectionFlag
from xfel_apps.containers.results import RunResults
from xfel_apps.plots import scene as scenes
from xfel_apps.plots.scene import Scene
from xfel_apps.plots.shot import load_shot
from xfel_apps.plots.shot_list import SHOULD, shot_list


@pytest.fixture
def run(tiny_trial):
    results = RunResults(tiny_trial / "r0001")
    yield results
    results.close()


@pytest.fixture
def shot(run):
    photons = np.random.default_rng(0).poisson(3.0, (200, 200)).astype(np.float32)
    photons[130, 40] = 500.0  # on the lower panel, at (fast, slow) = (40.5, 30.5)
    return replace(load_shot(run, 6), photons=photons)


def test_a_part_lies_where_it_says_and_shows_the_bright_pixel(shot):
    scene = Scene.of(shot)
    x, y = scene.plane.xy_mm(DETECTOR.lab_mm(np.array([1]), np.array([40.5]), np.array([30.5])))[0]
    png, where = scene.png((x - 1, x + 1, y - 1, y + 1), 99.9)
    image = np.asarray(Image.open(io.BytesIO(png)))
    row, column = np.unravel_index(image.argmin(), image.shape)
    left, right, bottom, top = where
    assert left + (column + 0.5) * (right - left) / image.shape[1] == pytest.approx(x, abs=0.06)
    assert top - (row + 0.5) * (top - bottom) / image.shape[0] == pytest.approx(y, abs=0.06)
    assert image.shape[0] < 25


def test_all_of_the_picture_and_nothing_of_it(shot):
    scene = Scene.of(shot)
    assert scene.png(None, 99.9)[1] == pytest.approx(scene.extent_mm)
    png, _ = scene.png((900.0, 901.0, 900.0, 901.0), 99.9)
    assert Image.open(io.BytesIO(png)).size == (1, 1)


def test_predictions_by_outcome_each_in_one(shot):
    flags = np.zeros(len(shot.reflections), np.uint8)
    flags[:4] = ReflectionFlag.OVERLAP | ReflectionFlag.EDGE
    flags[4:7] = ReflectionFlag.SATURATED
    flagged = replace(shot, reflections=replace(shot.reflections, flags=flags))
    counts = {name: int(rows.sum()) for name, _, rows in scenes.outcomes(flagged)}
    assert counts == {
        "integrated": len(flags) - 7,
        "left out: overlap": 4,
        "left out: saturated": 3,
    }
    names = [trace["name"] for trace in scenes.chart(Scene.of(flagged))["data"] if "name" in trace]
    assert names == [
        "spot, not indexed (2)",
        f"spot, indexed ({len(shot.spots) - 2})",
        f"integrated ({len(flags) - 7})",
        "left out: overlap (4)",
        "left out: saturated (3)",
    ]


def test_close_up_of_a_reflection(shot):
    data = scenes.close_up(shot, 1, 40.7, 30.2)["data"]
    z = np.array(data[0]["z"], dtype=float)
    assert z.shape == (17, 17)
    assert (data[0]["x"][z.argmax() % 17], data[0]["y"][z.argmax() // 17]) == (40.5, 30.5)
    assert max(data[2]["y"]) > 500
    assert np.array(scenes.close_up(shot, 0, 0.2, 99.9)["data"][0]["z"]).shape == (9, 9)


def test_a_frame_that_cannot_be_read_still_has_its_panels(run):
    scene = Scene.of(load_shot(run, 6))
    assert scene.shot.photons is None
    assert scene.png(None, 99.9)[0].startswith(b"\x89PNG")
    assert scenes.close_up(scene.shot, 0, 50.0, 50.0)["data"][0]["z"][0][0] is None


def test_lists_of_shots(run):
    """Of 20 shots: 2 failed, 4 + 2 (hot pixels) missed, 2 not indexed, 10 integrated."""
    shots = shot_list(run)
    counts = {kind: len(shots.of(kind)) for kind in ("all", "hits", "integrated", "missed")}
    assert counts == {"all": 20, "hits": 12, "integrated": 10, "missed": 6}
    assert shots.of("failed").tolist() == [0, 10]
    assert shots.of("not indexed").tolist() == [3, 13]
    # 20 + event % 7 spots: shots 3 and 13 have 23 and 26, half of the integrated at most 22
    usual = [20 + event % 7 for event in shots.of("integrated")]
    assert shots.of(SHOULD).tolist() == [13, 3]
    assert shots.spots_of(13) == 26
    assert shots.richer_than(13) == pytest.approx(np.mean(np.array(usual) < 26))
