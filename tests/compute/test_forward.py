"""Known answers of the parts of the forward model."""

import numpy as np
import pytest

from xfel_apps.compute.forward import (
    Illumination,
    MosaicCrystal,
    Rectangles,
    Sampling,
    Sensor,
)
from xfel_apps.compute.forward_reference import (
    absorbed,
    forward_reference,
    intensities_between,
    lattice_factor,
    polarization,
    solid_angle,
)
from xfel_apps.compute.structure_factors import DenseIntensities

ONE_WAVELENGTH = np.array([1.3])


@pytest.mark.parametrize(
    ("fraction", "towards", "expected"),
    [
        (0.3, (0, 0, -1), 1.0),  # forward: nothing is lost
        (0.5, (1, 0, 0), 0.5),  # unpolarised, right angle
        (1.0, (1, 0, 0), 0.0),  # along the field: a dipole does not radiate
        (1.0, (0, 1, 0), 1.0),  # across the field
        (0.0, (0, 1, 0), 0.0),  # polarised along the normal
    ],
)
def test_polarization(fraction: float, towards: tuple[int, int, int], expected: float) -> None:
    beam = Illumination(ONE_WAVELENGTH, ONE_WAVELENGTH, polarization_fraction=fraction)
    left = polarization(70.0 * np.array([towards]), beam, beam.direction)
    assert left[0] == pytest.approx(expected, abs=1e-12)


def test_solid_angle_of_a_cube_face() -> None:
    """A square seen from the centre of the cube that it is a face of: a sixth of the sphere."""
    side = np.linspace(-0.995, 0.995, 200)
    x, y = np.meshgrid(side, side)
    lab = np.column_stack([x.ravel(), y.ravel(), np.full(x.size, -1.0)])
    axes = np.array([[0.01, 0], [0, -0.01], [0, 0]])
    assert solid_angle(lab, axes).sum() == pytest.approx(4 * np.pi / 6, rel=1e-4)


def test_square_lattice_is_the_sum_over_cells() -> None:
    """A direct sum of exp(2 pi i h x) over the cells of a block."""
    offset, cells = np.array([[0.03, -0.21, 0.5]]), (7, 4, 3)
    waves = [
        np.abs(np.exp(2j * np.pi * d * np.arange(n)).sum())
        for d, n in zip(offset[0], cells, strict=True)
    ]
    assert lattice_factor(offset, cells, "square")[0] == pytest.approx(np.prod(waves))


def test_widths_at_half_height() -> None:
    """|L|^2 of N cells is half its peak at 0.443 / N (square) and sqrt(0.315 ln 2) / N."""
    square = lattice_factor(np.array([[0.443 / 20, 0, 0]]), (20, 1, 1), "square")[0]
    width = np.sqrt(0.315 * np.log(2)) / 20
    gaussian = lattice_factor(np.array([[width, 0, 0]]), (20, 1, 1), "gaussian")[0]
    assert square**2 / 400 == pytest.approx(0.5, rel=0.01)
    assert gaussian**2 / 400 == pytest.approx(0.5, rel=1e-12)


def test_round_block_is_a_sum_over_the_cells_of_a_ball() -> None:
    """Width at half height of cells in a ball, by direct sum; the volume is that of N^3 cells."""
    radius = 12.0 * (3.0 / (4.0 * np.pi)) ** (1.0 / 3.0)
    cells = np.indices((27, 27, 27)).reshape(3, -1).T - 13
    cells = cells[np.linalg.norm(cells, axis=1) < radius]
    offset = np.array([[0.0, 0.0, 0.0], [0.03, 0.0, 0.0], [0.02, 0.03, 0.01]])
    direct = np.abs(np.exp(2j * np.pi * offset @ cells.T).sum(axis=1))
    found = lattice_factor(offset, (2 * radius, 2 * radius, 2 * radius), "round")
    np.testing.assert_allclose(found / found[0], direct / direct[0], atol=0.01)


def test_interpolated_amplitudes_are_a_cubic_through_the_table() -> None:
    """|F| that is a cubic of h, k and l comes back exactly, on and between the indices."""
    h, k, l = np.indices((9, 9, 9)) - 4.0  # noqa: E741

    def amplitude(h, k, l):  # noqa: E741
        return (5.0 + h + 0.02 * h**3) * (3.0 + 0.1 * k**2) * (7.0 - l)

    table = DenseIntensities(amplitude(h, k, l) ** 2, (-4, -4, -4))
    between = np.array([[0.3, -1.2, 2.0], [1.0, -1.0, 0.0], [-0.5, 0.5, 1.9]])
    expected = amplitude(*between.T) ** 2
    np.testing.assert_allclose(intensities_between(table, between), expected, rtol=1e-12)


def test_sensor_absorbs_what_beers_law_says_and_moves_spots_outwards() -> None:
    """At 45 degrees the path is sqrt 2 longer, and the mean signal lies under the entry + depth."""
    axes = np.array([[0.1, 0.0], [0.0, -0.1], [0.0, 0.0]])
    sensor = Sensor(thickness_mm=0.5, attenuation_mm=0.2, layers=50)
    lab = np.array([[80.0, 0.0, -80.0]])
    layers = [absorbed(lab, axes, sensor, layer)[0] for layer in range(50)]
    assert sum(layers) == pytest.approx(1.0 - np.exp(-np.sqrt(2.0) * 0.5 / 0.2))
    depth_mm = np.dot(layers, (np.arange(50) + 0.5) * 0.01) / sum(layers)
    assert _spot_mm(sensor) - _spot_mm(None) == pytest.approx(depth_mm, rel=0.02)


def _spot_mm(sensor: Sensor | None) -> float:
    """Return how far from the beam a spot at 45 degrees in the horizontal plane lies [mm]."""
    wavelength, pixel_mm, start_mm = 1.0, 0.05, 78.0
    # the index (1, 0, 0) lies on the Ewald sphere in the direction (1, 0, -1) / sqrt(2)
    star = np.array([np.sqrt(0.5), 0.0, 1.0 - np.sqrt(0.5)]) / wavelength
    other = np.cross(star, [0.0, 1.0, 0.0])
    a_matrix = np.column_stack([star, [0.0, 1.0, 0.0], other])
    box = np.zeros((3, 1, 1))
    box[2] = 1.0
    crystal = MosaicCrystal(a_matrix[None], (300, 30, 30), DenseIntensities(box, (-1, 0, 0)))
    pixels = Rectangles(
        np.array([[start_mm, 0.025, -80.0]]),
        np.array([[[pixel_mm, 0.0], [0.0, -pixel_mm], [0.0, 0.0]]]),
        np.array([[100, 1]]),
    )
    beam = Illumination(np.array([wavelength]), np.ones(1), polarization_fraction=0.0)
    photons = forward_reference(pixels, crystal, beam, Sampling(sensor=sensor))
    return start_mm + pixel_mm * float(photons @ (np.arange(100) + 0.5) / photons.sum())
