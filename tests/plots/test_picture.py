"""Pictures of shots: what is drawn where, whatever became of the shot."""

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from tests.tiny_trial import CELL, DETECTOR, crystal_columns
from xfel_apps.containers.crystals import Crystals
from xfel_apps.geometry import Beam
from xfel_apps.geometry.assemble import Plane
from xfel_apps.plots.picture import Look, contrast, draw, ring_resolutions
from xfel_apps.plots.shot import Marks, Shot

BEAM = Beam(1.3)


def marks(lattice: list[int]) -> Marks:
    n = len(lattice)
    return Marks(np.zeros(n, int), np.linspace(20, 180, n), np.full(n, 50.0), np.array(lattice))


def shot(**changes) -> Shot:
    rng = np.random.default_rng(0)
    fields = {
        "run": "r0001",
        "event": 7,
        "place": "raw.h5, frame 7",
        "outcome": "integrated",
        "reason": "",
        "detector": DETECTOR,
        "beam": BEAM,
        "photons": rng.poisson(8.0, DETECTOR.slab_shape).astype(np.float32),
        "problem": "",
        "spots": marks([-1, 0, 0]),
        "predictions": marks([0, 0, 0, 0]),
        "crystals": Crystals.make(**crystal_columns(7, 3)),
    }
    return Shot(**{**fields, **changes})


def offsets(axes) -> np.ndarray:
    """Return the places of all marks in a drawing."""
    found = [item for item in axes.collections if isinstance(item, PathCollection)]
    return np.concatenate([np.asarray(item.get_offsets()) for item in found])


def test_marks_are_where_the_geometry_says():
    frame = draw(shot(), Look()).axes[0]
    places = offsets(frame)
    assert len(places) == 3 + 4
    # panel 0 starts at (-10, 10.5) mm, pixels of 0.1 mm: fast 20, slow 50 is at (-8, 5.5)
    assert np.hypot(*(places - [-8.0, 5.5]).T).min() < 1e-9


def test_title_says_what_became_of_it():
    text = draw(shot(), Look()).get_suptitle()
    assert "r0001, shot 7 (raw.h5, frame 7)" in text
    assert "3 spots, 2 indexed, 4 reflections predicted" in text
    assert f"{CELL[2]:.0f}" in text


def test_rings_are_labelled_where_bragg_says():
    labels = draw(shot(), Look()).axes[0].texts
    assert len(labels) >= 3
    for label in labels:
        d_ang = float(label.get_text().removesuffix(" Å"))
        radius_mm = 80.0 * np.tan(2.0 * np.arcsin(1.3 / (2.0 * d_ang)))
        assert np.hypot(*label.get_position()) == pytest.approx(radius_mm)


def test_what_is_not_wanted_is_not_drawn():
    frame = draw(shot(), Look(marks=False, predictions=False, rings=False)).axes[0]
    assert not frame.collections
    assert not frame.texts


@pytest.mark.parametrize("outcome", ["miss", "failed", "filtered"])
def test_shots_without_lattice(outcome):
    empty = shot(
        outcome=outcome,
        reason="3 spots, 15 wanted",
        spots=Marks.none(),
        predictions=Marks.none(),
        crystals=Crystals.empty(),
    )
    figure = draw(empty, Look())
    assert f"{outcome}: 3 spots, 15 wanted" in figure.get_suptitle()
    assert len(figure.axes) == 1


def test_frames_that_cannot_be_read_say_so():
    frame = draw(shot(photons=None, problem="raw.h5: truncated"), Look()).axes[0]
    assert any("raw.h5: truncated" in item.get_text() for item in frame.texts)


def test_region_is_drawn_alone():
    figure = draw(shot(), Look(region_mm=(-9.0, -7.0, 4.5, 6.5)))
    assert len(figure.axes) == 1
    assert figure.axes[0].get_xlim() == pytest.approx((-9.0, -7.0))


def test_contrast_shows_noise_and_keeps_spots_apart():
    rng = np.random.default_rng(0)
    picture = rng.poisson(100.0, (200, 200)).astype(float)
    picture[5, 5] = np.nan
    norm = contrast(picture, 99.9)
    assert 0.0 < norm(100.0) < 0.25
    assert norm(180.0) > 0.9


def test_contrast_of_nothing():
    assert contrast(np.full((3, 3), np.nan), 99.9).vmax == 1.0


@pytest.mark.parametrize(("distance_mm", "reach_mm"), [(80.0, 50.0), (60.0, 300.0), (500.0, 10.0)])
def test_rings_stay_in_reach(distance_mm, reach_mm):
    plane = Plane(distance_mm, np.eye(3))
    for d_ang in ring_resolutions(plane, 1.0, reach_mm):
        assert plane.ring_mm(d_ang, 1.0) < 1.15 * reach_mm
