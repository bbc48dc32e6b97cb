"""The compiled forward model is its NumPy twin."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from xfel_apps.compute.forward import (
    Exposure,
    Illumination,
    MosaicCrystal,
    Rectangles,
    Sampling,
    Sensor,
    Shape,
    forward,
    forward_shots,
)
from xfel_apps.compute.forward_reference import forward_reference
from xfel_apps.compute.structure_factors import DenseIntensities


def rotation(rng: np.random.Generator, angle: float | None = None) -> np.ndarray:
    """Return a random rotation, or one by `angle` [rad] about a random axis."""
    axis = rng.normal(size=3)
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = rng.uniform(0, np.pi) if angle is None else angle
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def random_pixels(rng: np.random.Generator) -> Rectangles:
    """Three tilted panels of different sizes, one longer than a block of pixels."""
    origins, axes = [], []
    for _ in range(3):
        tilt = rotation(rng, rng.uniform(0, 0.3)) @ np.array([[1.0, 0], [0, -1], [0, 0]])
        axes.append(tilt * [0.2, 0.3])
        origins.append([rng.uniform(-8, 2), rng.uniform(-2, 8), -rng.uniform(20, 30)])
    return Rectangles(np.array(origins), np.array(axes), np.array([[300, 3], [41, 23], [1, 5]]))


def random_crystal(rng: np.random.Generator, shape: Shape) -> MosaicCrystal:
    box = rng.uniform(0, 1e6, size=(9, 7, 11))
    a_matrix = rotation(rng) @ np.linalg.inv(np.diag([21.0, 27.0, 32.0]) + rng.normal(size=(3, 3)))
    domains = [rotation(rng, rng.uniform(0, 0.02)) @ a_matrix for _ in range(rng.integers(1, 9))]
    n_cells = (float(rng.integers(3, 12)), float(rng.integers(3, 12)), 5.5)
    return MosaicCrystal(np.array(domains), n_cells, DenseIntensities(box, (-4, -3, -5)), shape)


def random_beam(rng: np.random.Generator) -> Illumination:
    n = rng.integers(1, 4)
    direction = rotation(rng, 0.01) @ [0.0, 0.0, -1.0]
    normal = np.cross(direction, rng.normal(size=3))
    return Illumination(
        rng.uniform(1.2, 1.4, n),
        rng.uniform(1e14, 2e14, n),
        tuple(direction),
        rng.uniform(0, 1),
        tuple(normal / np.linalg.norm(normal)),
    )


def random_exposure(rng: np.random.Generator, shape: Shape = "gaussian") -> Exposure:
    return Exposure(random_pixels(rng), random_crystal(rng, shape), random_beam(rng))


def assert_twin(shot: Exposure, sampling: Sampling) -> None:
    expected = forward_reference(shot.pixels, shot.crystal, shot.beam, sampling)
    photons = forward(shot.pixels, shot.crystal, shot.beam, sampling)
    assert expected.max() > 0.0
    np.testing.assert_allclose(photons, expected, rtol=1e-9, atol=1e-10 * expected.max())


@pytest.mark.parametrize("shape", ["gaussian", "square", "round", "tophat"])
@pytest.mark.parametrize("seed", range(5))
def test_kernel_is_twin(seed: int, shape: Shape) -> None:
    shot = random_exposure(np.random.default_rng(seed), shape)
    assert_twin(shot, Sampling(1 + seed % 3, "last" if seed % 2 else "each"))


@pytest.mark.parametrize("shape", ["gaussian", "square"])
def test_interpolated_structure_factors(shape: Shape) -> None:
    shot = random_exposure(np.random.default_rng(11), shape)
    assert_twin(replace(shot, crystal=replace(shot.crystal, interpolation="tricubic")), Sampling())


@pytest.mark.parametrize("polarization_at", ["each", "last"])
def test_thick_sensor_in_a_divergent_beam(polarization_at) -> None:
    rng = np.random.default_rng(5)
    shot = random_exposure(rng)
    directions = np.array([rotation(rng, 0.003) @ shot.beam.direction for _ in range(4)])
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    shot = replace(shot, beam=replace(shot.beam, divergence=directions, shares=shares))
    assert_twin(shot, Sampling(2, polarization_at, Sensor(0.4, 0.25, 3)))


def test_wide_spectrum() -> None:
    rng = np.random.default_rng(6)
    shot = random_exposure(rng)
    wavelengths = np.linspace(1.2, 1.4, 20)
    spectrum = replace(shot.beam, wavelengths_ang=wavelengths, fluences_per_mm2=rng.random(20))
    assert_twin(replace(shot, beam=spectrum), Sampling())


def test_many_shots_in_a_call_are_each_alone() -> None:
    """Shots with their own pixels, domains, spectra and blocks; one has no pixels."""
    rng = np.random.default_rng(8)
    shots = [random_exposure(rng) for _ in range(4)]
    table = shots[0].crystal.intensities
    shots = [replace(shot, crystal=replace(shot.crystal, intensities=table)) for shot in shots]
    none = Rectangles(np.empty((0, 3)), np.empty((0, 3, 2)), np.empty((0, 2), dtype=np.int64))
    shots[1] = replace(shots[1], pixels=none)
    for shot, photons in zip(shots, forward_shots(shots), strict=True):
        np.testing.assert_array_equal(photons, forward(shot.pixels, shot.crystal, shot.beam))
    assert forward_shots([]) == []


def test_shots_of_a_call_share_their_structure_factors() -> None:
    rng = np.random.default_rng(8)
    with pytest.raises(ValueError, match="share structure factors"):
        forward_shots([random_exposure(rng), random_exposure(rng)])


def test_structure_factors_stay_on_the_device_and_travel_without_it() -> None:
    shot = random_exposure(np.random.default_rng(9))
    table = shot.crystal.intensities
    once = forward(shot.pixels, shot.crystal, shot.beam)
    assert table.on_device is table.on_device
    copy = pickle.loads(pickle.dumps(table))
    assert "on_device" in vars(table)
    assert "on_device" not in vars(copy)
    moved = replace(shot.crystal, intensities=copy)
    np.testing.assert_array_equal(forward(shot.pixels, moved, shot.beam), once)


def test_windows_are_cut_from_the_whole() -> None:
    rng = np.random.default_rng(7)
    pixels, crystal, beam = random_pixels(rng), random_crystal(rng, "square"), random_beam(rng)
    whole = pixels.split(forward(pixels, crystal, beam))
    windows = pixels.windows(np.array([1, 0]), np.array([[5, 2], [280, 0]]), np.full((2, 2), 3))
    first, second = windows.split(forward(windows, crystal, beam))
    np.testing.assert_allclose(first, whole[1][2:5, 5:8], rtol=1e-9)
    np.testing.assert_allclose(second, whole[0][:3, 280:283], rtol=1e-9)


def test_no_pixels_no_photons() -> None:
    rng = np.random.default_rng(1)
    none = Rectangles(np.empty((0, 3)), np.empty((0, 3, 2)), np.empty((0, 2), dtype=np.int64))
    for compute in (forward, forward_reference):
        assert compute(none, random_crystal(rng, "gaussian"), random_beam(rng)).shape == (0,)
