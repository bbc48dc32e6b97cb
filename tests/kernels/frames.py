"""Frames with everything that can be wrong with one, for tests of the spot-finding kernels."""

import numpy as np

from xfel_apps.compute.panels import Panels

SHAPE = (150, 330)


def random_panels(rng: np.random.Generator) -> Panels:
    """Four panels of odd sizes with gaps between them, one wider and one higher than a tile."""
    return Panels(
        starts=np.array([[0, 0], [300, 3], [4, 90], [200, 101]]),
        sizes=np.array([[290, 80], [23, 87], [140, 60], [130, 40]]),
        trusted=np.array([[0.0, 1000.0], [-20.0, 1000.0], [0.0, 200.0], [0.0, 1e9]]),
        gain=np.array([1.0, 2.5, 1.0, 0.7]),
        noise_adu=np.array([0.0, 3.0, 0.0, 0.5]),
    )


def random_frame(rng: np.random.Generator, dtype: type = np.int32) -> tuple[np.ndarray, np.ndarray]:
    """Background that varies, spots of all sizes, saturated and masked pixels; NaN in floats."""
    slow, _ = np.indices(SHAPE)
    frame = rng.poisson(3.0 + 0.05 * slow).astype(float)
    for _ in range(60):
        s, f = rng.integers(0, SHAPE[0]), rng.integers(0, SHAPE[1])
        height, width = rng.integers(1, 5, 2)
        frame[s : s + height, f : f + width] += rng.poisson(rng.uniform(10, 120))
    frame[rng.random(SHAPE) < 2e-4] = 5000.0
    mask = (rng.random(SHAPE) > 0.01).astype(np.uint8)
    mask[40:44] = 0
    if np.issubdtype(dtype, np.floating):
        frame[rng.random(SHAPE) < 1e-3] = np.nan
    return frame.astype(dtype), mask
