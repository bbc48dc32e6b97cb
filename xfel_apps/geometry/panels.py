"""Flat detector panels: pixel <-> laboratory <-> reciprocal space.

All panels of a detector lie in one two-dimensional array, the slab, as rectangles (CrystFEL does
the same): a frame is one (slow, fast) array whatever the number of modules. Pixel coordinates are
(fast, slow) within a panel, the centre of the first pixel at (0.5, 0.5).
"""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import GeometryError

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Panel:
    """One flat rectangle of pixels.

    Attributes
    ----------
    name : unique name
    origin_mm : lab position of the outer corner of the first pixel [mm]
    fast, slow : unit vectors along the pixel axes
    pixel_mm : pixel size along (fast, slow) [mm]
    shape : pixels along (slow, fast)
    slab_start : (slow, fast) index of the first pixel in the slab
    trusted : lowest and highest trusted pixel value [ADU]; below: dead, above: saturated
    thickness_mm, mu_invmm : sensor thickness and absorption for the parallax correction; 0: none
    gain : detector counts a photon [ADU]
    """

    name: str
    origin_mm: Vector
    fast: Vector
    slow: Vector
    pixel_mm: tuple[float, float]
    shape: tuple[int, int]
    slab_start: tuple[int, int] = (0, 0)
    trusted: tuple[float, float] = (-1e9, 1e9)
    thickness_mm: float = 0.0
    mu_invmm: float = 0.0
    gain: float = 1.0

    @property
    def slab(self) -> tuple[slice, slice]:
        """Where the panel lies in the slab: slab_array[panel.slab]."""
        (slow0, fast0), (n_slow, n_fast) = self.slab_start, self.shape
        return slice(slow0, slow0 + n_slow), slice(fast0, fast0 + n_fast)


@dataclass(frozen=True)
class Detector:
    """All panels of a detector and the shape (slow, fast) of the slab that holds them."""

    panels: tuple[Panel, ...]
    slab_shape: tuple[int, int]

    def __post_init__(self) -> None:
        if not self.panels:
            raise GeometryError("the detector has no panels")
        for panel in self.panels:
            slow, fast = panel.slab
            if slow.stop > self.slab_shape[0] or fast.stop > self.slab_shape[1]:
                raise GeometryError(
                    f"panel {panel.name} reaches {slow.stop} x {fast.stop}, beyond the frame of "
                    f"{self.slab_shape[0]} x {self.slab_shape[1]} (slow x fast)"
                )

    @cached_property
    def origins_mm(self) -> Array:
        """(n_panels, 3) lab position of each panel's first corner [mm]."""
        return np.array([panel.origin_mm for panel in self.panels], dtype=float)

    @cached_property
    def axes(self) -> Array:
        """(n_panels, 3, 2) lab vectors of one pixel along fast and slow [mm]."""
        return np.array(
            [
                np.column_stack(
                    [
                        np.multiply(panel.fast, panel.pixel_mm[0]),
                        np.multiply(panel.slow, panel.pixel_mm[1]),
                    ]
                )
                for panel in self.panels
            ]
        )

    @cached_property
    def sizes(self) -> IntArray:
        """(n_panels, 2) pixels along (fast, slow)."""
        return np.array([panel.shape[::-1] for panel in self.panels], dtype=np.int64)

    @cached_property
    def slab_starts(self) -> IntArray:
        """(n_panels, 2) slab index (fast, slow) of each panel's first pixel."""
        return np.array([panel.slab_start[::-1] for panel in self.panels], dtype=np.int64)

    @cached_property
    def _parallax(self) -> tuple[Array, Array, Array]:
        """Unit normals away from the source side (n, 3), thickness and mu (n,) of the panels."""
        normals = np.cross(self.axes[:, :, 0], self.axes[:, :, 1])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        normals *= np.sign(np.einsum("ij,ij->i", normals, self.origins_mm))[:, None]
        thickness = np.array([panel.thickness_mm for panel in self.panels])
        return normals, thickness, np.array([panel.mu_invmm for panel in self.panels])

    def lab_mm(self, panel: IntArray, fast_px: Array, slow_px: Array) -> Array:
        """Return where pixel coordinates lie in the lab, (n, 3) [mm], parallax taken off.

        A photon converted inside the sensor is recorded further out than where it crossed the
        surface; the surface point is returned. Depth: mean of exponential absorption.
        """
        recorded = self.origins_mm[panel] + np.einsum(
            "nij,nj->ni", self.axes[panel], np.stack([fast_px, slow_px], axis=-1)
        )
        shift = self._depth_shift_mm(panel, recorded)
        return np.asarray(recorded - shift)

    def _depth_shift_mm(self, panel: IntArray, direction: Array) -> Array:
        """Return (n, 3) in-plane displacement [mm] from absorption at depth.

        With path length t / cos(a): mean depth along the ray 1/mu - (t/cos) exp(..)/(1 - exp(..)).
        """
        normals, thickness, mu = (part[panel] for part in self._parallax)
        if not np.any((thickness > 0) & (mu > 0)):
            return np.zeros_like(direction)
        unit = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
        cos = np.einsum("ni,ni->n", unit, normals)
        path = thickness / cos
        safe_mu = np.where(mu > 0, mu, 1.0)
        tail = np.exp(-safe_mu * path)
        depth = np.where(mu > 0, 1.0 / safe_mu - path * tail / np.maximum(1.0 - tail, 1e-12), 0.0)
        return np.asarray(depth[:, None] * (unit - cos[:, None] * normals))

    def s1(self, panel: IntArray, fast_px: Array, slow_px: Array, wavelength_ang: float) -> Array:
        """Return scattered wave vectors (n, 3) of length 1/wavelength [1/Angstrom]."""
        lab = self.lab_mm(panel, fast_px, slow_px)
        return np.asarray(lab / (np.linalg.norm(lab, axis=-1, keepdims=True) * wavelength_ang))

    def ray_pixels(self, s1: Array) -> tuple[IntArray, Array, Array]:
        """Return panel (n,), fast (n,) and slow (n,) where rays along `s1` (n, 3) are recorded.

        Panel is -1 where a ray meets none. With overlapping panels the first one wins.
        """
        panel_of = np.full(len(s1), -1, dtype=np.int64)
        fast = np.full(len(s1), np.nan)
        slow = np.full(len(s1), np.nan)
        for index in range(len(self.panels)):
            todo = np.flatnonzero(panel_of < 0)
            if not len(todo):
                break
            f, s, ok = self._on_panel(index, s1[todo])
            found = todo[ok]
            panel_of[found], fast[found], slow[found] = index, f[ok], s[ok]
        return panel_of, fast, slow

    def panel_pixels(self, panel: IntArray, s1: Array) -> tuple[Array, Array]:
        """Return (fast, slow) on the given panel of each ray, also beyond the panel's edge."""
        fast, slow = np.empty(len(s1)), np.empty(len(s1))
        for index in np.unique(panel):
            rows = panel == index
            fast[rows], slow[rows], _ = self._on_panel(int(index), s1[rows])
        return fast, slow

    def _on_panel(self, index: int, s1: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Return (fast, slow, inside) of rays on one panel."""
        matrix = np.column_stack([self.axes[index], self.origins_mm[index]])
        solution = s1 @ np.linalg.inv(matrix).T
        with np.errstate(divide="ignore", invalid="ignore"):
            coords = solution[:, :2] / solution[:, 2:]
        ahead = solution[:, 2] > 0
        if self.panels[index].mu_invmm > 0:
            shift = self._depth_shift_mm(np.full(len(s1), index), s1)
            axes = self.axes[index]
            coords = coords + shift @ (axes / np.sum(axes**2, axis=0))
        with np.errstate(invalid="ignore"):
            inside = ahead & np.all((coords >= 0) & (coords < self.sizes[index]), axis=1)
        return coords[:, 0], coords[:, 1], inside

    def slab_pixels(self, panel: IntArray, fast_px: Array, slow_px: Array) -> tuple[Array, Array]:
        """Return (fast, slow) in the slab of coordinates within panels."""
        start = self.slab_starts[panel]
        return fast_px + start[:, 0], slow_px + start[:, 1]

    def panel_map(self) -> NDArray[np.int16]:
        """Return the panel of each slab pixel, (slow, fast); -1 where there is none."""
        result = np.full(self.slab_shape, -1, dtype=np.int16)
        for index, panel in enumerate(self.panels):
            result[panel.slab] = index
        return result

    def pixel_lab_mm(self) -> NDArray[np.float32]:
        """Return the lab position of each slab pixel's centre, (slow, fast, 3) [mm]; NaN: none."""
        result = np.full((*self.slab_shape, 3), np.nan, dtype=np.float32)
        for index, panel in enumerate(self.panels):
            slow, fast = np.indices(panel.shape, dtype=float) + 0.5
            rows = np.full(fast.size, index)
            result[panel.slab] = self.lab_mm(rows, fast.ravel(), slow.ravel()).reshape(
                (*panel.shape, 3)
            )
        return result

    def to_json(self) -> str:
        """Return the detector as JSON text; equal detectors give equal text."""
        return json.dumps(
            {"slab_shape": self.slab_shape, "panels": [asdict(panel) for panel in self.panels]},
            sort_keys=True,
        )

    @classmethod
    def from_json(cls, text: str) -> "Detector":
        """Return the detector that `to_json` wrote."""
        data = json.loads(text)
        panels = tuple(_panel_from(panel) for panel in data["panels"])
        return cls(panels=panels, slab_shape=tuple(data["slab_shape"]))


def _panel_from(fields: dict[str, Any]) -> Panel:
    """Return the panel with the fields that JSON gave, lists made tuples again."""
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    return Panel(**values)
