"""The compiled forward model is its NumPy twin."""

import numpy as np
import pytest

from xfel_apps.compute.forward import (
    Illumination,
    MosaicCrystal,
    Rectangles,
    Shape,
    forward,
    forward_reference,
)
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


@pytest.mark.parametrize("shape", ["gaussian", "square"])
@pytest.mark.parametrize("seed", range(10))
def test_kernel_is_twin(seed: int, shape: Shape) -> None:
    rng = np.random.default_rng(seed)
    pixels, crystal, beam = random_pixels(rng), random_crystal(rng, shape), random_beam(rng)
    expected = forward_reference(pixels, crystal, beam, oversample=1 + seed % 3)
    photons = forward(pixels, crystal, beam, oversample=1 + seed % 3)
    assert expected.max() > 0.0
    np.testing.assert_allclose(photons, expected, rtol=1e-9, atol=1e-10 * expected.max())


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
