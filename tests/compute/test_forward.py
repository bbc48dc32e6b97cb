"""Known answers of the parts of the forward model."""

import numpy as np
import pytest

from xfel_apps.compute.forward import Illumination, lattice_factor, polarization, solid_angle

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
    assert polarization(70.0 * np.array([towards]), beam)[0] == pytest.approx(expected, abs=1e-12)


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
