r"""Forward model of stills: photons that the Bragg spots of crystals put into every pixel.

The physics is that of nanoBragg (Sauter et al. 2020, Acta Cryst. D76, 176-192; section 2 and
table 1), summed over mosaic domains, wavelengths, incoming directions, sub-pixels and the layers of
a thick sensor:

.. math::
    I = r_e^2 \sum_{\lambda, s_0} \Phi_{\lambda, s_0} \sum_{layers} \left\langle P\, \Omega\, C\,
        |F|^2 |L(h - h_0)|^2 \right\rangle_{domains,\ sub-pixels}, \qquad h = A^{-1} q

with fluence :math:`\Phi`, polarisation :math:`P`, solid angle :math:`\Omega` of a pixel, share
:math:`C` that the sensor absorbs in a layer, and lattice factor :math:`L` of a block of
:math:`N_a \times N_b \times N_c` cells. `forward_reference` defines each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xfel_apps import _kernels
from xfel_apps.compute.structure_factors import DenseIntensities
from xfel_apps.units import R_ELECTRON_M

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Vector = tuple[float, float, float]
Shape = Literal["gaussian", "square", "round", "tophat"]

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
    shape : of a coherent block: "gaussian"; "square" for a parallelepiped, with its fringes;
        "round" for an ellipsoid; "tophat" for spots with a sharp edge
    interpolation : between Miller indices: "nearest" takes |F| of the nearest; "tricubic" the cubic
        through four |F| along h, k and l, as nanoBragg's `interpolate`
    """

    a_matrices: Array
    n_cells: Vector
    intensities: DenseIntensities
    shape: Shape = "gaussian"
    interpolation: Literal["nearest", "tricubic"] = "nearest"


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
    divergence : (m, 3) unit vectors along which the photons travel; None: all along `direction`.
        `compute.spread.divergent_directions` draws them.
    shares : (m,) of the photons along each of these, sum 1; None: equal
    """

    wavelengths_ang: Array
    fluences_per_mm2: Array
    direction: Vector = (0.0, 0.0, -1.0)
    polarization_fraction: float = 1.0
    polarization_normal: Vector = (0.0, 1.0, 0.0)
    divergence: Array | None = None
    shares: Array | None = None

    @property
    def directions(self) -> Array:
        """Unit vectors (m, 3) along which the photons travel."""
        return np.array([self.direction]) if self.divergence is None else self.divergence

    @property
    def weights(self) -> Array:
        """Shares (m,) of the photons along each direction."""
        n = len(self.directions)
        return np.full(n, 1.0 / n) if self.shares is None else self.shares


@dataclass(frozen=True)
class Sensor:
    """A sensor so thick that photons which come at an angle leave their signal farther out.

    Attributes
    ----------
    thickness_mm : from the surface, where the pixels' corners lie, away from the crystal [mm]
    attenuation_mm : depth at which 1/e of the photons are left [mm]
    layers : that stand for the depths; a photon absorbed in one counts in its middle
    """

    thickness_mm: float
    attenuation_mm: float
    layers: int


@dataclass(frozen=True)
class Sampling:
    """How pixels are sampled.

    Attributes
    ----------
    oversample : sub-pixels along each side of a pixel
    polarization_at : "each" sub-pixel, or "last": once a pixel, where its last sub-pixel lies, as
        nanoBragg does by default; at most 1e-4 different
    sensor : None: all photons are absorbed at the surface
    """

    oversample: int = 1
    polarization_at: Literal["each", "last"] = "each"
    sensor: Sensor | None = None


CENTRES = Sampling()
"""Pixels at their centres."""


@dataclass(frozen=True)
class Exposure:
    """A crystal, the X-rays on it, and the pixels wanted."""

    pixels: Rectangles
    crystal: MosaicCrystal
    beam: Illumination


def forward(
    pixels: Rectangles, crystal: MosaicCrystal, beam: Illumination, sampling: Sampling = CENTRES
) -> Array:
    """Return photons (n_pixels,) of the crystal's Bragg spots, compiled.

    The cost follows the spots: pixels where no domain has a Gaussian lattice intensity above 1e-12
    of its peak are left at 0.
    """
    return forward_shots([Exposure(pixels, crystal, beam)], sampling)[0]


def forward_shots(shots: Sequence[Exposure], sampling: Sampling = CENTRES) -> list[Array]:
    """Return photons (n_pixels,) of each of many shots, compiled, in one call.

    The shots share structure factors (the same object, which stays on the device), shape and
    interpolation.
    """
    if not shots:
        return []
    first = shots[0].crystal
    for shot in shots:
        _check(shot, first)
    n_pixels = [shot.pixels.n_pixels for shot in shots]
    photons = np.empty(sum(n_pixels))
    tricubic = first.interpolation == "tricubic"
    sensor = sampling.sensor or Sensor(0.0, 1.0, 1)
    _kernels.forward(
        *_pixel_tables(shots),
        *_shot_tables(shots, sampling.oversample),
        first.intensities.amplitudes_on_device if tricubic else first.intensities.on_device,
        first.shape,
        tricubic,
        sampling.oversample,
        sampling.polarization_at == "last",
        sensor.layers,
        sensor.thickness_mm,
        sensor.attenuation_mm,
        photons,
    )
    return np.split(photons, np.cumsum(n_pixels)[:-1])


def _check(shot: Exposure, first: MosaicCrystal) -> None:
    crystal = shot.crystal
    same = (crystal.shape, crystal.interpolation) == (first.shape, first.interpolation)
    if not same or crystal.intensities is not first.intensities:
        raise ValueError(
            "shots of one call share structure factors, shape and interpolation; "
            "call once for each group of shots that do"
        )
    if not (len(crystal.a_matrices) and len(shot.beam.wavelengths_ang)):
        raise ValueError("a shot needs a domain and a wavelength at least")


def _pixel_tables(shots: Sequence[Exposure]) -> tuple[Array, Array, IntArray, IntArray]:
    """Return the shots' rectangles one after the other, and the end of each shot's."""
    parts = [shot.pixels for shot in shots]
    return (
        np.concatenate([part.origins_mm for part in parts], dtype=np.float64),
        np.concatenate([part.axes_mm for part in parts], dtype=np.float64),
        np.concatenate([part.sizes for part in parts], dtype=np.int64),
        np.cumsum([len(part.sizes) for part in parts]),
    )


def _shot_tables(
    shots: Sequence[Exposure], oversample: int
) -> tuple[IntArray, Array, Array, Array, Array, Array, Array]:
    """Return the ends of each shot's domains, channels and rays, its constants, and these."""
    crystals, beams = [shot.crystal for shot in shots], [shot.beam for shot in shots]
    counts = [
        (len(crystal.a_matrices), len(beam.wavelengths_ang), len(beam.directions))
        for crystal, beam in zip(crystals, beams, strict=True)
    ]
    constants = [
        (*crystal.n_cells, *beam.polarization_normal, beam.polarization_fraction)
        for crystal, beam in zip(crystals, beams, strict=True)
    ]
    scale = R_ELECTRON_SQUARED_MM2 / oversample**2
    fluences = [
        np.asarray(beam.fluences_per_mm2) * (scale / n[0])
        for beam, n in zip(beams, counts, strict=True)
    ]
    return (
        np.cumsum(counts, axis=0),
        np.array(constants),
        np.concatenate([np.linalg.inv(crystal.a_matrices) for crystal in crystals]),
        np.concatenate([1.0 / np.asarray(beam.wavelengths_ang) for beam in beams]),
        np.concatenate(fluences),
        np.concatenate([beam.directions for beam in beams]),
        np.concatenate([beam.weights for beam in beams]),
    )
