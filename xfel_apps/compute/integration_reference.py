"""The definition of `xfel_apps.compute.integration.integrate`, in plain NumPy.

Background: a plane fitted to the background pixels, with outliers rejected (Leslie 1999, Acta
Cryst. D55, 1696-1702). A pixel is an outlier where its variance-stabilised distance from the plane
(Anscombe 1948, Biometrika 35, 246-254) is more than some sigmas: at a tenth of a photon a pixel,
cutting at the same sigmas of a normal distribution would bias the background. The noise of the
background is what counting and readout give, corrected by what the background pixels show.

Profile: the intensity that best scales the profile to the pixels, each weighted by its expected
variance (Rossmann 1979, J. Appl. Cryst. 12, 225-238; Kabsch 2010, Acta Cryst. D66, 133-144); for a
spot much stronger than its background it becomes the sum.

Variances: what counting gives for background and spot. From a few photons counted, the variance of
their expectation is not the count: with v = count + 2 the mean of (count - expected)^2 / v is 1 to
second order in 1 / expected, and with v = count it is 1 + 2 / expected. (Where nothing is expected
no v that depends on the count alone can be right; there v is too large rather than too small.)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.integration import (
    MAX_HALF_PX,
    N_SUMS,
    Array,
    IntArray,
    Readout,
    Recipe,
    Sums,
    Windows,
)

N_START = 64
"""About how many background pixels give the first level and noise, from which outliers are told."""

N_PRIOR = 20
"""Pixels that the expected variance of the background counts for beside the observed one."""

MAD_TO_SIGMA = 1.4826
"""Standard deviation of normal numbers over their median absolute deviation."""

N_REFITS = 3
"""Times that the plane is fitted, and the profile fit's weights are made, anew."""


def integrate_reference(
    frame: NDArray[np.generic],
    good: NDArray[np.bool_],
    windows: Windows,
    readout: Readout,
    recipe: Recipe,
) -> Sums:
    """Return the sums of every reflection of a shot; parameters as those of `integrate`."""
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
    variance_sum = counting_variance(total) + level.sum() + weight @ plane.covariance @ weight
    whole = share.sum() if share.sum() > 0.0 else 1.0
    total, variance_sum = total / whole, variance_sum / whole**2
    fitted, variance_fit = total, variance_sum
    for _ in range(N_REFITS):
        spread = level + share * counting_variance(fitted)
        power = float(np.sum(share**2 / spread))
        if power <= 0.0:
            break
        fitted = float(np.sum(share * net / spread)) / power
        weight = (share / spread) @ terms / power
        variance_fit = 1.0 / power + weight @ plane.covariance @ weight
    return [total, variance_sum, fitted, variance_fit], net


def counting_variance(photons: float) -> float:
    """Return the variance of counting a spot that `photons` were found of, at least 0.6.

    >>> counting_variance(-3.0), round(counting_variance(100.0), 2)
    (0.6, 101.99)
    """
    found = max(photons, 0.0)
    return found + 2.0 * (found + 0.3) / (found + 1.0)


def _moments(u: Array, net: Array) -> list[float]:
    """Return first and second moments of the net photons in profile coordinates."""
    total = float(net.sum())
    if total <= 0.0:
        return [0.0] * 5
    first = net @ u / total
    second = [net @ (u[:, 0] ** 2), net @ (u[:, 0] * u[:, 1]), net @ (u[:, 1] ** 2)]
    return [*first, *(np.array(second) / total)]
