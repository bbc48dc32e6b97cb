"""What a crystal's parameters do to the pixels, against differences and the sum over domains."""

from dataclasses import replace

import gemmi
import numpy as np
import pytest
from scipy.stats import norm, qmc

from tests.shoeboxes import random_beam, random_boxes, rays
from xfel_apps.compute.forward import (
    R_ELECTRON_SQUARED_MM2,
    Illumination,
    MosaicCrystal,
    Rectangles,
    Sampling,
    forward,
)
from xfel_apps.compute.shoebox import BeamLine, shoebox_derivatives, shoebox_photons
from xfel_apps.compute.structure_factors import DenseIntensities
from xfel_apps.geometry.prediction import miller_near_sphere
from xfel_apps.pixel_model.cell import b_derivatives, b_matrix
from xfel_apps.pixel_model.crystal import Parameters, PixelCrystal, rotation

ALL = Parameters(anisotropic_blocks=True, shift=True, wavelength=True, bandwidth=True)
CELLS = {
    "P 1": (41.0, 53.0, 67.0, 81.0, 97.0, 103.0),
    "P 1 21 1": (41.0, 53.0, 67.0, 90.0, 103.0, 90.0),
    "P 21 21 21": (41.0, 53.0, 67.0, 90.0, 90.0, 90.0),
    "P 43 21 2": (79.2, 79.2, 38.0, 90.0, 90.0, 90.0),
    "P 61 2 2": (93.2, 93.2, 130.7, 90.0, 90.0, 120.0),
    "R 3 :R": (60.0, 60.0, 60.0, 75.0, 75.0, 75.0),
    "P 21 3": (96.4, 96.4, 96.4, 90.0, 90.0, 90.0),
}


def random_crystal(rng: np.random.Generator, space_group: str) -> PixelCrystal:
    return PixelCrystal(
        rotation(rng.normal(size=3)),
        np.array(CELLS[space_group]),
        space_group,
        rng.uniform(10, 30, 3),
        rng.uniform(0.02, 0.1),
        rng.uniform(1e6, 1e7),
        rng.uniform(5e-4, 2e-3),
    )


@pytest.mark.parametrize("space_group", CELLS)
def test_b_matrix(space_group: str) -> None:
    cell = np.array(CELLS[space_group])
    expected = np.array(gemmi.UnitCell(*cell).frac.mat.tolist()).T
    np.testing.assert_allclose(b_matrix(cell), expected, atol=1e-15)
    for i, found in enumerate(b_derivatives(cell)):
        step = 1e-5 * cell[i] * np.eye(6)[i]
        difference = (b_matrix(cell + step) - b_matrix(cell - step)) / (2 * step[i])
        np.testing.assert_allclose(found, difference, rtol=1e-7, atol=1e-12)


def test_a_matrix_is_kept() -> None:
    crystal = random_crystal(np.random.default_rng(3), "P 61 2 2")
    again = PixelCrystal.from_a_matrix(crystal.a_matrix, "P 61 2 2", crystal.n_cells, 0.1)
    np.testing.assert_allclose(again.a_matrix, crystal.a_matrix, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("space_group", CELLS)
def test_every_derivative_is_a_difference(space_group: str, seed: int) -> None:
    """To 1e-5 of the greatest over the pixels, for all parameters of a shot and of its boxes."""
    rng = np.random.default_rng(seed)
    crystal = random_crystal(rng, space_group)
    beam, boxes = random_beam(rng), random_boxes(rng, 12)
    towards = rays(boxes, beam, boxes.sizes / 2)
    hkl = np.rint(towards @ np.linalg.inv(crystal.a_matrix).T).astype(np.int64)
    boxes = moved_onto(boxes, beam, hkl @ crystal.a_matrix.T)
    intensity = rng.uniform(0.5, 2.0, 12)
    background = np.zeros((12, 3))
    spots = crystal.spots(hkl, intensity, background)
    assert shoebox_photons(boxes, spots, beam).max() > 0.0
    _, columns = shoebox_derivatives(boxes, spots, beam)
    moves = np.repeat(ALL.to_basis(crystal, hkl), boxes.sizes.prod(axis=1), axis=0)
    found = np.einsum("npc,cn->pn", moves, columns)

    def photons(step: np.ndarray) -> np.ndarray:
        at = dict(zip(ALL.names(crystal), step, strict=True))
        moved = ALL.moved(crystal, step).spots(hkl, intensity, background)
        shift = [at[f"shift_{axis}_mm"] for axis in "xyz"]
        return shoebox_photons(
            Rectangles(boxes.origins_mm + shift, boxes.axes_mm, boxes.sizes),
            moved,
            replace(beam, wavelength_ang=beam.wavelength_ang * np.exp(at["ln_wavelength"])),
        )

    for number, name in enumerate(ALL.names(crystal)):
        size = {"turn": 2e-6, "cell": 2e-4, "shif": 2e-4}.get(name[:4], 1e-5)
        step = size * np.eye(len(found))[number]
        # Richardson's combination of two central differences: errors of the fourth order
        whole = (photons(step) - photons(-step)) / (2 * size)
        half = (photons(step / 2) - photons(-step / 2)) / size
        difference = (4 * half - whole) / 3
        scale = np.abs(difference).max()
        assert scale > 0.0, name
        np.testing.assert_allclose(
            found[number] / scale, difference / scale, atol=1e-5, err_msg=name
        )


def moved_onto(boxes: Rectangles, beam: BeamLine, q: np.ndarray) -> Rectangles:
    """Return boxes moved so that the rays nearest to q (n, 3) meet their centres."""
    s1 = np.array(beam.direction) / beam.wavelength_ang + q
    unit = s1 / np.linalg.norm(s1, axis=1, keepdims=True)
    centre = np.einsum("nij,nj->ni", boxes.axes_mm, boxes.sizes / 2)
    return Rectangles(80.0 * unit - centre, boxes.axes_mm, boxes.sizes)


@pytest.mark.parametrize(("spread_deg", "bandwidth"), [(0.08, 0.0), (0.0, 1e-3), (0.05, 5e-4)])
def test_limit_of_many_domains_and_wavelengths(spread_deg: float, bandwidth: float) -> None:
    """The forward model's sum over domains and wavelengths is the smooth model, scale and all."""
    rng = np.random.default_rng(5)
    beam, fluence = BeamLine(1.3, oversample=2), 1e12
    crystal = replace(random_crystal(rng, "P 43 21 2"), spread_deg=spread_deg, bandwidth=bandwidth)
    crystal = replace(
        crystal, scale=R_ELECTRON_SQUARED_MM2 * fluence * float(crystal.n_cells.prod())
    )
    s0 = np.array([0.0, 0.0, -1.0 / beam.wavelength_ang])
    hkl = miller_near_sphere(crystal.a_matrix, s0, 1.8, 2e-4)[::5]
    flat = np.tile([[0.1, 0.0], [0.0, -0.1], [0.0, 0.0]], (len(hkl), 1, 1))
    boxes = Rectangles(np.zeros((len(hkl), 3)), flat, np.full((len(hkl), 2), 9))
    boxes = moved_onto(boxes, beam, hkl @ crystal.a_matrix.T)
    turns = normal_points(512 if spread_deg else 1, 3) * np.radians(spread_deg)
    waves = np.linspace(-4, 4, 33) if bandwidth else np.zeros(1)
    weights = np.exp(-0.5 * waves**2) / np.exp(-0.5 * waves**2).sum()
    domains = np.array([rotation(turn) for turn in turns]) @ crystal.a_matrix
    found = shoebox_photons(
        boxes, crystal.spots(hkl, np.ones(len(hkl)), np.zeros((len(hkl), 3))), beam
    )
    same = DenseIntensities(np.ones((121, 121, 121)), (-60, -60, -60))
    expected = forward(
        boxes,
        MosaicCrystal(domains, tuple(crystal.n_cells), same, "gaussian"),
        Illumination(beam.wavelength_ang * (1 + bandwidth * waves), fluence * weights),
        Sampling(oversample=2),
    )
    assert len(hkl) > 10
    np.testing.assert_allclose(found / expected.max(), expected / expected.max(), atol=0.01)


def normal_points(n: int, dimensions: int) -> np.ndarray:
    """Return points (n, dimensions) spread evenly as a normal distribution."""
    if n == 1:
        return np.zeros((1, dimensions))
    return norm.ppf(qmc.Sobol(dimensions, scramble=True, rng=1).random(n))
