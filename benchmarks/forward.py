"""CPU seconds of the forward model for a frame of 1 Mpx, beside nanoBragg's.

The frame, the cell, the block of 20 x 20 x 40 cells and the 0.05 degrees of mosaicity are those of
the nanoBragg run whose figures (one thread, a 2.5 GHz Xeon) are quoted; |F| are random here, which
changes no timing.
"""

import json
import time

import numpy as np

from xfel_apps.compute.forward import Illumination, MosaicCrystal, Rectangles, Shape, forward
from xfel_apps.compute.structure_factors import DenseIntensities

NANOBRAGG_S = {
    "nanobragg_gaussian_1domain_1mpx_s": 0.34,
    "nanobragg_gaussian_10domains_1mpx_s": 2.20,
    "nanobragg_square_10domains_1mpx_s": 4.5,
}


def lysozyme(n_domains: int, shape: Shape) -> MosaicCrystal:
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


def cpu_s(n_domains: int, shape: Shape, n_wavelengths: int = 1) -> float:
    """Return the least of three CPU times of one frame [s]."""
    panel = Rectangles(
        np.array([[-51.33, 50.93, -80.0]]),
        np.array([[[0.1, 0.0], [0.0, -0.1], [0.0, 0.0]]]),
        np.array([[1024, 1024]]),
    )
    wavelengths = 1.305 * (1 + 0.001 * np.linspace(-1, 1, n_wavelengths + 2)[1:-1])
    beam = Illumination(wavelengths, np.full(n_wavelengths, 5e15))
    crystal = lysozyme(n_domains, shape)
    taken = []
    for _ in range(3):
        start = time.process_time()
        forward(panel, crystal, beam)
        taken.append(time.process_time() - start)
    return round(min(taken), 4)


def main() -> None:
    """Print one line of JSON."""
    figures = {
        "gaussian_1domain_1mpx_s": cpu_s(1, "gaussian"),
        "gaussian_10domains_1mpx_s": cpu_s(10, "gaussian"),
        "gaussian_10domains_100wavelengths_1mpx_s": cpu_s(10, "gaussian", 100),
        "square_10domains_1mpx_s": cpu_s(10, "square"),
    }
    print(json.dumps(figures | NANOBRAGG_S))


if __name__ == "__main__":
    main()
