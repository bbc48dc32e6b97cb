"""Noise-free images of another group's program, as what our forward model needs to make them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.forward import (
    Exposure,
    Illumination,
    MosaicCrystal,
    Rectangles,
    Sampling,
)
from xfel_apps.compute.structure_factors import DenseIntensities

SHOTS = ("shot000", "shot001")
SETTINGS = (
    "gauss_1domain",
    "gauss_10domains",
    "gauss_10domains_over2",
    "gauss_5wavelengths",
    "gauss_unpolarised",
    "square_10domains",
)
WINDOWS = ("centre", "outer")


@dataclass(frozen=True)
class Image:
    """Two windows of one shot under one setting, as nanoBragg (cctbx 2022) sees them."""

    shot: Exposure
    sampling: Sampling
    photons: NDArray[np.float64]

    def error(self, photons: NDArray[np.float64]) -> float:
        """Return the greatest difference relative to the brightest pixel."""
        return float(np.abs(photons - self.photons).max() / self.photons.max())


def read_images(folder: Path) -> Iterator[tuple[str, Image]]:
    """Yield the name and the image of every shot and setting."""
    with h5py.File(folder / "truth.h5") as truth:
        table, panel = truth_intensities(truth), _panel(truth)
    with h5py.File(folder / "nanobragg_reference.h5") as file:
        for name in (f"{shot}/{setting}" for shot, setting in product(SHOTS, SETTINGS)):
            yield name, _image(file[name], table, panel)


def truth_intensities(truth: h5py.File) -> DenseIntensities:
    """Return |F|^2 of every index.

    Point group 422 with Friedel mates: every sign of every index, and h with k exchanged.
    """
    hkl, amplitudes = truth["F_hkl"][()], truth["F_true"][()]
    mates = [
        hkl[:, order] * np.array(signs)
        for order, signs in product(([0, 1, 2], [1, 0, 2]), product((1, -1), repeat=3))
    ]
    return DenseIntensities.from_reflections(np.concatenate(mates), np.tile(amplitudes, len(mates)))


def _panel(truth: h5py.File) -> Rectangles:
    x_mm, y_mm = truth.attrs["beam_centre_mm_fast_slow"]
    origin_mm = np.array([[-x_mm, y_mm, -truth.attrs["distance_mm"]]])
    axes = np.column_stack([truth.attrs["fast"], truth.attrs["slow"]]) * truth.attrs["pixel_mm"]
    return Rectangles(origin_mm, axes[None], np.array([[1024, 1024]]))


def _image(group: h5py.Group, table: DenseIntensities, panel: Rectangles) -> Image:
    start = np.array([group[name].attrs["slow_fast_start"][::-1] for name in WINDOWS])
    window = panel.windows(np.zeros(2, int), start, np.full((2, 2), 256))
    return Image(
        Exposure(window, _crystal(group, table), _beam(group)),
        Sampling(int(group.attrs["oversample"]), polarization_at="last"),
        np.concatenate([group[name][()].ravel() for name in WINDOWS]),
    )


def _crystal(group: h5py.Group, table: DenseIntensities) -> MosaicCrystal:
    a, b, c = (float(n) for n in group.attrs["ncells_abc"])
    return MosaicCrystal(
        group["mosaic_rotations"][()] @ group["A"][()],
        (a, b, c),
        table,
        "gaussian" if group.attrs["shape"] == "Gauss" else "square",
    )


def _beam(group: h5py.Group) -> Illumination:
    wavelengths = group["wavelengths_ang"][()]
    fluence = group.attrs["flux"] * group.attrs["exposure_s"] / group.attrs["beamsize_mm"] ** 2
    return Illumination(
        wavelengths,
        np.full(len(wavelengths), fluence),
        polarization_fraction=(1 + group.attrs["polarization"]) / 2,
    )
