"""Frames as the beam sees them: panels laid out on one plane across the beam.

Each ray is drawn where it meets the plane at the detector's mean distance that stands square to
the beam (a central projection), looking downstream: lab x to the right, y up. Rings of equal
resolution are circles there, whatever the panels' tilts and distances.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.geometry.beam import Beam
from xfel_apps.geometry.panels import Detector

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
NODE_PX = 16  # positions are computed every so many pixels and linear between: 0.03 px at worst
MIN_COS = 0.05  # rays nearly at right angles to the beam meet no plane across it


@dataclass(frozen=True)
class Plane:
    """The plane of a picture.

    Attributes
    ----------
    distance_mm : from the crystal along the beam [mm]
    axes : (3, 3) rows: right, up and downstream, unit vectors in the lab
    """

    distance_mm: float
    axes: Array

    @classmethod
    def across(cls, detector: Detector, beam: Beam) -> "Plane":
        """Return the plane square to the beam at the mean distance of the panels' centres."""
        along = np.asarray(beam.direction, dtype=float)
        along /= np.linalg.norm(along)
        right = np.array([1.0, 0.0, 0.0]) - along[0] * along
        right /= np.linalg.norm(right)
        up = np.cross(right, along)
        centres = detector.origins_mm + np.einsum("nij,nj->ni", detector.axes, detector.sizes / 2)
        distance = float(np.mean(centres @ along))
        return cls(abs(distance) or 1.0, np.stack([right, up, along]))

    def xy_mm(self, rays: Array) -> Array:
        """Return where rays (n, 3) of any length meet the plane, (n, 2) [mm]; NaN: nowhere."""
        local = rays @ self.axes.T
        along = local[:, 2] / np.linalg.norm(local, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            xy = local[:, :2] / local[:, 2:] * self.distance_mm
        return np.where((along > MIN_COS)[:, None], xy, np.nan)

    def rays(self, xy_mm: Array) -> Array:
        """Return rays (n, 3) [mm] from the crystal to points (n, 2) of the plane."""
        local = np.column_stack([xy_mm, np.full(len(xy_mm), self.distance_mm)])
        return np.asarray(local @ self.axes)

    def ring_mm(self, d_ang: float, wavelength_ang: float) -> float:
        """Return the radius [mm] of the ring of resolution `d_ang`; NaN beyond 2 theta of 87."""
        sine = wavelength_ang / (2.0 * d_ang)
        two_theta_rad = 2.0 * np.arcsin(sine) if sine < 1.0 else np.pi
        if np.cos(two_theta_rad) < MIN_COS:
            return float("nan")
        return float(self.distance_mm * np.tan(two_theta_rad))


@dataclass(frozen=True)
class Assembly:
    """Which slab pixel is seen at each pixel of a picture.

    Attributes
    ----------
    plane : what the picture shows
    extent_mm : left, right, bottom, top edge of the picture on the plane [mm]
    source : (rows, columns) flat index into the slab, -1 where there is no panel; the first row
        is the lowest
    """

    plane: Plane
    extent_mm: tuple[float, float, float, float]
    source: NDArray[np.int32]

    def image(self, slab: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return the picture (rows, columns) of a slab (slow, fast); NaN between panels."""
        picture = slab.ravel()[np.maximum(self.source, 0)].astype(np.float32)
        picture[self.source < 0] = np.nan
        return picture

    def xy_mm(self, detector: Detector, panel: IntArray, fast_px: Array, slow_px: Array) -> Array:
        """Return where pixel coordinates lie on the picture's plane, (n, 2) [mm]."""
        return self.plane.xy_mm(detector.lab_mm(panel, fast_px, slow_px))


def assemble(
    detector: Detector,
    beam: Beam,
    region_mm: tuple[float, float, float, float] | None = None,
    pixel_mm: float | None = None,
) -> Assembly:
    """Return how to draw frames of a detector; pixels are copied, never interpolated.

    Parameters
    ----------
    detector, beam : the geometry
    region_mm : left, right, bottom, top on the plane [mm]; default: all panels
    pixel_mm : size of the picture's pixels [mm]; default: the detector's
    """
    plane = Plane.across(detector, beam)
    step = pixel_mm or float(np.median([panel.pixel_mm for panel in detector.panels]))
    outlines = [plane.xy_mm(_corners_mm(detector, i)) for i in range(len(detector.panels))]
    left, right, bottom, top = region_mm or _bounds(np.concatenate(outlines))
    n_columns = max(int(np.ceil((right - left) / step)), 1)
    n_rows = max(int(np.ceil((top - bottom) / step)), 1)
    source = np.full((n_rows, n_columns), -1, dtype=np.int32)
    for index, outline in enumerate(outlines):
        if not np.isfinite(outline).all():
            continue
        columns, rows = ((outline - [left, bottom]) / step).T
        box = (
            slice(max(int(rows.min()) - 1, 0), max(min(int(rows.max()) + 2, n_rows), 0)),
            slice(max(int(columns.min()) - 1, 0), max(min(int(columns.max()) + 2, n_columns), 0)),
        )
        _fill(source, box, (left, bottom, step), (detector, index, plane))
    return Assembly(plane, (left, left + n_columns * step, bottom, bottom + n_rows * step), source)


def _corners_mm(detector: Detector, index: int) -> Array:
    """Return the lab positions of a panel's corners, (4, 3) [mm]."""
    n_fast, n_slow = detector.sizes[index]
    corners = np.array([[0, 0], [n_fast, 0], [0, n_slow], [n_fast, n_slow]], dtype=float)
    return detector.lab_mm(np.full(4, index), corners[:, 0], corners[:, 1])


def _bounds(points: Array) -> tuple[float, float, float, float]:
    """Return left, right, bottom, top of points (n, 2)."""
    (left, bottom), (right, top) = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    return float(left), float(right), float(bottom), float(top)


def _fill(
    source: NDArray[np.int32],
    box: tuple[slice, slice],
    grid: tuple[float, float, float],
    panel: tuple[Detector, int, Plane],
) -> None:
    """Set the picture's pixels in `box` (rows, columns) that see the panel."""
    left, bottom, step = grid
    detector, index, plane = panel
    if box[0].stop <= box[0].start or box[1].stop <= box[1].start:
        return
    rows, columns = (np.arange(side.start, side.stop + NODE_PX, NODE_PX) for side in box)
    xy = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    rays = plane.rays((xy + 0.5) * step + [left, bottom])
    nodes = detector.panel_pixels(np.full(len(rays), index), rays)
    shape = box[0].stop - box[0].start, box[1].stop - box[1].start
    fast, slow = (_between(node.reshape(len(rows), len(columns)), shape) for node in nodes)
    n_fast, n_slow = detector.sizes[index]
    inside = (fast >= 0) & (fast < n_fast) & (slow >= 0) & (slow < n_slow)
    start_slow, start_fast = detector.panels[index].slab_start
    flat = (slow[inside].astype(np.int32) + start_slow) * detector.slab_shape[1]
    source[box][inside] = flat + fast[inside].astype(np.int32) + start_fast


def _between(nodes: Array, shape: tuple[int, int]) -> Array:
    """Return values (rows, columns) interpolated between nodes every `NODE_PX` pixels."""
    values = nodes
    for axis, n in enumerate(shape):
        lower, offset = np.divmod(np.arange(n), NODE_PX)
        weight = (offset / NODE_PX).reshape((-1, 1) if axis == 0 else (1, -1))
        low, high = values.take(lower, axis=axis), values.take(lower + 1, axis=axis)
        values = low + weight * (high - low)
    return values


def shrink(picture: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Return the highest of each block of `factor` x `factor` pixels, so that no spot is lost.

    >>> shrink(np.arange(6, dtype=np.float32).reshape(2, 3), 2)
    array([[4., 5.]], dtype=float32)
    """
    if factor <= 1:
        return picture
    rows, columns = (-(-n // factor) * factor for n in picture.shape)
    padded = np.full((rows, columns), np.nan, dtype=np.float32)
    padded[: picture.shape[0], : picture.shape[1]] = picture
    blocks = padded.reshape(rows // factor, factor, columns // factor, factor)
    return np.asarray(np.fmax.reduce(np.fmax.reduce(blocks, axis=3), axis=1))
