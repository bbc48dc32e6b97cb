"""Against noise-free images of another group's program (nanoBragg, cctbx 2022)."""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from xfel_apps.compute.forward import (
    Illumination,
    MosaicCrystal,
    Rectangles,
    forward,
    forward_reference,
)
from xfel_apps.compute.structure_factors import DenseIntensities

SETTINGS = [
    "gauss_1domain",
    "gauss_10domains",
    "gauss_10domains_over2",
    "gauss_5wavelengths",
    "gauss_unpolarised",
    "square_10domains",
]


@pytest.fixture(scope="module")
def truth(data_dir: Path) -> Iterator[h5py.File]:
    with h5py.File(data_dir / "nanobragg_lysozyme" / "truth.h5") as file:
        yield file


@pytest.fixture(scope="module")
def intensities(truth: h5py.File) -> DenseIntensities:
    """Point group 422 with Friedel mates: every sign of every index, and h with k exchanged."""
    hkl, amplitudes = truth["F_hkl"][()], truth["F_true"][()]
    mates = [
        hkl[:, order] * np.array(signs)
        for order, signs in product(([0, 1, 2], [1, 0, 2]), product((1, -1), repeat=3))
    ]
    return DenseIntensities.from_reflections(np.concatenate(mates), np.tile(amplitudes, len(mates)))


@pytest.fixture(scope="module")
def panel(truth: h5py.File) -> Rectangles:
    x_mm, y_mm = truth.attrs["beam_centre_mm_fast_slow"]
    origin_mm = np.array([[-x_mm, y_mm, -truth.attrs["distance_mm"]]])
    axes = np.column_stack([truth.attrs["fast"], truth.attrs["slow"]]) * truth.attrs["pixel_mm"]
    return Rectangles(origin_mm, axes[None], np.array([[1024, 1024]]))


def crystal_of(group: h5py.Group, intensities: DenseIntensities) -> MosaicCrystal:
    return MosaicCrystal(
        group["mosaic_rotations"][()] @ group["A"][()],
        tuple(float(n) for n in group.attrs["ncells_abc"]),
        intensities,
        "gaussian" if group.attrs["shape"] == "Gauss" else "square",
    )


def beam_of(group: h5py.Group) -> Illumination:
    wavelengths = group["wavelengths_ang"][()]
    fluence = group.attrs["flux"] * group.attrs["exposure_s"] / group.attrs["beamsize_mm"] ** 2
    return Illumination(
        wavelengths,
        np.full(len(wavelengths), fluence),
        polarization_fraction=(1 + group.attrs["polarization"]) / 2,
    )


@pytest.mark.parametrize("compute", [forward, forward_reference])
@pytest.mark.parametrize("shot", ["shot000", "shot001"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_nanobragg_images(
    data_dir: Path,
    panel: Rectangles,
    intensities: DenseIntensities,
    compute: Callable[..., NDArray[np.float64]],
    shot: str,
    setting: str,
) -> None:
    with h5py.File(data_dir / "nanobragg_lysozyme" / "nanobragg_reference.h5") as file:
        group = file[shot][setting]
        names = ["centre", "outer"]
        start = np.array([group[name].attrs["slow_fast_start"][::-1] for name in names])
        window = panel.windows(np.zeros(2, int), start, np.full((2, 2), 256))
        crystal, beam = crystal_of(group, intensities), beam_of(group)
        photons = compute(window, crystal, beam, int(group.attrs["oversample"]))
        expected = np.concatenate([group[name][()].ravel() for name in names])
    np.testing.assert_allclose(photons, expected, rtol=0, atol=1e-4 * expected.max())
