"""The forward model: CPU seconds beside nanoBragg's, and how far it is from nanoBragg's images.

The frame of 1 Mpx, the cell, the block of 20 x 20 x 40 cells and the 0.05 degrees of mosaicity are
those of the nanoBragg run whose figures (one thread, a 2.5 GHz Xeon) are quoted; |F| are random
here, which changes no timing. Shoeboxes are windows of 30 x 30 pixels, the same for every shot.
"""

import json
from dataclasses import replace

import numpy as np

from benchmarks.data import data_folder
from benchmarks.one_core import least_cpu_s, one_thread
from tests.nanobragg import read_images
from tests.shoeboxes import random_beam, random_spots
from xfel_apps.compute.forward import (
    Exposure,
    Illumination,
    MosaicCrystal,
    Rectangles,
    Sampling,
    Shape,
    forward,
    forward_shots,
)
from xfel_apps.compute.shoebox import shoebox_likelihood, shoebox_photons
from xfel_apps.compute.structure_factors import DenseIntensities

NANOBRAGG_S = {
    "nanobragg_gaussian_1domain_1mpx_s": 0.34,
    "nanobragg_frame_s": 2.20,
    "nanobragg_oversample2_s": 11.1,
    "nanobragg_square_s": 4.5,
}
FRAME = Rectangles(
    np.array([[-51.33, 50.93, -80.0]]),
    np.array([[[0.1, 0.0], [0.0, -0.1], [0.0, 0.0]]]),
    np.array([[1024, 1024]]),
)
BOX_PX = 30
STAGE1_BOX_PX, NARROWER = 15, 2.5


def lysozyme(n_domains: int, shape: Shape = "gaussian") -> MosaicCrystal:
    """Return a tetragonal crystal of `n_domains` turned by 0.05 degrees about random axes."""
    rng = np.random.default_rng(1)
    orientation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turns = np.radians(0.05) * rng.normal(size=(n_domains, 3))
    small = np.array([np.cross(np.eye(3), turn) for turn in turns]) + np.eye(3)
    a_matrix = orientation @ np.diag(1.0 / np.array([79.2, 79.2, 38.0]))
    box = rng.exponential(1e6, size=(93, 93, 45))
    return MosaicCrystal(
        small @ a_matrix, (20.0, 20.0, 40.0), DenseIntensities(box, (-46, -46, -22)), shape
    )


def spectrum(n_channels: int) -> Illumination:
    """Return a pulse 0.2 % wide."""
    wavelengths = 1.305 * (1 + 0.001 * np.linspace(-1, 1, n_channels + 2)[1:-1])
    return Illumination(wavelengths, np.full(n_channels, 5e15))


def boxes(n: int) -> Rectangles:
    """Return `n` windows of the frame, side by side in rows."""
    row, column = np.divmod(np.arange(n), 1024 // BOX_PX)
    start = BOX_PX * np.column_stack([column, row])
    return FRAME.windows(np.zeros(n, int), start, np.full((n, 2), BOX_PX))


def frame_s(n_domains: int, shape: Shape = "gaussian", channels: int = 1, over: int = 1) -> float:
    """Return the CPU time of one frame of 1 Mpx [s]."""
    crystal, beam, sampling = lysozyme(n_domains, shape), spectrum(channels), Sampling(over)
    return round(least_cpu_s(lambda: forward(FRAME, crystal, beam, sampling)), 4)


def box_us(n: int, n_shots: int = 20) -> float:
    """Return the CPU time of a shoebox where each of `n_shots` in a call has `n` of them [us]."""
    shot = Exposure(boxes(n), lysozyme(10), spectrum(1))
    return round(1e6 * least_cpu_s(lambda: forward_shots([shot] * n_shots)) / n / n_shots, 2)


def tricubic_s() -> float:
    """Return the CPU time of one frame where structure factors are interpolated [s]."""
    crystal = replace(lysozyme(10), interpolation="tricubic")
    return round(least_cpu_s(lambda: forward(FRAME, crystal, spectrum(1))), 4)


def derivative_cost_ratio(n: int = 300) -> float:
    """Return what the likelihood of boxes with all its derivatives costs over their photons.

    Windows and spots, of half a pixel's width, are as stage 1 has them on the nanoBragg stills
    (`bench-stage1` takes its own); where spots fill their windows it is about 4.3.
    """
    rng = np.random.default_rng(7)
    beam = replace(random_beam(rng), oversample=1)
    start = rng.integers(0, 1024 - STAGE1_BOX_PX, (n, 2))
    windows = FRAME.windows(np.zeros(n, int), start, np.full((n, 2), STAGE1_BOX_PX))
    spots = random_spots(rng, windows, beam)
    model = (windows, replace(spots, covariance=spots.covariance / NARROWER**2), beam)
    photons = shoebox_photons(*model)
    observed, noise = rng.poisson(photons).astype("f4"), np.full(len(photons), 1.0, "f4")
    forward_s = least_cpu_s(lambda: [shoebox_photons(*model) for _ in range(20)], 10)
    both_s = least_cpu_s(
        lambda: [shoebox_likelihood(*model, observed, noise) for _ in range(20)], 10
    )
    return round(both_s / forward_s, 2)


def worst_error() -> float:
    """Return the greatest difference from nanoBragg's images, of the brightest pixel of each."""
    images = dict(read_images(data_folder("nanobragg_lysozyme")))
    return max(
        image.error(forward(image.shot.pixels, image.shot.crystal, image.shot.beam, image.sampling))
        for image in images.values()
    )


def main() -> None:
    """Print one line of JSON."""
    one_thread("benchmarks.forward")
    figures = {
        "frame_s": frame_s(10),
        "max_rel_error_to_nanobragg": worst_error(),
        "derivative_cost_ratio": derivative_cost_ratio(),
        "gaussian_1domain_1mpx_s": frame_s(1),
        "channels100_s": frame_s(10, channels=100),
        "oversample2_s": frame_s(10, over=2),
        "tricubic_s": tricubic_s(),
        "square_s": frame_s(10, "square"),
        "box_us_30_a_shot": box_us(30),
        "box_us_100_a_shot": box_us(100),
        "box_us_300_a_shot": box_us(300),
    }
    print(json.dumps(figures | NANOBRAGG_S))


if __name__ == "__main__":
    main()
