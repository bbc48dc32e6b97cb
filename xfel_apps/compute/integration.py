"""Pixel work of integration: background plane, summation and profile fit of every reflection.

Each reflection has an ellipse on its panel, its foreground: the pixels whose offset from the
predicted position, taken to profile coordinates u, lies in the unit disc. Pixels that are in a
neighbour's foreground too, masked or beyond the panel's edge are not used; the profile says what
share of the spot they hold. Background pixels lie beyond `guard` times the ellipse, and outside
that of every neighbour.

What is computed, and after whom: `xfel_apps.compute.integration_reference`.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from xfel_apps import _kernels

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

MAX_HALF_PX = 15
"""A reflection's window is at most 2 * 15 + 1 pixels wide."""

PIXEL_TYPES = ("uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")
"""Pixel types the kernel reads as they are; others are converted to float32."""


@dataclass(frozen=True)
class Windows:
    """Where the reflections of one shot are.

    Attributes
    ----------
    panel : (n,) panel index
    centre : (n, 2) predicted position (fast, slow) in the slab [pixel]
    to_profile : (n, 2, 2) matrix from a pixel offset (fast, slow) to profile coordinates
    half_px : (n,) pixels to look at on each side of the centre, at most `MAX_HALF_PX`
    """

    panel: IntArray
    centre: Array
    to_profile: Array
    half_px: IntArray

    def __len__(self) -> int:
        return len(self.panel)

    def take(self, rows: NDArray[np.bool_] | IntArray) -> "Windows":
        """Return some of the windows."""
        return Windows(*(getattr(self, item.name)[rows] for item in fields(self)))

    def neighbours(self) -> tuple[IntArray, IntArray]:
        """Return (starts (n + 1,), indices): the windows that meet each window's."""
        n = len(self)
        if n < 2:
            return np.zeros(n + 1, dtype=np.int64), np.empty(0, dtype=np.int64)
        reach = 2.0 * float(self.half_px.max()) + 1.0
        pairs = cKDTree(self.centre).query_pairs(reach, p=np.inf, output_type="ndarray")
        first, second = pairs[:, 0], pairs[:, 1]
        apart = np.abs(self.centre[first] - self.centre[second]).max(axis=1)
        meet = apart <= self.half_px[first] + self.half_px[second] + 1.0
        pairs = pairs[meet & (self.panel[first] == self.panel[second])]
        both = np.concatenate([pairs, pairs[:, ::-1]])
        both = both[np.lexsort((both[:, 1], both[:, 0]))]
        starts = np.searchsorted(both[:, 0], np.arange(n + 1))
        return starts.astype(np.int64), np.ascontiguousarray(both[:, 1], dtype=np.int64)


@dataclass(frozen=True)
class Readout:
    """How to read a frame.

    Attributes
    ----------
    panels : (n_panels, 4) slab rectangle of each panel: first slow, stop slow, first fast, stop
    photons_per_adu : (n_panels,) inverse gain
    bottom_adu, top_adu : (n_panels,) lowest and highest trusted value: below dead, above saturated
    variance : variance of a pixel beside counting noise [photon^2]
    """

    panels: IntArray
    photons_per_adu: Array
    bottom_adu: Array
    top_adu: Array
    variance: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """How to integrate.

    Attributes
    ----------
    profile : (m, m) share of a spot in a pixel, up to a factor, on a grid over profile coordinates
        from -1 to 1: row along the second coordinate, column along the first
    guard : background pixels have |u| beyond it
    outlier_sigmas : background pixels further than this from the plane are rejected
    """

    profile: Array
    guard: float = 1.4
    outlier_sigmas: float = 4.0


@dataclass(frozen=True)
class Sums:
    """What came out, one entry a reflection; photons and pixels.

    Attributes
    ----------
    intensity_sum, variance_sum : by summation over the usable foreground, over its share
    intensity_profile, variance_profile : by profile fit to the usable foreground
    background, slope_fast, slope_slow : the plane at the centre and its slopes
    background_variance : mean square distance of background pixels from the plane
    n_background, n_rejected : background pixels used and rejected
    n_foreground : usable foreground pixels
    n_masked, n_outside : foreground pixels that are masked, and beyond the panel's edge
    n_saturated, n_shared : good foreground pixels that are saturated, and a neighbour's as well
    share : of the profile on the usable foreground pixels, 0 to 1
    mean_u, mean_v : centroid in profile coordinates, 0 where the sum is not positive
    square_uu, square_uv, square_vv : second moments about the predicted position
    """

    intensity_sum: Array
    variance_sum: Array
    intensity_profile: Array
    variance_profile: Array
    background: Array
    slope_fast: Array
    slope_slow: Array
    background_variance: Array
    n_background: Array
    n_rejected: Array
    n_foreground: Array
    n_masked: Array
    n_outside: Array
    n_saturated: Array
    n_shared: Array
    share: Array
    mean_u: Array
    mean_v: Array
    square_uu: Array
    square_uv: Array
    square_vv: Array

    @classmethod
    def from_table(cls, table: Array) -> "Sums":
        """Return the columns of a table (n, number of fields)."""
        return cls(*np.ascontiguousarray(table.T))

    @classmethod
    def empty(cls) -> "Sums":
        """Return the sums of no reflections."""
        return cls.from_table(np.empty((0, N_SUMS)))

    @property
    def i_over_sigma(self) -> Array:
        """(n,) of the sums; 0 where no pixel could be used."""
        sigma = np.sqrt(self.variance_sum)
        return np.divide(self.intensity_sum, sigma, out=np.zeros_like(sigma), where=sigma > 0.0)

    def take(self, rows: NDArray[np.bool_] | IntArray) -> "Sums":
        """Return the sums of some reflections."""
        return Sums(*(getattr(self, item.name)[rows] for item in fields(self)))


N_SUMS = len(fields(Sums))


def integrate(
    frame: NDArray[np.generic],
    good: NDArray[np.bool_],
    windows: Windows,
    readout: Readout,
    recipe: Recipe,
) -> Sums:
    """Return the sums of every reflection of a shot, compiled.

    Parameters
    ----------
    frame : (slow, fast) pixels [ADU]
    good : (slow, fast) pixels that may be used
    windows, readout, recipe : where, from what and how
    """
    if frame.dtype.name not in PIXEL_TYPES:
        frame = frame.astype(np.float32)
    starts, indices = windows.neighbours()
    table = np.empty((len(windows), N_SUMS))
    _kernels.integrate(
        np.ascontiguousarray(frame),
        np.ascontiguousarray(good).view(np.uint8),
        np.ascontiguousarray(windows.panel, dtype=np.int64),
        np.ascontiguousarray(windows.centre, dtype=np.float64),
        np.ascontiguousarray(windows.to_profile, dtype=np.float64),
        np.minimum(windows.half_px, MAX_HALF_PX).astype(np.int64),
        starts,
        indices,
        np.ascontiguousarray(readout.panels, dtype=np.int64),
        np.ascontiguousarray(readout.photons_per_adu, dtype=np.float64),
        np.ascontiguousarray(readout.bottom_adu, dtype=np.float64),
        np.ascontiguousarray(readout.top_adu, dtype=np.float64),
        readout.variance,
        np.ascontiguousarray(recipe.profile, dtype=np.float64),
        recipe.guard,
        recipe.outlier_sigmas,
        table,
    )
    return Sums.from_table(table)
