"""Pixel work of integration: background plane, summation and profile fit of every reflection.

Each reflection has an ellipse on its panel, its foreground: the pixels whose offset from the
predicted position, taken to profile coordinates u, lies in the unit disc. Pixels that are in a
neighbour's foreground too, masked or beyond the panel's edge are not used; the profile says what
share of the spot they hold. Background pixels lie beyond `guard` times the ellipse, and outside
that of every neighbour.

Background: a plane fitted to the background pixels, with outliers rejected (Leslie 1999, Acta
Cryst. D55, 1696-1702). A pixel is an outlier where its variance-stabilised distance from the plane
(Anscombe 1948, Biometrika 35, 246-254) is more than some sigmas: at a tenth of a photon a pixel,
cutting at the same sigmas of a normal distribution would bias the background. The noise of the
background is what counting and readout give, corrected by what the background pixels show.

Profile: the intensity that best scales the profile to the pixels, each weighted by its expected
variance (Rossmann 1979, J. Appl. Cryst. 12, 225-238; Kabsch 2010, Acta Cryst. D66, 133-144); for a
spot much stronger than its background it becomes the sum.
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

N_START = 64
"""About how many background pixels give the first level and noise, from which outliers are told."""

N_PRIOR = 20
"""Pixels that the expected variance of the background counts for beside the observed one."""

MAD_TO_SIGMA = 1.4826
"""Standard deviation of normal numbers over their median absolute deviation."""

N_REFITS = 3
"""Times that the plane is fitted, and the profile fit's weights are made, anew."""


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


def integrate_reference(
    frame: NDArray[np.generic],
    good: NDArray[np.bool_],
    windows: Windows,
    readout: Readout,
    recipe: Recipe,
) -> Sums:
    """Return the same as `integrate`: its definition in plain NumPy."""
    starts, indices = windows.neighbours()
    table = np.empty((len(windows), N_SUMS))
    for row in range(len(windows)):
        near = indices[starts[row] : starts[row + 1]]
        pixels = _look(frame, good, windows, readout, row)
        table[row] = _one(pixels, windows, near, readout, recipe)
    return Sums.from_table(table)


@dataclass(frozen=True)
class _Pixels:
    """Pixels of one window, those beyond the panel's edge included (not good, value 0)."""

    row: int
    offset: Array
    photons: Array
    inside: NDArray[np.bool_]
    good: NDArray[np.bool_]
    saturated: NDArray[np.bool_]


def _look(
    frame: NDArray[np.generic],
    good: NDArray[np.bool_],
    windows: Windows,
    readout: Readout,
    row: int,
) -> _Pixels:
    """Return the pixels of one window."""
    half = min(int(windows.half_px[row]), MAX_HALF_PX)
    fast0, slow0 = np.floor(windows.centre[row]).astype(int)
    slow, fast = (
        part.ravel()
        for part in np.meshgrid(
            np.arange(slow0 - half, slow0 + half + 1),
            np.arange(fast0 - half, fast0 + half + 1),
            indexing="ij",
        )
    )
    panel = int(windows.panel[row])
    top, bottom, left, right = readout.panels[panel]
    inside = (slow >= top) & (slow < bottom) & (fast >= left) & (fast < right)
    adu = np.zeros(len(slow))
    adu[inside] = frame[slow[inside], fast[inside]]
    usable = np.zeros(len(slow), dtype=bool)
    usable[inside] = good[slow[inside], fast[inside]]
    usable &= adu >= readout.bottom_adu[panel]
    offset = np.column_stack([fast, slow]) + 0.5 - windows.centre[row]
    saturated = usable & (adu > readout.top_adu[panel])
    photons = adu * readout.photons_per_adu[panel]
    return _Pixels(row, offset, photons, inside, usable, saturated)


def _squared_radius(windows: Windows, row: int, offset: Array) -> Array:
    """Return |u|^2 (m,) of pixel offsets from the centre of window `row`."""
    u = offset @ windows.to_profile[row].T
    return np.asarray(np.sum(u**2, axis=1))


def _one(
    pixels: _Pixels, windows: Windows, near: IntArray, readout: Readout, recipe: Recipe
) -> list[float]:
    """Return the row of sums of one reflection."""
    radius = _squared_radius(windows, pixels.row, pixels.offset)
    shared = np.zeros(len(radius), dtype=bool)
    taken = np.zeros(len(radius), dtype=bool)
    for other in near:
        offset = pixels.offset + windows.centre[pixels.row] - windows.centre[other]
        theirs = _squared_radius(windows, int(other), offset)
        shared |= theirs <= 1.0
        taken |= theirs <= recipe.guard**2
    fore = radius <= 1.0
    back = (radius > recipe.guard**2) & pixels.good & ~pixels.saturated & ~taken
    plane = _fit_plane(
        pixels.offset[back], pixels.photons[back], readout.variance, recipe.outlier_sigmas
    )
    u = pixels.offset[fore] @ windows.to_profile[pixels.row].T
    share = _profile_at(recipe.profile, u)
    share = share / share.sum() if share.sum() > 0 else np.full(len(u), 1.0 / max(len(u), 1))
    usable = pixels.good[fore] & ~shared[fore]
    sums, net = _sums(
        pixels.offset[fore][usable],
        pixels.photons[fore][usable],
        share[usable],
        plane,
    )
    moments = _moments(u[usable], net)
    counts = [
        np.sum(usable),
        np.sum(pixels.inside[fore] & ~pixels.good[fore]),
        np.sum(~pixels.inside[fore]),
        np.sum(pixels.saturated[fore]),
        np.sum(shared[fore] & pixels.good[fore]),
        share[usable].sum(),
    ]
    known = [*plane.values, plane.variance, plane.n_used, plane.n_rejected]
    return [*sums, *known, *counts, *moments]


@dataclass(frozen=True)
class _Plane:
    """Background: value at the centre and slopes, their covariance, and what it was made from."""

    values: Array
    covariance: Array
    variance: float
    n_used: int
    n_rejected: int
    level_scale: float = 1.0
    level_floor: float = 1.0
    level_offset: float = 0.0

    def level(self, background: Array) -> Array:
        """Return the variance of pixels where the plane is `background` [photon^2]."""
        counted = np.maximum(background, self.level_floor) + self.level_offset
        return np.asarray(self.level_scale * counted)


def _fit_plane(offset: Array, photons: Array, variance: float, sigmas: float) -> _Plane:
    """Return the plane through background pixels at `offset` (m, 2), outliers rejected."""
    n = len(photons)
    if n == 0:
        return _Plane(np.zeros(3), np.zeros((3, 3)), 0.0, 0, 0, level_offset=variance)
    terms = np.column_stack([np.ones(n), offset])
    sample = photons[:: max(1, n // N_START)]
    middle = _lower_median(sample)
    spread = MAD_TO_SIGMA * _lower_median(np.abs(sample - middle))
    noise = max(variance, spread**2 - max(middle, 0.0))
    values = np.array([middle, 0.0, 0.0])
    inverse = np.zeros((3, 3))
    used = np.ones(n, dtype=bool)
    for _ in range(N_REFITS):
        used = np.abs(_deviation(photons, terms @ values, noise)) <= sigmas
        if not used.any():
            return _Plane(values, np.zeros((3, 3)), 0.0, 0, n, level_offset=variance)
        values, inverse = _least_squares(terms[used], photons[used])
    n_used = int(used.sum())
    seen = float(np.mean((photons[used] - terms[used] @ values) ** 2))
    floor = 1.0 / n_used
    expected = max(values[0], floor) + variance
    scale = (n_used * seen / expected + N_PRIOR) / (n_used + N_PRIOR)
    covariance = inverse * scale * expected
    return _Plane(values, covariance, seen, n_used, n - n_used, scale, floor, variance)


def _lower_median(values: Array) -> float:
    """Return the median, the lower of the two middle values of an even number."""
    middle = (len(values) - 1) // 2
    return float(np.partition(values, middle)[middle])


def _deviation(photons: Array, background: Array, noise: float) -> Array:
    """Return how far counts are from the background, on a scale where the deviation is about 1.

    Background below zero is an offset of the detector, without counting noise.
    """
    level = np.maximum(background, 0.0) + 0.375 + noise
    return np.asarray(2.0 * (np.sqrt(np.maximum(photons - background + level, 0.0)) - level**0.5))


def _least_squares(terms: Array, photons: Array) -> tuple[Array, Array]:
    """Return the plane (3,) and the inverse normal matrix; without slopes where it is singular."""
    normal = terms.T @ terms
    if np.linalg.det(normal) <= 1e-6 * normal[0, 0] ** 3:
        inverse = np.diag([1.0 / len(photons), 0.0, 0.0])
    else:
        inverse = np.asarray(np.linalg.inv(normal))
    return inverse @ (terms.T @ photons), inverse


def _profile_at(profile: Array, u: Array) -> Array:
    """Return the profile (m,) at profile coordinates u (m, 2) in the unit disc: bilinear."""
    last = len(profile) - 1
    position = np.clip((u + 1.0) * (0.5 * last), 0.0, last)
    cell = np.minimum(position.astype(int), last - 1)
    part = position - cell
    (i, j), (fi, fj) = cell.T, part.T
    low = profile[j, i] * (1.0 - fi) + profile[j, i + 1] * fi
    high = profile[j + 1, i] * (1.0 - fi) + profile[j + 1, i + 1] * fi
    return np.asarray(low * (1.0 - fj) + high * fj)


def _sums(offset: Array, photons: Array, share: Array, plane: _Plane) -> tuple[list[float], Array]:
    """Return sum, its variance, profile fit and its variance; and the net photons by pixel."""
    terms = np.column_stack([np.ones(len(photons)), offset])
    background = terms @ plane.values
    level = plane.level(background)
    net = photons - background
    total = float(net.sum())
    weight = terms.sum(axis=0)
    variance_sum = max(total, 0.0) + level.sum() + weight @ plane.covariance @ weight
    whole = share.sum() if share.sum() > 0.0 else 1.0
    total, variance_sum = total / whole, variance_sum / whole**2
    fitted, variance_fit = total, variance_sum
    for _ in range(N_REFITS):
        spread = level + share * max(fitted, 0.0)
        power = float(np.sum(share**2 / spread))
        if power <= 0.0:
            break
        fitted = float(np.sum(share * net / spread)) / power
        weight = (share / spread) @ terms / power
        variance_fit = 1.0 / power + weight @ plane.covariance @ weight
    return [total, variance_sum, fitted, variance_fit], net


def _moments(u: Array, net: Array) -> list[float]:
    """Return first and second moments of the net photons in profile coordinates."""
    total = float(net.sum())
    if total <= 0.0:
        return [0.0] * 5
    first = net @ u / total
    second = [net @ (u[:, 0] ** 2), net @ (u[:, 0] * u[:, 1]), net @ (u[:, 1] ** 2)]
    return [*first, *(np.array(second) / total)]
