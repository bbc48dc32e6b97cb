"""The compiled integration is its NumPy twin."""

import numpy as np
import pytest
from numpy.typing import NDArray

from xfel_apps.compute.integration import (
    PIXEL_TYPES,
    Readout,
    Recipe,
    Sums,
    Windows,
    integrate,
)
from xfel_apps.compute.integration_reference import integrate_reference

TWO_PANELS = np.array([[0, 60, 0, 70], [60, 110, 10, 70]])


def random_windows(rng: np.random.Generator, n: int) -> Windows:
    """Reflections anywhere on two panels: at edges, on top of each other, of any shape."""
    panel = rng.integers(0, 2, n)
    low = TWO_PANELS[panel][:, [2, 0]]
    high = TWO_PANELS[panel][:, [3, 1]]
    angle = rng.uniform(0, np.pi, n)
    turn = np.moveaxis(
        np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]), 2, 0
    )
    to_profile = turn / rng.uniform(1.5, 4.0, (n, 2, 1))
    return Windows(panel, rng.uniform(low, high), to_profile, rng.integers(4, 17, n))


def random_frame(rng: np.random.Generator, dtype: str) -> NDArray[np.generic]:
    background = rng.choice([0.05, 2.0, 300.0])
    frame = rng.poisson(background, (110, 72)).astype(dtype)
    frame[rng.random(frame.shape) < 0.02] = 200 if dtype == "uint8" else 20000
    if frame.dtype.kind == "f":
        frame[rng.random(frame.shape) < 0.01] = np.nan
    return frame


@pytest.mark.parametrize("dtype", [*PIXEL_TYPES, "int64"])
@pytest.mark.parametrize("seed", range(4))
def test_kernel_is_twin(seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    frame = random_frame(rng, dtype)
    good = rng.random(frame.shape) > 0.03
    windows = random_windows(rng, 60)
    readout = Readout(
        TWO_PANELS, np.array([1.0, 0.13]), np.array([-1.0, 1.0]), np.array([5e3, 3e4]), 0.2 * seed
    )
    recipe = Recipe(rng.random((7, 7)), guard=1.5, outlier_sigmas=4.0)
    expected = integrate_reference(frame, good, windows, readout, recipe)
    sums = integrate(frame, good, windows, readout, recipe)
    assert expected.n_shared.max() > 0
    assert expected.n_outside.max() > 0
    for name, values in vars(expected).items():
        scale = max(1.0, float(np.abs(values).max()))
        np.testing.assert_allclose(
            getattr(sums, name), values, rtol=1e-8, atol=1e-9 * scale, err_msg=name
        )


def test_no_reflections() -> None:
    none = Windows(
        np.empty(0, int), np.empty((0, 2)), np.empty((0, 2, 2)), np.empty(0, dtype=np.int64)
    )
    frame, good = np.zeros((110, 72), dtype=np.int32), np.ones((110, 72), dtype=bool)
    readout = Readout(TWO_PANELS, np.ones(2), np.zeros(2), np.full(2, 1e9))
    for compute in (integrate, integrate_reference):
        sums = compute(frame, good, none, readout, Recipe(np.ones((3, 3))))
        assert isinstance(sums, Sums)
        assert sums.intensity_sum.shape == (0,)
