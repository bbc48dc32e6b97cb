"""The compiled pixels of shoeboxes are their NumPy twin, whose derivatives are differences."""

from dataclasses import replace

import numpy as np
import pytest

from tests.shoeboxes import random_beam, random_boxes, random_spots
from xfel_apps.compute.shoebox import (
    N_BASIS,
    Basis,
    shoebox_derivatives,
    shoebox_derivatives_reference,
    shoebox_likelihood,
    shoebox_likelihood_reference,
    shoebox_photons,
)


@pytest.mark.parametrize("seed", range(6))
def test_derivatives_are_the_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    beam, boxes = random_beam(rng), random_boxes(rng, 20)
    spots = random_spots(rng, boxes, beam)
    expected, columns = shoebox_derivatives_reference(boxes, spots, beam)
    photons, found = shoebox_derivatives(boxes, spots, beam)
    np.testing.assert_allclose(photons, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(shoebox_photons(boxes, spots, beam), expected, rtol=1e-10)
    scale = np.abs(columns).max(axis=1, keepdims=True)
    assert scale.min() > 0.0
    np.testing.assert_allclose(found / scale, columns / scale, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("seed", range(6))
def test_likelihood_is_the_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    beam, boxes = random_beam(rng), random_boxes(rng, 20)
    spots = random_spots(rng, boxes, beam)
    observed = rng.poisson(shoebox_photons(boxes, spots, beam)).astype(np.float32)
    observed[rng.random(len(observed)) < 0.1] = np.nan
    noise = rng.uniform(0.0, 2.0, len(observed)).astype(np.float32)
    found = shoebox_likelihood(boxes, spots, beam, observed, noise)
    expected = shoebox_likelihood_reference(boxes, spots, beam, observed, noise)
    np.testing.assert_allclose(found.misfit, expected.misfit, rtol=1e-9)
    for name in ("gradient", "curvature"):
        values, twin = getattr(found, name), getattr(expected, name)
        scale = np.abs(twin).max(axis=0, keepdims=True)
        # where a spot has fewer than 1e-6 photons the compiled one leaves it out
        np.testing.assert_allclose(values / scale, twin / scale, rtol=1e-7, atol=2e-8)


def test_no_boxes_no_photons() -> None:
    rng = np.random.default_rng(1)
    beam, none = random_beam(rng), random_boxes(rng, 0)
    spots = random_spots(rng, none, beam)
    assert shoebox_photons(none, spots, beam).shape == (0,)
    nothing = np.empty(0, np.float32)
    empty = shoebox_likelihood(none, spots, beam, nothing, nothing)
    assert empty.curvature.shape == (0, 17, 17)


def test_pixels_must_fit() -> None:
    rng = np.random.default_rng(1)
    beam, boxes = random_beam(rng), random_boxes(rng, 2)
    spots, three = random_spots(rng, boxes, beam), np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="3 pixels and 3 variances given"):
        shoebox_likelihood(boxes, spots, beam, three, three)


@pytest.mark.parametrize("seed", range(3))
def test_derivatives_by_intensity_and_background_are_differences(seed: int) -> None:
    """To 1e-5 of the greatest, of what each box has for itself: its |F|^2 and its background."""
    rng = np.random.default_rng(seed)
    beam, boxes = random_beam(rng), random_boxes(rng, 12)
    spots = random_spots(rng, boxes, beam)
    _, columns = shoebox_derivatives(boxes, spots, beam)

    def moved(number: int, step: float) -> np.ndarray:
        if number == 0:
            return shoebox_photons(
                boxes, replace(spots, amplitude=spots.amplitude * np.exp(step)), beam
            )
        shift = step * np.eye(3)[number - 1]
        return shoebox_photons(boxes, spots.with_background(spots.background + shift), beam)

    for number, column in enumerate((Basis.AMPLITUDE, *range(Basis.BACKGROUND, N_BASIS))):
        difference = (moved(number, 1e-4) - moved(number, -1e-4)) / 2e-4
        scale = np.abs(difference).max()
        np.testing.assert_allclose(columns[column] / scale, difference / scale, atol=1e-5)
