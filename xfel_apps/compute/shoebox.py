r"""Pixels about Bragg spots (shoeboxes): a smooth model of their photons, and its derivatives.

The forward model sums over mosaic domains (`xfel_apps.compute.forward`); here they are infinitely
many. A Gaussian block, domains turned by normal angles and a normal spectrum each smear a lattice
point :math:`q_0 = A h_0` with a normal distribution, so together they do so with one, whose
covariance :math:`\Sigma` is the sum of theirs. A pixel at :math:`q` holds

.. math::
    \mu = a\, P(q)\, \Omega(q) \exp\left(-\tfrac12 (q - q_0)^T \Sigma^{-1} (q - q_0)\right)
        + b_0 + b_1 f + b_2 s

photons: amplitude, polarisation, solid angle, and a plane of background (f, s: pixels from the
box's centre). `xfel_apps.pixel_model.crystal` says what a crystal's amplitudes and covariances are.

All derivatives that any parameter may want are linear in the 17 columns of `Basis`: a parameter
that moves :math:`\ln a, q_0, \Sigma`, the panel or the wavelength needs only the few numbers by
which it moves them. So likelihood, gradient and curvature of a box in these columns, one pass over
its pixels, serve every parametrisation.
"""

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from xfel_apps import _kernels
from xfel_apps.compute.forward import Array, IntArray, Rectangles

F4 = NDArray[np.float32]

LEAST_VARIANCE = 0.1
"""The expected photons of a pixel have at least this variance [photon^2], readout apart."""

SYMMETRIC = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Order in which the elements of a symmetric matrix are kept."""


class Basis(IntEnum):
    """First column of each group of derivatives of a pixel's photons.

    AMPLITUDE: by the logarithm of the spot's amplitude. CENTRE: by q0, three. SPREAD: by the
    covariance's elements in the order of `SYMMETRIC`, amplitude unchanged, six. SHIFT: by the
    lab position of the panel [mm], three. WAVELENGTH: by its logarithm. BACKGROUND: by level and
    slopes of the background, three.
    """

    AMPLITUDE = 0
    CENTRE = 1
    SPREAD = 4
    SHIFT = 10
    WAVELENGTH = 13
    BACKGROUND = 14


N_BASIS = 17


@dataclass(frozen=True)
class BeamLine:
    """What is the same for all spots of a shot.

    Attributes
    ----------
    wavelength_ang : mean wavelength [Angstrom]
    direction : unit vector along which the photons travel
    polarization_fraction, polarization_normal : as in `xfel_apps.compute.forward.Illumination`
    oversample : sub-pixels along each side of a pixel
    """

    wavelength_ang: float
    direction: tuple[float, float, float] = (0.0, 0.0, -1.0)
    polarization_fraction: float = 1.0
    polarization_normal: tuple[float, float, float] = (0.0, 1.0, 0.0)
    oversample: int = 1


@dataclass(frozen=True)
class SpotShapes:
    """The spot in each box.

    Attributes
    ----------
    centre : (n, 3) lattice points q0 [1/Angstrom]
    covariance : (n, 3, 3) of their smearing [1/Angstrom^2]
    amplitude : (n,) photons a steradian at the centre
    background : (n, 3) level [photon] and slopes along fast and slow [photon/pixel]
    """

    centre: Array
    covariance: Array
    amplitude: Array
    background: Array

    def __len__(self) -> int:
        return len(self.centre)

    def table(self) -> Array:
        """Return the numbers (n, 13) that the kernel takes."""
        precision = np.linalg.inv(self.covariance)
        elements = [precision[:, i, j] for i, j in SYMMETRIC]
        return np.column_stack([self.centre, *elements, self.amplitude, self.background])

    def with_background(self, background: Array) -> "SpotShapes":
        """Return the same spots on another background."""
        return replace(self, background=background)


@dataclass(frozen=True)
class Likelihood:
    """Minus the log likelihood of each box's pixels, in the columns of `Basis`.

    Attributes
    ----------
    misfit : (n,) sum over pixels of ((observed - expected)^2 / variance + ln variance) / 2, the
        variance being the expected photons plus `noise`
    gradient : (n, 17)
    curvature : (n, 17, 17) its expectation (Fisher's information)
    """

    misfit: Array
    gradient: Array
    curvature: Array


def shoebox_photons(boxes: Rectangles, spots: SpotShapes, beam: BeamLine) -> Array:
    """Return the expected photons (n_pixels,) of boxes, one after another, compiled."""
    photons = np.empty(boxes.n_pixels)
    _kernels.shoebox_photons(*_arguments(boxes, spots, beam), photons)
    return photons


def shoebox_derivatives(
    boxes: Rectangles, spots: SpotShapes, beam: BeamLine
) -> tuple[Array, Array]:
    """Return the expected photons (n_pixels,) and their derivatives (17, n_pixels), compiled."""
    photons, columns = np.empty(boxes.n_pixels), np.empty((N_BASIS, boxes.n_pixels))
    _kernels.shoebox_derivatives(*_arguments(boxes, spots, beam), photons, columns)
    return photons, columns


def shoebox_likelihood(
    boxes: Rectangles, spots: SpotShapes, beam: BeamLine, observed: F4, noise: F4
) -> Likelihood:
    """Return the likelihood of the pixels of boxes, compiled.

    Parameters
    ----------
    boxes, spots, beam : the model
    observed : (n_pixels,) photons; NaN where a pixel is not to be used
    noise : (n_pixels,) variance besides that of counting: readout, what is not known [photon^2]
    """
    n = len(boxes.sizes)
    result = Likelihood(np.empty(n), np.empty((n, N_BASIS)), np.empty((n, N_BASIS, N_BASIS)))
    if not len(observed) == len(noise) == boxes.n_pixels:
        given = f"{len(observed)} pixels and {len(noise)} variances"
        raise ValueError(f"{given} given for boxes of {boxes.n_pixels}")
    _kernels.shoebox_likelihood(
        *_arguments(boxes, spots, beam),
        np.ascontiguousarray(observed, dtype=np.float32),
        np.ascontiguousarray(noise, dtype=np.float32),
        result.misfit,
        result.gradient,
        result.curvature,
    )
    return result


def _arguments(boxes: Rectangles, spots: SpotShapes, beam: BeamLine) -> tuple[object, ...]:
    return (
        np.ascontiguousarray(boxes.origins_mm, dtype=np.float64),
        np.ascontiguousarray(boxes.axes_mm, dtype=np.float64),
        np.ascontiguousarray(boxes.sizes, dtype=np.int64),
        np.ascontiguousarray(spots.table()),
        beam.wavelength_ang,
        beam.direction,
        beam.polarization_normal,
        beam.polarization_fraction,
        beam.oversample,
    )


def shoebox_derivatives_reference(
    boxes: Rectangles, spots: SpotShapes, beam: BeamLine
) -> tuple[Array, Array]:
    """Return what `shoebox_derivatives` computes: its definition in plain NumPy."""
    photons, columns = np.zeros(boxes.n_pixels), np.zeros((N_BASIS, boxes.n_pixels))
    box, fast, slow = pixels_of(boxes)
    for step in np.ndindex(beam.oversample, beam.oversample):
        inside = (np.array(step) + 0.5) / beam.oversample
        lab = boxes.origins_mm[box] + np.einsum(
            "nij,nj->ni", boxes.axes_mm[box], np.column_stack([fast, slow]) + inside
        )
        columns[: Basis.BACKGROUND] += _sub_pixel(lab, boxes, spots, beam, box)
    middle = 0.5 * (boxes.sizes - 1)[box]
    plane = np.stack([np.ones(len(box)), fast - middle[:, 0], slow - middle[:, 1]])
    columns[Basis.BACKGROUND :] = plane
    photons = columns[Basis.AMPLITUDE] + np.sum(plane * spots.background[box].T, axis=0)
    return photons, columns


def pixels_of(boxes: Rectangles) -> tuple[IntArray, IntArray, IntArray]:
    """Return box, fast and slow index within it (n_pixels,) of every pixel."""
    counts = boxes.sizes.prod(axis=1)
    box = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    slow, fast = np.divmod(within, boxes.sizes[box, 0])
    return box, fast, slow


def _sub_pixel(
    lab: Array, boxes: Rectangles, spots: SpotShapes, beam: BeamLine, box: IntArray
) -> Array:
    """Return the derivatives (14, n_pixels) that one sub-pixel at `lab` (n_pixels, 3) adds."""
    distance = np.linalg.norm(lab, axis=1)
    u = lab / distance[:, None]
    q = (u - np.array(beam.direction)) / beam.wavelength_ang
    offset = q - spots.centre[box]
    g = np.einsum("nij,nj->ni", np.linalg.inv(spots.covariance)[box], offset)
    area = np.cross(boxes.axes_mm[:, :, 0], boxes.axes_mm[:, :, 1])[box]
    omega = np.abs(np.sum(u * area, axis=1)) / distance**2
    kahn, by_u = _polarization(u, beam)
    m = spots.amplitude[box] * kahn * omega * np.exp(-0.5 * np.sum(g * offset, axis=1))
    m /= beam.oversample**2
    spread = [g[:, i] * g[:, j] * (0.5 if i == j else 1.0) for i, j in SYMMETRIC]
    v = by_u / kahn[:, None] - g / beam.wavelength_ang
    across = v - np.sum(v * u, axis=1, keepdims=True) * u
    shift = (across - 3.0 * u) / distance[:, None] + area / np.sum(lab * area, axis=1)[:, None]
    return np.asarray(
        m * np.stack([np.ones(len(m)), *g.T, *spread, *shift.T, np.sum(g * q, axis=1)])
    )


def _polarization(u: Array, beam: BeamLine) -> tuple[Array, Array]:
    """Return the fraction (n,) that polarisation leaves towards u (n, 3), and its derivative."""
    p, along, normal = (
        beam.polarization_fraction,
        np.array(beam.direction),
        np.array(beam.polarization_normal),
    )
    a, b = u @ normal, u @ along
    value = (1.0 - 2.0 * p) * (1.0 - a**2) + p * (1.0 + b**2)
    slope = -2.0 * (1.0 - 2.0 * p) * a[:, None] * normal + 2.0 * p * b[:, None] * along
    return value, slope


def shoebox_likelihood_reference(
    boxes: Rectangles, spots: SpotShapes, beam: BeamLine, observed: F4, noise: F4
) -> Likelihood:
    """Return what `shoebox_likelihood` computes: its definition in plain NumPy."""
    photons, columns = shoebox_derivatives_reference(boxes, spots, beam)
    box, _, _ = pixels_of(boxes)
    used = np.isfinite(observed)
    varies = photons > LEAST_VARIANCE
    variance = np.where(varies, photons, LEAST_VARIANCE) + noise
    residual = np.where(used, observed, photons) - photons
    misfit = used * 0.5 * (residual**2 / variance + np.log(variance))
    half = varies * 0.5 / variance
    slope = used * (half * (1.0 - residual**2 / variance) - residual / variance)
    weight = used * (1.0 + half) / variance
    n = len(boxes.sizes)
    gradient, curvature = np.zeros((n, N_BASIS)), np.zeros((n, N_BASIS, N_BASIS))
    np.add.at(gradient, box, (columns * slope).T)
    np.add.at(curvature, box, np.einsum("ip,jp,p->pij", columns, columns, weight))
    return Likelihood(np.bincount(box, misfit, n).astype(float), gradient, curvature)
