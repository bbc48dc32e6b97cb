"""The forward model in plain NumPy: the definition of what `xfel_apps.compute.forward` computes."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from xfel_apps.compute.forward import (
    CENTRES,
    GAUSSIAN_WIDTH,
    R_ELECTRON_SQUARED_MM2,
    Array,
    Illumination,
    IntArray,
    MosaicCrystal,
    Rectangles,
    Sampling,
    Sensor,
    Shape,
    Vector,
)
from xfel_apps.compute.structure_factors import DenseIntensities

TOPHAT_RADIUS = 0.63
"""Of |N (h - h0)| of a "tophat" spot: nanoBragg's, about as wide as the others at half height."""
ROUND_PEAK = 0.723601254558268
"""Peak of |L| / N of an ellipsoid in nanoBragg: it makes the spot as strong as a square one."""


def forward_reference(
    pixels: Rectangles, crystal: MosaicCrystal, beam: Illumination, sampling: Sampling = CENTRES
) -> Array:
    """Return photons (n_pixels,) of the crystal's Bragg spots."""
    total = [_rectangle(*part, crystal, beam, sampling) for part in _parts(pixels)]
    return np.concatenate(total) if total else np.empty(0)


def _parts(pixels: Rectangles) -> Iterator[tuple[Array, Array, IntArray]]:
    return zip(pixels.origins_mm, pixels.axes_mm, pixels.sizes, strict=True)


def _rectangle(
    origin_mm: Array,
    axes_mm: Array,
    size: IntArray,
    crystal: MosaicCrystal,
    beam: Illumination,
    sampling: Sampling,
) -> Array:
    slow, fast = np.indices((size[1], size[0])).reshape(2, -1)
    corner_mm = origin_mm + np.column_stack([fast, slow]) @ axes_mm.T
    n = sampling.oversample
    photons = np.zeros(len(fast))
    for depth_mm, layer in _layers(sampling.sensor):
        behind_mm = depth_mm * outwards(origin_mm, axes_mm)
        last_mm = corner_mm + axes_mm @ np.full(2, (n - 0.5) / n) + behind_mm
        for step in product(range(n), range(n)):
            lab_mm = corner_mm + axes_mm @ ((np.array(step) + 0.5) / n) + behind_mm
            seen = solid_angle(lab_mm, axes_mm)
            if sampling.sensor is not None:
                seen = seen * absorbed(lab_mm, axes_mm, sampling.sensor, layer)
            polarized_mm = lab_mm if sampling.polarization_at == "each" else last_mm
            for direction, weight in zip(beam.directions, beam.weights, strict=True):
                share = seen * polarization(polarized_mm, beam, direction) * weight
                photons += share * _scattered(lab_mm, crystal, beam, direction)
    return np.asarray(photons * (R_ELECTRON_SQUARED_MM2 / n**2))


def pixels_of(pixels: Rectangles) -> Iterator[tuple[Array, Array]]:
    """Yield lab positions of the centres (n, 3) [mm] and the sides (3, 2) of each rectangle."""
    for origin_mm, axes_mm, size in _parts(pixels):
        slow, fast = np.indices((size[1], size[0])).reshape(2, -1)
        yield origin_mm + (np.column_stack([fast, slow]) + 0.5) @ axes_mm.T, axes_mm


def _layers(sensor: Sensor | None) -> list[tuple[float, int]]:
    """Return the depth of the middle of each layer [mm] and its number."""
    if sensor is None:
        return [(0.0, 0)]
    step_mm = sensor.thickness_mm / sensor.layers
    return [((layer + 0.5) * step_mm, layer) for layer in range(sensor.layers)]


def outwards(origin_mm: Array, axes_mm: Array) -> Array:
    """Return the unit vector (3,) normal to a panel that points away from the crystal."""
    normal = np.cross(axes_mm[:, 0], axes_mm[:, 1])
    normal /= np.linalg.norm(normal)
    return np.asarray(normal if normal @ origin_mm >= 0 else -normal)


def absorbed(lab_mm: Array, axes_mm: Array, sensor: Sensor, layer: int) -> Array:
    """Return the share (n,) of the photons towards `lab_mm` (n, 3) that a layer absorbs."""
    unit = lab_mm / np.linalg.norm(lab_mm, axis=1, keepdims=True)
    cosine = unit @ outwards(lab_mm[0], axes_mm)
    top, bottom = (
        number * sensor.thickness_mm / sensor.layers / sensor.attenuation_mm / cosine
        for number in (layer, layer + 1)
    )
    return np.asarray(np.exp(-top) - np.exp(-bottom))


def solid_angle(lab_mm: Array, axes_mm: Array) -> Array:
    """Return the solid angle (n,) [sr] of pixels at `lab_mm` (n, 3) with sides `axes_mm` (3, 2)."""
    area = np.cross(axes_mm[:, 0], axes_mm[:, 1])
    return np.asarray(np.abs(lab_mm @ area) / np.linalg.norm(lab_mm, axis=1) ** 3)


def polarization(lab_mm: Array, beam: Illumination, direction: Array | Vector) -> Array:
    """Return the fraction (n,) of intensity that polarisation leaves towards `lab_mm` (n, 3).

    Source: Kahn et al. (1982), J. Appl. Cryst. 15, 330-337.
    """
    unit = lab_mm / np.linalg.norm(lab_mm, axis=1, keepdims=True)
    p = beam.polarization_fraction
    normal, along = unit @ beam.polarization_normal, unit @ direction
    return np.asarray((1.0 - 2.0 * p) * (1.0 - normal**2) + p * (1.0 + along**2))


def _scattered(
    lab_mm: Array, crystal: MosaicCrystal, beam: Illumination, direction: Array
) -> Array:
    """Return the sum of fluence times the domains' mean |F|^2 |L|^2, (n,) [1/mm^2]."""
    unit = lab_mm / np.linalg.norm(lab_mm, axis=1, keepdims=True)
    structure = intensities_between if crystal.interpolation == "tricubic" else intensities_nearest
    total = np.zeros(len(lab_mm))
    for wavelength, fluence in zip(beam.wavelengths_ang, beam.fluences_per_mm2, strict=True):
        q = (unit - direction) / wavelength
        for a_matrix in crystal.a_matrices:
            h = q @ np.linalg.inv(a_matrix).T
            lattice = lattice_factor(h - np.floor(h + 0.5), crystal.n_cells, crystal.shape)
            total += fluence * structure(crystal.intensities, h) * lattice**2
    return np.asarray(total / len(crystal.a_matrices))


def intensities_nearest(intensities: DenseIntensities, h: Array) -> Array:
    """Return |F|^2 (n,) of the Miller index nearest to each `h` (n, 3)."""
    return intensities.at(np.floor(h + 0.5).astype(np.int64))


def intensities_between(intensities: DenseIntensities, h: Array) -> Array:
    """Return |F|^2 (n,) at each `h` (n, 3): Lagrange's cubics through the |F| about it.

    Along each axis through the two indices below and the two above. |F| outside the table is 0.
    """
    below = np.floor(h).astype(np.int64)
    t = h - below
    weights = (
        -t * (t - 1) * (t - 2) / 6,
        (t + 1) * (t - 1) * (t - 2) / 2,
        -(t + 1) * t * (t - 2) / 2,
        (t + 1) * t * (t - 1) / 6,
    )
    amplitude = np.zeros(len(h))
    for steps in product(range(4), repeat=3):
        weight = np.prod([weights[step][:, axis] for axis, step in enumerate(steps)], axis=0)
        amplitude += weight * np.sqrt(intensities.at(below - 1 + np.array(steps)))
    return amplitude**2


def lattice_factor(offset: Array, n_cells: Vector, shape: Shape) -> Array:
    """Return |L| (n,) at `offset` (n, 3) from the nearest Miller index, within half an index.

    >>> round(float(lattice_factor(np.zeros((1, 3)), (10, 10, 10), "square")[0]))
    1000
    """
    cells = np.asarray(n_cells, dtype=float)
    if shape == "square":
        # sin(pi N h) / sin(pi h), a ratio of sinc so that an offset of 0 needs no special case
        ratio = cells * np.sinc(cells * offset) / np.sinc(offset)
        return np.asarray(np.prod(np.abs(ratio), axis=1))
    squares = np.sum((offset * cells) ** 2, axis=1)
    if shape == "gaussian":
        return np.asarray(np.prod(cells) * np.exp(-squares / GAUSSIAN_WIDTH))
    if shape == "tophat":
        return np.asarray(np.prod(cells) * (squares < TOPHAT_RADIUS**2))
    return np.asarray(np.prod(cells) * ROUND_PEAK * np.abs(ball_transform(np.sqrt(squares))))


def ball_transform(radius: Array) -> Array:
    """Return the Fourier transform of a ball of diameter 1, relative to its peak.

    >>> ball_transform(np.array([0.0, 1.0])).round(3)
    array([1.   , 0.304])
    """
    x = np.pi * np.maximum(radius, 1e-4)
    return np.asarray(3.0 * (np.sin(x) / x - np.cos(x)) / x**2)
