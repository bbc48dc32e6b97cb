"""Water and air against the formula, and against the background that nanoBragg computed."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from xfel_apps.compute.amorphous import AIR, WATER, amorphous_photons
from xfel_apps.compute.forward import Illumination, Rectangles

BEAM_MM2 = 0.003**2
PHOTONS = 5e10


def pulse(wavelength_ang: float) -> Illumination:
    return Illumination(np.array([wavelength_ang]), np.array([PHOTONS / BEAM_MM2]))


def test_one_pixel_by_hand() -> None:
    """Ten micrometres of water, upwards at the angle of the ring: no loss by polarisation."""
    wavelength = 1.3
    two_theta = 2.0 * np.arcsin(0.162 * wavelength)
    high_mm = 80.0 * np.tan(two_theta)
    pixel = Rectangles(
        np.array([[-0.05, high_mm + 0.05, -80.0]]),
        np.array([[[0.1, 0.0], [0.0, -0.1], [0.0, 0.0]]]),
        np.array([[1, 1]]),
    )
    solid_angle = 0.01 / 80.0**2 * np.cos(two_theta) ** 3
    molecules_a_mm2 = 1e-3 / 18.0 * 6.02214076e23 * 0.010
    expected = PHOTONS * molecules_a_mm2 * (2.8179403262e-12) ** 2 * 8.0**2 * solid_angle
    found = amorphous_photons(WATER, 0.010 * BEAM_MM2, pixel, pulse(wavelength))
    assert found[0] == pytest.approx(expected, rel=1e-4)


def test_table_is_met_and_held_beyond_its_ends() -> None:
    stol, amplitude = WATER.amplitude.T
    np.testing.assert_allclose(WATER.amplitude_at(stol), amplitude, rtol=1e-12)
    np.testing.assert_allclose(WATER.amplitude_at(np.array([0.7])), amplitude[-1])


def test_mean_background_is_that_of_nanobragg(data_dir: Path) -> None:
    """130 shots with 10 um of water, thicker or thinner by a known factor, and 2 mm of air."""
    with h5py.File(data_dir / "nanobragg_lysozyme" / "truth.h5") as truth:
        x_mm, y_mm = truth.attrs["beam_centre_mm_fast_slow"]
        thickness, mean, wavelengths = truth["water"][()], truth["bg_mean"][()], truth["wl"][()]
    frame = Rectangles(
        np.array([[-x_mm, y_mm, -80.0]]),
        np.array([[[0.1, 0.0], [0.0, -0.1], [0.0, 0.0]]]),
        np.array([[1024, 1024]]),
    )
    beam = pulse(float(wavelengths.mean()))
    water = amorphous_photons(WATER, 0.010 * BEAM_MM2, frame, beam).mean()
    air = amorphous_photons(AIR, 2.0 * BEAM_MM2, frame, beam).mean()
    np.testing.assert_allclose(thickness * water + air, mean, rtol=5e-4)
