r"""Forward model of stills: photons that the Bragg spots of one crystal put into every pixel.

The physics is that of nanoBragg (Sauter et al. 2020, Acta Cryst. D76, 176-192; section 2 and
table 1), summed over mosaic domains, wavelengths and sub-pixels:

.. math::
    I = r_e^2 \sum_\lambda \Phi_\lambda \left\langle P\, \Omega\, |F(h_0)|^2
        |L(h - h_0)|^2 \right\rangle_{domains,\ sub-pixels}, \qquad h = A^{-1} q

with fluence :math:`\Phi`, polarisation :math:`P`, solid angle :math:`\Omega` of a pixel, and
lattice factor :math:`L` of a block of :math:`N_a \times N_b \times N_c` cells.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xfel_apps import _kernels
from xfel_apps.compute.structure_factors import DenseIntensities
from xfel_apps.units import R_ELECTRON_M

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Shape = Literal["gaussian", "square"]

R_ELECTRON_SQUARED_MM2 = R_ELECTRON_M**2 * 1e6
"""Square of the classical electron radius [mm^2]."""

GAUSSIAN_WIDTH = 0.63
"""L = N exp(-|N (h - h0)|^2 / 0.63) has the width at half height of N cells (nanoBragg)."""


@dataclass(frozen=True)
class Rectangles:
    """Pixels to compute: rectangles of panels, taken one after another, fast index quickest.

    Attributes
    ----------
    origins_mm : (n, 3) lab position of the outer corner of each rectangle's first pixel [mm]
    axes_mm : (n, 3, 2) lab vectors of one pixel along fast and slow [mm]
    sizes : (n, 2) pixels along (fast, slow)

    A whole detector: ``Rectangles(detector.origins_mm, detector.axes, detector.sizes)``.
    """

    origins_mm: Array
    axes_mm: Array
    sizes: IntArray

    @property
    def n_pixels(self) -> int:
        """Pixels of all rectangles together."""
        return int(self.sizes.prod(axis=1).sum())

    def windows(self, panel: IntArray, start: IntArray, sizes: IntArray) -> "Rectangles":
        """Return parts of these rectangles.

        Parameters
        ----------
        panel : (m,) which rectangle each window is cut from
        start : (m, 2) first pixel (fast, slow) of each window
        sizes : (m, 2) pixels along (fast, slow)
        """
        shift = np.einsum("mij,mj->mi", self.axes_mm[panel], start)
        return Rectangles(self.origins_mm[panel] + shift, self.axes_mm[panel], np.asarray(sizes))

    def split(self, photons: Array) -> list[Array]:
        """Return flat values (n_pixels,) as one (slow, fast) array a rectangle."""
        ends = np.cumsum(self.sizes.prod(axis=1))
        parts = np.split(photons, ends[:-1])
        return [part.reshape(size[::-1]) for part, size in zip(parts, self.sizes, strict=True)]


@dataclass(frozen=True)
class MosaicCrystal:
    """A crystal of equally populated domains.

    Attributes
    ----------
    a_matrices : (n_domains, 3, 3) columns a*, b*, c* of each domain [1/Angstrom], lab frame
    n_cells : (3,) cells of a coherent block along a, b and c
    intensities : |F|^2 by Miller index, every symmetry mate listed
    shape : of a coherent block: "gaussian", or "square" for a parallelepiped
    """

    a_matrices: Array
    n_cells: tuple[float, float, float]
    intensities: DenseIntensities
    shape: Shape = "gaussian"


@dataclass(frozen=True)
class Illumination:
    """The X-rays of one shot.

    Attributes
    ----------
    wavelengths_ang : (n,) [Angstrom]
    fluences_per_mm2 : (n,) photons of each wavelength on a unit of area, times the number of
        coherent blocks that they hit
    direction : unit vector along which the photons travel
    polarization_fraction : share polarised in the plane whose normal follows; 0.5: unpolarised.
        Kahn's factor, nanoBragg's "polarization", is 2 * polarization_fraction - 1.
    polarization_normal : unit vector normal to the plane of polarisation
    """

    wavelengths_ang: Array
    fluences_per_mm2: Array
    direction: tuple[float, float, float] = (0.0, 0.0, -1.0)
    polarization_fraction: float = 1.0
    polarization_normal: tuple[float, float, float] = (0.0, 1.0, 0.0)


def forward(
    pixels: Rectangles, crystal: MosaicCrystal, beam: Illumination, oversample: int = 1
) -> Array:
    """Return photons (n_pixels,) of the crystal's Bragg spots, compiled.

    Each pixel is the mean over ``oversample**2`` sub-pixels. The cost follows the spots: pixels
    where no domain has a Gaussian lattice intensity above 1e-12 of its peak are left at 0.
    """
    photons = np.empty(pixels.n_pixels)
    scale = R_ELECTRON_SQUARED_MM2 / (oversample**2 * len(crystal.a_matrices))
    _kernels.forward(
        np.ascontiguousarray(pixels.origins_mm, dtype=np.float64),
        np.ascontiguousarray(pixels.axes_mm, dtype=np.float64),
        np.ascontiguousarray(pixels.sizes, dtype=np.int64),
        np.ascontiguousarray(np.linalg.inv(crystal.a_matrices)),
        crystal.n_cells,
        crystal.shape == "gaussian",
        crystal.intensities.box,
        crystal.intensities.lowest,
        np.ascontiguousarray(beam.wavelengths_ang, dtype=np.float64),
        np.asarray(beam.fluences_per_mm2, dtype=np.float64) * scale,
        beam.direction,
        beam.polarization_normal,
        beam.polarization_fraction,
        oversample,
        photons,
    )
    return photons


def forward_reference(
    pixels: Rectangles, crystal: MosaicCrystal, beam: Illumination, oversample: int = 1
) -> Array:
    """Return photons (n_pixels,), the definition in plain NumPy of what `forward` computes.

    Polarisation and solid angle follow
    the sub-pixel; nanoBragg by default takes those of the last one, at most 1e-4 different.
    """
    total = [_rectangle(*part, crystal, beam, oversample) for part in _parts(pixels)]
    return np.concatenate(total) if total else np.empty(0)


def _parts(pixels: Rectangles) -> Iterator[tuple[Array, Array, IntArray]]:
    return zip(pixels.origins_mm, pixels.axes_mm, pixels.sizes, strict=True)


def _rectangle(
    origin_mm: Array,
    axes_mm: Array,
    size: IntArray,
    crystal: MosaicCrystal,
    beam: Illumination,
    oversample: int,
) -> Array:
    slow, fast = np.indices((size[1], size[0])).reshape(2, -1)
    photons = np.zeros(len(fast))
    for step in np.ndindex(oversample, oversample):
        inside = (np.array(step) + 0.5) / oversample
        lab_mm = origin_mm + (np.column_stack([fast, slow]) + inside) @ axes_mm.T
        seen = solid_angle(lab_mm, axes_mm) * polarization(lab_mm, beam)
        photons += seen * _scattered(lab_mm, crystal, beam)
    return np.asarray(photons * (R_ELECTRON_SQUARED_MM2 / oversample**2))


def solid_angle(lab_mm: Array, axes_mm: Array) -> Array:
    """Return the solid angle (n,) [sr] of pixels at `lab_mm` (n, 3) with sides `axes_mm` (3, 2)."""
    area = np.cross(axes_mm[:, 0], axes_mm[:, 1])
    return np.asarray(np.abs(lab_mm @ area) / np.linalg.norm(lab_mm, axis=1) ** 3)


def polarization(lab_mm: Array, beam: Illumination) -> Array:
    """Return the fraction (n,) of intensity that polarisation leaves towards `lab_mm` (n, 3).

    Source: Kahn et al. (1982), J. Appl. Cryst. 15, 330-337.
    """
    unit = lab_mm / np.linalg.norm(lab_mm, axis=1, keepdims=True)
    p = beam.polarization_fraction
    normal, along = unit @ beam.polarization_normal, unit @ beam.direction
    return np.asarray((1.0 - 2.0 * p) * (1.0 - normal**2) + p * (1.0 + along**2))


def _scattered(lab_mm: Array, crystal: MosaicCrystal, beam: Illumination) -> Array:
    """Return sum over wavelengths of fluence times the domains' mean |F|^2 |L|^2, (n,) [1/mm^2]."""
    unit = lab_mm / np.linalg.norm(lab_mm, axis=1, keepdims=True)
    total = np.zeros(len(lab_mm))
    for wavelength, fluence in zip(beam.wavelengths_ang, beam.fluences_per_mm2, strict=True):
        q = (unit - np.array(beam.direction)) / wavelength
        for a_matrix in crystal.a_matrices:
            h = q @ np.linalg.inv(a_matrix).T
            nearest = np.floor(h + 0.5)
            lattice = lattice_factor(h - nearest, crystal.n_cells, crystal.shape)
            total += fluence * crystal.intensities.at(nearest.astype(np.int64)) * lattice**2
    return np.asarray(total / len(crystal.a_matrices))


def lattice_factor(offset: Array, n_cells: tuple[float, float, float], shape: Shape) -> Array:
    """Return |L| (n,) at `offset` (n, 3) from the nearest Miller index, within half an index.

    >>> round(float(lattice_factor(np.zeros((1, 3)), (10, 10, 10), "square")[0]))
    1000
    """
    cells = np.asarray(n_cells, dtype=float)
    if shape == "gaussian":
        exponent = np.sum((offset * cells) ** 2, axis=1) / GAUSSIAN_WIDTH
        return np.asarray(np.prod(cells) * np.exp(-exponent))
    # sin(pi N h) / sin(pi h), as a ratio of sinc so that an offset of 0 needs no special case
    return np.asarray(np.prod(np.abs(cells * np.sinc(cells * offset) / np.sinc(offset)), axis=1))
