"""The simulated detector: modules on a plane, and pixels that do not work."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from xfel_apps.geometry import Detector, Panel
from xfel_apps.simulate.settings import DetectorSettings

FAST, SLOW = np.array([1.0, 0.0, 0.0]), np.array([0.0, -1.0, 0.0])


def make_detector(settings: DetectorSettings, seed: int) -> Detector:
    """Return the detector; in the slab the modules lie side by side, without the gaps."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 0x70616E65)))
    rows, columns = settings.modules
    panels = [
        _panel(settings, (row, column), rng) for row in range(rows) for column in range(columns)
    ]
    slab = (rows * settings.module_px[0], columns * settings.module_px[1])
    return Detector(tuple(panels), slab)


def _panel(settings: DetectorSettings, place: tuple[int, int], rng: np.random.Generator) -> Panel:
    """Return the module at `place` (row, column), turned about its own middle."""
    shape, whole = np.array(settings.module_px), np.array(settings.modules)
    step = (shape + settings.gap_px) * settings.pixel_mm
    along_slow, along_fast = (np.array(place) - (whole - 1) / 2.0) * step
    x_mm, y_mm = settings.beam_mm
    middle = along_fast * FAST + along_slow * SLOW + np.array([x_mm, y_mm, -settings.distance_mm])
    turn = Rotation.from_rotvec(np.radians(settings.tilt_deg) * rng.standard_normal(3))
    fast, slow = turn.apply(FAST), turn.apply(SLOW)
    half_slow, half_fast = shape * settings.pixel_mm / 2.0
    return Panel(
        name=f"module_{place[0]}_{place[1]}",
        origin_mm=_vector(middle - half_fast * fast - half_slow * slow),
        fast=_vector(fast),
        slow=_vector(slow),
        pixel_mm=(settings.pixel_mm, settings.pixel_mm),
        shape=settings.module_px,
        slab_start=(place[0] * settings.module_px[0], place[1] * settings.module_px[1]),
        trusted=(min(0.0, -10.0 * settings.read_noise_adu), float(settings.saturation_adu)),
        gain=settings.gain,
    )


def _vector(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z


@dataclass(frozen=True)
class PixelFaults:
    """What is wrong with pixels, the same on every shot; pixels as flat slab indices.

    Attributes
    ----------
    dead : read 0 and are in the mask
    hot : read too much, and nobody has noticed
    hot_adu : what each hot pixel reads [ADU]
    gain : (slow, fast) of each pixel, relative to what calibration says
    """

    dead: NDArray[np.int64]
    hot: NDArray[np.int64]
    hot_adu: NDArray[np.int64]
    gain: NDArray[np.float64]


def pixel_faults(settings: DetectorSettings, detector: Detector, seed: int) -> PixelFaults:
    """Return what is wrong with the pixels."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 0x70697865)))
    n_pixels = int(np.prod(detector.slab_shape))
    n_dead = round(settings.dead_fraction * n_pixels)
    n_hot = round(settings.hot_fraction * n_pixels)
    chosen = rng.permutation(n_pixels)[: n_dead + n_hot] if n_dead + n_hot else np.empty(0, int)
    level = settings.saturation_adu * np.exp(rng.uniform(-4.0, -1.0, len(chosen) - n_dead))
    gain = np.ones(detector.slab_shape)
    if settings.gain_spread:
        gain += settings.gain_spread * rng.standard_normal(detector.slab_shape)
    return PixelFaults(chosen[:n_dead], chosen[n_dead:], level.astype(np.int64), gain.clip(min=0.0))
