"""One shot against what physics says of it."""

import numpy as np
import pytest

from xfel_apps.geometry.stills import q_of_spots, resolution_ang
from xfel_apps.simulate.settings import SimulateSettings
from xfel_apps.simulate.shot import (
    Experiment,
    detect,
    draw_truth,
    make_experiment,
    mean_photons,
    random_rotation,
    shot_rng,
    spectrum,
)

SMALL = {
    "crystal": {"cell": (50, 50, 40, 90, 90, 90), "d_min_ang": 2.5, "size_um": 3.0},
    "detector": {"module_px": (256, 256), "pixel_mm": 0.3},
}


def experiment(**changes: object) -> Experiment:
    data = {**SMALL, **changes}
    return make_experiment(None, SimulateSettings.checked(data))


@pytest.fixture(scope="module")
def tilted() -> Experiment:
    """Four turned modules with gaps."""
    detector = {"modules": (2, 2), "module_px": (128, 128), "pixel_mm": 0.3, "tilt_deg": 2.0}
    return experiment(detector=detector, hit_fraction=1.0)


def test_orientations_are_uniform():
    """The angle of a uniform rotation has mean pi/2 + 2/pi, and no direction is preferred."""
    rng = np.random.default_rng(3)
    turns = np.array([random_rotation(rng) for _ in range(4000)])
    np.testing.assert_allclose(
        turns @ turns.transpose(0, 2, 1), np.tile(np.eye(3), (4000, 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(turns), 1.0)
    angle = np.arccos(np.clip((np.trace(turns, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert angle.mean() == pytest.approx(np.pi / 2 + 2 / np.pi, abs=0.04)
    np.testing.assert_allclose(turns.mean(axis=0), 0.0, atol=0.04)
    np.testing.assert_allclose((turns**2).mean(axis=0), 1 / 3, atol=0.02)


def test_brightest_pixels_lie_at_miller_indices_of_the_crystal(tilted):
    """h = A^-1 q is whole within the width of the blocks, on turned modules too."""
    for shot in range(4):
        truth = draw_truth(tilted, shot, shot_rng(1, shot))
        photons = mean_photons(tilted, truth) - mean_photons(tilted, _without_crystal(truth))
        for index, panel in enumerate(tilted.detector.panels):
            slow, fast = np.divmod(np.argsort(photons[panel.slab], axis=None)[-20:], panel.shape[1])
            q = q_of_spots(
                tilted.detector,
                tilted.beam.with_wavelength(truth.wavelength_ang),
                np.full(20, index),
                fast + 0.5,
                slow + 0.5,
            )
            h = q @ np.linalg.inv(truth.a_matrices[0]).T
            blocks = tilted.settings.crystal.block_ang / truth.cell[:3]
            assert np.all(np.abs(h - np.rint(h)) * blocks < 3.0)
            assert np.all(np.abs(np.rint(h)).sum(axis=1) > 0)


def _without_crystal(truth):
    return type(truth)(**{**truth.__dict__, "kind": "blank"})


def test_background_of_water_follows_solid_angle_and_polarisation():
    """At the ring, horizontally and vertically: cos^3 of the angle, and its cos^2 in the plane."""
    made = experiment(background={"water_photons": 10.0, "air_photons": 0.0, "water_spread": 0.0})
    panel, water = made.detector.panels[0], made.background.water
    beam_fast = -panel.origin_mm[0] / 0.3
    beam_slow = panel.origin_mm[1] / 0.3
    radius_px = 80.0 / 0.3 * np.tan(2 * np.arcsin(0.162 * made.beam.wavelength_ang))
    angle = np.arctan(radius_px * 0.3 / 80.0)
    across = water[int(beam_slow), int(beam_fast + radius_px)]
    upward = water[int(beam_slow + radius_px), int(beam_fast)]
    assert upward == pytest.approx(10.0 * np.cos(angle) ** 3, rel=0.01)
    assert across == pytest.approx(10.0 * np.cos(angle) ** 5, rel=0.01)


def test_noise_is_that_of_counting():
    """Variance over mean is 1 photon; with a gain it is the gain, plus the read-out noise."""
    plain = experiment()
    noisy = experiment(detector={**SMALL["detector"], "gain": 4.0, "read_noise_adu": 3.0})
    flat = np.full(plain.detector.slab_shape, 6.0)
    counts = detect(plain, flat, np.random.default_rng(0))
    assert counts.mean() == pytest.approx(6.0, abs=0.05)
    assert counts.var() == pytest.approx(6.0, rel=0.03)
    adu = detect(noisy, flat, np.random.default_rng(0))
    assert adu.mean() == pytest.approx(24.0, abs=0.2)
    assert adu.var() == pytest.approx(16 * 6.0 + 9.0, rel=0.03)


def test_saturated_dead_and_hot_pixels():
    made = experiment(
        detector={**SMALL["detector"], "saturation_adu": 50, "hot_fraction": 1e-3,
                  "dead_fraction": 2e-3}
    )  # fmt: skip
    shape = made.detector.slab_shape
    counts = detect(made, np.full(shape, 100.0), np.random.default_rng(0))
    assert len(made.bad.dead) == round(2e-3 * counts.size)
    assert len(made.bad.hot) == round(1e-3 * counts.size)
    assert np.all(counts.flat[made.bad.dead] == 0)
    assert counts.max() == 51
    assert np.mean(counts == 51) > 0.99
    dark = detect(made, np.zeros(shape), np.random.default_rng(0))
    assert set(np.flatnonzero(dark)) <= set(made.bad.hot)
    assert not set(made.bad.hot) & set(made.bad.dead)


def test_kinds_come_in_the_fractions_asked_for(tilted):
    made = experiment(hit_fraction=0.6, weak_fraction=0.3)
    kinds = [draw_truth(made, shot, shot_rng(1, shot)).kind for shot in range(300)]
    assert kinds.count("hit") == pytest.approx(180, abs=30)
    assert kinds.count("weak") == pytest.approx(90, abs=27)


def test_cells_vary_as_asked_and_keep_their_symmetry(tilted):
    shots = [draw_truth(tilted, shot, shot_rng(1, shot)) for shot in range(200)]
    cells = np.array([shot.cell for shot in shots])
    np.testing.assert_allclose(cells[:, 0], cells[:, 1])
    spread = cells[:, [0, 2]].std(axis=0) / [50, 40]
    np.testing.assert_allclose(spread, tilted.settings.crystal.cell_spread, rtol=0.2)
    real = np.linalg.inv([shot.a_matrices[0] for shot in shots])
    np.testing.assert_allclose(np.linalg.norm(real, axis=2), cells[:, :3])


def test_spectrum_has_the_width_asked_for():
    beam = SimulateSettings.checked({"beam": {"bandwidth": 0.01, "wavelengths": 101}}).beam
    wavelengths, weights = spectrum(beam, 1.3)
    assert weights.sum() == pytest.approx(1.0)
    assert weights @ wavelengths == pytest.approx(1.3)
    above = wavelengths[weights > weights.max() / 2]
    assert np.ptp(above) / 1.3 == pytest.approx(0.01, rel=0.05)


def test_spots_reach_the_resolution_of_the_structure_factors(tilted):
    truth = draw_truth(tilted, 0, shot_rng(1, 0))
    photons = mean_photons(tilted, truth) - mean_photons(tilted, _without_crystal(truth))
    lab = tilted.detector.pixel_lab_mm()
    unit = lab / np.linalg.norm(lab, axis=2, keepdims=True)
    d_ang = resolution_ang((unit - np.array([0.0, 0.0, -1.0])) / truth.wavelength_ang)
    assert photons[d_ang < 2.35].max() < 1e-6 < photons[(d_ang > 2.6) & (d_ang < 3.0)].max()
