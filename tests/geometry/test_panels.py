"""Detector geometry against known angles, and there and back again."""

import numpy as np
import pytest

from xfel_apps.errors import GeometryError
from xfel_apps.geometry import Beam, Detector, Panel
from xfel_apps.geometry.stills import (
    excitation_error_invang,
    metric_cell,
    q_of_spots,
    ray_on_sphere,
    resolution_ang,
)


def flat(**changes) -> Panel:
    """Return a panel of 100 x 200 pixels of 0.1 mm, 100 mm away, beam at its centre."""
    fields = {
        "name": "p0",
        "origin_mm": (-10.0, 5.0, -100.0),
        "fast": (1.0, 0.0, 0.0),
        "slow": (0.0, -1.0, 0.0),
        "pixel_mm": (0.1, 0.1),
        "shape": (100, 200),
    }
    return Panel(**(fields | changes))


def two_panels(thickness_mm: float = 0.0) -> Detector:
    tilt = np.radians(20)
    sensor = {"thickness_mm": thickness_mm, "mu_invmm": 3.0 if thickness_mm else 0.0}
    tilted = flat(
        name="p1",
        origin_mm=(15.0, 5.0, -90.0),
        fast=(np.cos(tilt), 0.0, np.sin(tilt)),
        slab_start=(100, 0),
        **sensor,
    )
    return Detector((flat(**sensor), tilted), (200, 200))


def test_45_degrees_up_is_known():
    detector = Detector((flat(origin_mm=(0.0, 100.0, -100.0)),), (100, 200))
    beam = Beam(1.0)
    q = q_of_spots(detector, beam, np.array([0]), np.array([0.0]), np.array([0.0]))
    # Bragg: |q| = 2 sin(theta) / wavelength with 2 theta = 45 degrees, upwards (+y)
    assert np.linalg.norm(q) == pytest.approx(2 * np.sin(np.radians(22.5)))
    assert resolution_ang(q)[0] == pytest.approx(1 / (2 * np.sin(np.radians(22.5))))
    np.testing.assert_allclose(q[0] / np.linalg.norm(q), [0, np.cos(np.radians(22.5)),
                                                          np.sin(np.radians(22.5))])  # fmt: skip
    assert excitation_error_invang(q, beam.s0)[0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("thickness_mm", [0.0, 0.45])
def test_pixel_to_ray_and_back(thickness_mm):
    detector = two_panels(thickness_mm)
    rng = np.random.default_rng(1)
    panel = rng.integers(0, 2, 500)
    fast, slow = rng.uniform(1, 199, 500), rng.uniform(1, 99, 500)
    s1 = detector.s1(panel, fast, slow, 1.3)
    np.testing.assert_allclose(np.linalg.norm(s1, axis=1), 1 / 1.3)
    fast_back, slow_back = detector.panel_pixels(panel, s1)
    tolerance_px = 1e-9 if thickness_mm == 0 else 1e-2
    np.testing.assert_allclose(fast_back, fast, atol=tolerance_px)
    np.testing.assert_allclose(slow_back, slow, atol=tolerance_px)
    hit = detector.ray_pixels(s1)[0]
    assert np.mean(hit == panel) > 0.99


def test_parallax_moves_spots_outwards_by_the_known_depth():
    thick = flat(origin_mm=(0.0, 0.0, -100.0), thickness_mm=0.45, mu_invmm=1000.0)
    detector = Detector((thick,), (100, 200))
    recorded = detector.lab_mm(np.array([0]), np.array([150.0]), np.array([0.0]))
    # all absorbed at once, at a mean depth of 1/mu along the ray
    angle = np.arctan2(15.0, 100.0)
    assert recorded[0, 0] == pytest.approx(15.0 - np.sin(angle) / 1000.0, abs=1e-6)


def test_rays_that_miss_every_panel_and_rays_backwards():
    panel, fast, _ = two_panels().ray_pixels(np.array([[1.0, 0, 0], [0, 0, 1.0], [0, 0, -1.0]]))
    assert panel.tolist() == [-1, -1, 0]
    assert fast[2] == pytest.approx(100.0)


def test_slab_holds_every_panel():
    detector = two_panels()
    panel_map = detector.panel_map()
    assert np.unique(panel_map[:100]).tolist() == [0]
    assert np.unique(panel_map[100:]).tolist() == [1]
    lab = detector.pixel_lab_mm()
    np.testing.assert_allclose(lab[50, 100], [0.05, -0.05, -100.0], atol=1e-5)


def test_detector_survives_json():
    detector = two_panels(0.45)
    assert Detector.from_json(detector.to_json()) == detector


def test_impossible_geometry_is_refused():
    with pytest.raises(GeometryError, match="no panels"):
        Detector((), (1, 1))
    with pytest.raises(GeometryError, match="panel p0 reaches 100 x 200"):
        Detector((flat(),), (50, 200))
    with pytest.raises(GeometryError, match="wavelength nan"):
        Beam(float("nan"))


@pytest.mark.parametrize(
    ("s1", "fraction", "expected"),
    [
        ((0, 0, -1), 0.999, 1.0),  # forward: nothing is lost
        ((1, 0, 0), 1.0, 0.0),  # along the field: a dipole does not radiate
        ((0, 1, 0), 1.0, 1.0),  # across the field: all of it
        ((0, 1, 0), 0.5, 0.5),  # unpolarised, at a right angle
    ],
)
def test_polarization_at_known_angles(s1, fraction, expected):
    beam = Beam(1.0, polarization_fraction=fraction)
    assert beam.polarization(np.array([s1], dtype=float))[0] == pytest.approx(expected)


def test_lattice_points_go_to_the_sphere_along_the_radius():
    s0 = Beam(1.3).s0
    q = np.random.default_rng(2).normal(scale=0.2, size=(50, 3))
    s1 = ray_on_sphere(q, s0)
    np.testing.assert_allclose(np.linalg.norm(s1, axis=1), 1 / 1.3)
    offset = excitation_error_invang(q, s0)
    np.testing.assert_allclose(np.linalg.norm(s0 + q - s1, axis=1), np.abs(offset))


def test_cell_of_a_hexagonal_lattice():
    a_star = 2 / (np.sqrt(3) * 93.2)
    b = np.column_stack(
        [
            [a_star, 0, 0],
            [a_star / 2, a_star * np.sqrt(3) / 2, 0],
            [0, 0, 1 / 130.7],
        ]
    )
    np.testing.assert_allclose(metric_cell(b), [93.2, 93.2, 130.7, 90, 90, 120])
