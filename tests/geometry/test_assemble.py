"""Pictures of detectors: what lies where, looking downstream."""

import numpy as np
import pytest

from xfel_apps.geometry import Beam, Detector, Panel
from xfel_apps.geometry.assemble import Plane, assemble, shrink

BEAM = Beam(1.3)


def panel(name, origin_mm, fast=(1.0, 0.0, 0.0), slow=(0.0, -1.0, 0.0), slab_start=(0, 0)):
    return Panel(name, origin_mm, fast, slow, (0.1, 0.1), (20, 30), slab_start)


def standard():
    """One panel of 20 x 30 pixels with the beam in its middle, 100 mm away."""
    return Detector((panel("p0", (-1.5, 1.0, -100.0)),), (20, 30))


def test_first_pixel_is_top_left():
    detector = standard()
    slab = np.arange(600.0).reshape(20, 30)
    picture = assemble(detector, BEAM).image(slab)
    np.testing.assert_array_equal(picture[::-1], slab)


def test_pixels_and_picture_agree_about_positions():
    assembly = assemble(standard(), BEAM)
    xy = assembly.xy_mm(standard(), np.array([0]), np.array([0.5]), np.array([0.5]))
    left, _, _, top = assembly.extent_mm
    np.testing.assert_allclose(xy[0], [left + 0.05, top - 0.05], atol=1e-9)


def test_gap_and_quarter_turn():
    turned = panel("p1", (3.0, -1.0, -100.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (20, 0))
    detector = Detector((panel("p0", (-1.5, 1.0, -100.0)), turned), (40, 30))
    slab = np.zeros((40, 30))
    slab[20 + 3, 7] = (
        5.0  # slow 3, fast 7 of the turned panel: 0.35 right of and 0.75 above its corner
    )
    assembly = assemble(detector, BEAM)
    picture = assembly.image(slab)
    rows, columns = np.nonzero(picture == 5.0)
    left, _, bottom, _ = assembly.extent_mm
    assert (rows.size, columns.size) == (1, 1)
    np.testing.assert_allclose(left + (columns + 0.5) * 0.1, 3.35, atol=0.051)
    np.testing.assert_allclose(bottom + (rows + 0.5) * 0.1, -0.25, atol=0.051)
    gap = int((2.0 - left) / 0.1)
    assert np.isnan(picture[:, gap]).all()


def test_every_pixel_of_a_tilted_panel_is_seen():
    """A panel tilted by 20 degrees: the picture shows (nearly) all its pixels, each once or so."""
    angle_rad = np.radians(20.0)
    tilted = panel("t", (2.0, 1.0, -100.0), (np.cos(angle_rad), 0.0, -np.sin(angle_rad)))
    assembly = assemble(Detector((tilted,), (20, 30)), BEAM, pixel_mm=0.05)
    assert set(range(600)) <= set(assembly.source.ravel().tolist())


def test_rings_are_where_bragg_says():
    plane = Plane.across(standard(), BEAM)
    assert plane.distance_mm == pytest.approx(100.0)
    two_theta_rad = 2 * np.arcsin(1.3 / (2 * 2.0))
    assert plane.ring_mm(2.0, 1.3) == pytest.approx(100.0 * np.tan(two_theta_rad))
    assert np.isnan(plane.ring_mm(0.9, 1.3))


def test_region():
    picture = assemble(standard(), BEAM, region_mm=(0.0, 0.5, 0.0, 0.3)).image(
        np.arange(600.0).reshape(20, 30)
    )
    np.testing.assert_array_equal(picture[::-1][:, 0], [15 + 30 * 7, 15 + 30 * 8, 15 + 30 * 9])


def test_shrink_keeps_the_spot():
    picture = np.zeros((11, 7), dtype=np.float32)
    picture[10, 6] = 9.0
    small = shrink(picture, 4)
    assert small.shape == (3, 2)
    assert small[2, 1] == 9.0
