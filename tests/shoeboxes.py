"""Random shoeboxes with spots in them."""

import numpy as np

from xfel_apps.compute.forward import Rectangles
from xfel_apps.compute.shoebox import BeamLine, SpotShapes
from xfel_apps.pixel_model.crystal import rotation

PIXEL_MM = 0.1


def random_beam(rng: np.random.Generator) -> BeamLine:
    """Return a beam along about -z, polarised in any plane."""
    direction = rotation(rng.normal(size=3) * 0.01) @ [0.0, 0.0, -1.0]
    normal = np.cross(direction, rng.normal(size=3))
    return BeamLine(
        float(rng.uniform(1.2, 1.4)),
        tuple(direction),
        float(rng.uniform(0, 1)),
        tuple(normal / np.linalg.norm(normal)),
        oversample=int(rng.integers(1, 4)),
    )


def random_boxes(rng: np.random.Generator, n: int) -> Rectangles:
    """Return boxes of different sizes, one larger than a kernel's block of pixels, tilted."""
    sizes = rng.integers(7, 16, size=(n, 2))
    sizes[:1] = [21, 19]
    origins = np.column_stack([rng.uniform(-40, 40, size=(n, 2)), rng.uniform(-90, -70, n)])
    flat = np.array([[1.0, 0.0], [0.0, -1.0], [0.0, 0.0]]) * PIXEL_MM
    axes = np.array([rotation(rng.normal(size=3) * 0.1) @ flat for _ in range(n)])
    return Rectangles(origins, axes.reshape(n, 3, 2), sizes)


def rays(boxes: Rectangles, beam: BeamLine, at: np.ndarray) -> np.ndarray:
    """Return q (n, 3) of a point (n, 2) of each box, in pixels from its corner."""
    lab = boxes.origins_mm + np.einsum("nij,nj->ni", boxes.axes_mm, at)
    unit = lab / np.linalg.norm(lab, axis=1, keepdims=True)
    return (unit - np.array(beam.direction)) / beam.wavelength_ang


def random_spots(rng: np.random.Generator, boxes: Rectangles, beam: BeamLine) -> SpotShapes:
    """Return a spot of about a pixel's size near the centre of each box."""
    n = len(boxes.sizes)
    pixel = PIXEL_MM / 80.0 / beam.wavelength_ang
    centre = rays(boxes, beam, boxes.sizes * rng.uniform(0.4, 0.6, size=(n, 2)))
    square = rng.normal(size=(n, 3, 3)) * 0.5
    covariance = (square @ square.transpose(0, 2, 1) + np.eye(3)) * pixel**2
    background = np.column_stack([rng.uniform(3, 9, n), rng.normal(0, 0.1, size=(n, 2))])
    return SpotShapes(
        centre + rng.normal(0, 0.3 * pixel, size=(n, 3)),
        covariance,
        rng.uniform(1e7, 1e8, n),
        background,
    )
