"""One shot against what physics says of it."""

import numpy as np
import pytest

from xfel_apps.compute.amorphous import WATER
from xfel_apps.compute.point_spread import PointSpread
from xfel_apps.geometry.stills import q_of_spots, resolution_ang
from xfel_apps.simulate.background import thickness_mm
from xfel_apps.simulate.settings import SimulateSettings
from xfel_apps.simulate.shot import (
    Experiment,
    detect,
    draw_truth,
    illumination,
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


def _spots(made, truth):
    return mean_photons(made, truth) - mean_photons(made, _without_crystal(truth))


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
    wavelengths, weights = spectrum(beam, 1.3, np.random.default_rng(0))
    assert weights.sum() == pytest.approx(1.0)
    assert weights @ wavelengths == pytest.approx(1.3)
    above = wavelengths[weights > weights.max() / 2]
    assert np.ptp(above) / 1.3 == pytest.approx(0.01, rel=0.05)


def test_sase_spectra_are_spikes_with_that_width_on_average():
    """Each mode's intensity has the spread of an exponential distribution: as great as its mean."""
    settings = {"beam": {"bandwidth": 0.01, "wavelengths": 51, "sase": True}}
    beam = SimulateSettings.checked(settings).beam
    rng = np.random.default_rng(1)
    pulses = np.array([spectrum(beam, 1.3, rng)[1] for _ in range(2000)])
    np.testing.assert_allclose(pulses.sum(axis=1), 1.0)
    middle = pulses[:, 15:36]
    np.testing.assert_allclose(middle.std(axis=0) / middle.mean(axis=0), 1.0, atol=0.15)
    even = spectrum(beam.model_copy(update={"sase": False}), 1.3, rng)[1]
    np.testing.assert_allclose(pulses.mean(axis=0)[15:36], even[15:36], rtol=0.15)


def test_domains_turn_about_the_crystals_own_axes_and_on_average_not_at_all(tilted):
    """Mosaicity about a* x c only: b*, the axis of the turns, stays where it is."""
    crystal = {**SMALL["crystal"], "mosaicity_deg": (0.0, 0.5, 0.0), "domains": 16}
    made = experiment(crystal=crystal, hit_fraction=1.0)
    truth = draw_truth(made, 2, shot_rng(1, 2))
    turned = truth.domains[0] @ truth.a_matrices[0]
    np.testing.assert_allclose(turned[:, :, 1] - truth.a_matrices[0][:, 1], 0.0, atol=1e-12)
    assert np.linalg.norm(turned[:, :, 0] - truth.a_matrices[0][:, 0], axis=1).max() > 1e-5
    np.testing.assert_allclose(truth.domains[0].mean(axis=0), np.eye(3), atol=2e-5)


def test_a_sensor_counts_the_share_of_photons_that_it_absorbs(tilted):
    """0.5 um where 1/e are left after 1.15: 0.353 of those straight on, more at an angle."""
    truth = draw_truth(tilted, 1, shot_rng(1, 1))
    thin = {"sensor_um": 0.5, "attenuation_um": 1.15}
    made = experiment(detector={**tilted.settings.detector.model_dump(), **thin}, hit_fraction=1.0)
    assert 0.35 < _spots(made, truth).sum() / _spots(tilted, truth).sum() < 0.45


def test_a_divergent_beam_has_its_directions(tilted):
    made = experiment(beam={"divergence_mrad": (1.0, 0.0), "directions": 16}, hit_fraction=1.0)
    truth = draw_truth(made, 1, shot_rng(1, 1))
    angles = illumination(made, truth).directions
    assert angles.shape == (16, 3)
    assert angles[:, 0].std() * 1e3 == pytest.approx(1.0 / 2.3548, rel=1e-3)
    np.testing.assert_allclose(angles[:, 1], 0.0, atol=1e-12)


def test_background_by_thickness_is_the_background_by_photons():
    """What puts 10 photons at the ring of water, said as micrometres."""
    by_photons = experiment(background={"water_photons": 10.0, "air_photons": 0.0})
    water_um = 1e3 * thickness_mm(WATER, 10.0, by_photons.settings)
    by_um = experiment(background={"water_um": water_um, "air_photons": 0.0})
    np.testing.assert_allclose(by_um.background.water, by_photons.background.water, rtol=1e-6)


def test_signal_spreads_and_pixels_differ_in_gain():
    """Spread lowers the variance of counting to the sum of the squared shares; gain adds its own"""
    spread = {**SMALL["detector"], "gain": 100.0, "spread_fwhm_px": 1.5}
    uneven = {**SMALL["detector"], "gain": 100.0, "gain_spread": 0.02}
    flat = np.full((256, 256), 50.0)
    adu = detect(experiment(detector=spread), flat, np.random.default_rng(0))[8:-8, 8:-8]
    shares = PointSpread(1.5).kernel()
    assert adu.mean() == pytest.approx(5000.0, rel=0.002)
    assert adu.var() == pytest.approx(1e4 * 50.0 * np.sum(shares**2), rel=0.05)
    made = experiment(detector=uneven)
    rng = np.random.default_rng(0)
    mean = np.mean([detect(made, flat, rng) for _ in range(100)], axis=0)
    assert (mean / 5000.0).std() == pytest.approx(np.hypot(0.02, 0.1 / np.sqrt(50.0)), rel=0.05)
    assert np.corrcoef(mean.ravel(), made.bad.gain.ravel())[0, 1] > 0.7


def test_spots_reach_the_resolution_of_the_structure_factors(tilted):
    truth = draw_truth(tilted, 0, shot_rng(1, 0))
    photons = mean_photons(tilted, truth) - mean_photons(tilted, _without_crystal(truth))
    lab = tilted.detector.pixel_lab_mm()
    unit = lab / np.linalg.norm(lab, axis=2, keepdims=True)
    d_ang = resolution_ang((unit - np.array([0.0, 0.0, -1.0])) / truth.wavelength_ang)
    assert photons[d_ang < 2.35].max() < 1e-6 < photons[(d_ang > 2.6) & (d_ang < 3.0)].max()
