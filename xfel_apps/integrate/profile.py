"""The mean profile of a shot's strong spots, for fitting the weak ones.

The profile is the mean over spots of the share of the photons in a pixel, by the pixel's place in
profile coordinates. It contains the scatter of spots about their predictions, so that a spot whose
profile differs is fitted too high as often as too low. How sharp it must be for that is measured:
the fit, weighted as for weak spots, must give on average what summation gives for strong ones.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.optimize import brentq

from xfel_apps.compute.integration import Readout, Sums, Windows

Array = NDArray[np.float64]

N_GRID = 15
"""Nodes of the profile along each axis, from -1 to 1."""

SMOOTHING_NODES = 0.7
"""Standard deviation of the smoothing over nodes."""

SHARPEST, DULLEST = 3.0, 0.4
"""Range of the exponent that makes the profile sharper; beyond it the profile is not trusted."""


def gaussian_profile(sigmas: float) -> Array:
    """Return a round normal profile (N_GRID, N_GRID) that reaches `sigmas` at the unit circle."""
    axis = np.linspace(-sigmas, sigmas, N_GRID)
    return np.asarray(np.exp(-0.5 * (axis[:, None] ** 2 + axis[None, :] ** 2)))


@dataclass(frozen=True)
class StrongSpots:
    """Foreground pixels of strong spots.

    Attributes
    ----------
    u : (n, m, 2) profile coordinates of the pixels of each spot's window
    net : (n, m) photons above background
    inside : (n, m) pixels in the foreground that may be used
    intensity : (n,) sum over them
    """

    u: Array
    net: Array
    inside: NDArray[np.bool_]
    intensity: Array

    @classmethod
    def gather(
        cls,
        frame: NDArray[np.generic],
        good: NDArray[np.bool_],
        windows: Windows,
        sums: Sums,
        readout: Readout,
    ) -> "StrongSpots":
        """Return the pixels of spots whose windows lie within the frame."""
        half = int(windows.half_px.max())
        steps = np.arange(-half, half + 1)
        first = np.floor(windows.centre).astype(np.int64)
        fast = first[:, 0, None, None] + steps[None, None, :] + 0 * steps[None, :, None]
        slow = first[:, 1, None, None] + steps[None, :, None] + 0 * steps[None, None, :]
        rectangle = readout.panels[windows.panel][:, :, None, None]
        on_panel = (slow >= rectangle[:, 0]) & (slow < rectangle[:, 1])
        on_panel &= (fast >= rectangle[:, 2]) & (fast < rectangle[:, 3])
        where = (np.where(on_panel, slow, 0), np.where(on_panel, fast, 0))
        offset = np.stack([fast, slow], axis=-1) + 0.5 - windows.centre[:, None, None]
        plane = np.stack([sums.slope_fast, sums.slope_slow], axis=-1)[:, None, None]
        background = sums.background[:, None, None] + np.sum(offset * plane, axis=-1)
        scale = readout.photons_per_adu[windows.panel][:, None, None]
        net = frame[where].astype(float) * scale - background
        u = np.einsum("nij,nklj->nkli", windows.to_profile, offset)
        inside = on_panel & good[where] & (np.sum(u**2, axis=-1) <= 1.0)
        net = np.where(inside, net, 0.0)
        n = len(windows)
        return cls(
            u.reshape(n, -1, 2), net.reshape(n, -1), inside.reshape(n, -1), net.sum(axis=(1, 2))
        )


def learn_profile(spots: StrongSpots) -> Array | None:
    """Return the mean profile (N_GRID, N_GRID); None where none agrees with summation."""
    table = _mean_share(spots)
    nodes, weights = _bilinear(spots.u)
    weights *= spots.inside

    def excess(exponent: float) -> float:
        shares = np.sum((table**exponent).ravel()[nodes] * weights, axis=0)
        return _fit_to_sum(shares, spots) - 1.0

    if not excess(DULLEST) * excess(SHARPEST) < 0.0:  # NaN where no pixel counts
        return None
    exponent = brentq(excess, DULLEST, SHARPEST, xtol=1e-3)
    return np.asarray(table**exponent)


def _mean_share(spots: StrongSpots) -> Array:
    """Return the mean share of photons a pixel at the nodes, smoothed."""
    weight = np.sqrt(np.maximum(spots.intensity, 0.0))
    share = spots.net / np.maximum(spots.intensity, 1e-9)[:, None]
    seen = np.broadcast_to(weight[:, None], share.shape)[spots.inside]
    node = np.rint((spots.u[spots.inside] + 1.0) * 0.5 * (N_GRID - 1)).astype(np.int64)
    flat = node[:, 1] * N_GRID + node[:, 0]
    total = np.bincount(flat, seen * share[spots.inside], N_GRID**2).reshape(N_GRID, N_GRID)
    count = np.bincount(flat, seen, N_GRID**2).reshape(N_GRID, N_GRID)
    smooth_total = gaussian_filter(total, SMOOTHING_NODES, mode="constant")
    smooth_count = gaussian_filter(count, SMOOTHING_NODES, mode="constant")
    known = smooth_count > 1e-6 * smooth_count.max()
    table = np.divide(smooth_total, smooth_count, out=np.zeros_like(total), where=known)
    return np.asarray(np.maximum(table, 1e-6 * table.max()))


def _fit_to_sum(shares: Array, spots: StrongSpots) -> float:
    """Return the mean of what a fit with equal weights gives over what summation gives."""
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
    fitted = np.sum(shares * spots.net, axis=1) / np.sum(shares**2, axis=1)
    return float(np.mean(np.clip(fitted / spots.intensity, 0.0, 3.0)))


def _bilinear(u: Array) -> tuple[NDArray[np.int64], Array]:
    """Return the four nodes about profile coordinates u (..., 2), as flat indices, and weights."""
    last = N_GRID - 1
    position = np.clip((u + 1.0) * 0.5 * last, 0.0, last)
    cell = np.minimum(position.astype(np.int64), last - 1)
    fi, fj = np.moveaxis(position - cell, -1, 0)
    first = cell[..., 1] * N_GRID + cell[..., 0]
    nodes = np.stack([first, first + 1, first + N_GRID, first + N_GRID + 1])
    weights = np.stack([(1 - fi) * (1 - fj), fi * (1 - fj), (1 - fi) * fj, fi * fj])
    return nodes, weights
