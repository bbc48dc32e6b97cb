"""Which reflections a still shows, and where."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import gemmi
import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import GeometryError
from xfel_apps.geometry.beam import Beam
from xfel_apps.geometry.mosaic import Mosaic
from xfel_apps.geometry.panels import Detector
from xfel_apps.geometry.stills import excitation_error_invang, ray_on_sphere

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

MAX_ROWS = 4_000_000
"""Lattice rows that may be searched (cells of 2,000 Angstrom to 2 Angstrom); more is a mistake."""


@dataclass(frozen=True)
class Lattice:
    """A crystal lattice as it lies in the beam.

    Attributes
    ----------
    a_matrix : (3, 3) columns a*, b*, c* [1/Angstrom], lab frame
    space_group : Hermann-Mauguin symbol; its systematic absences are not predicted
    mosaic : how far from the Ewald sphere lattice points reflect
    """

    a_matrix: Array
    space_group: str
    mosaic: Mosaic


@dataclass(frozen=True)
class Predictions:
    """Reflections on the detector.

    Attributes
    ----------
    hkl : (n, 3) Miller indices, in the lattice's own setting
    q : (n, 3) lattice points A h [1/Angstrom]
    excitation_invang : (n,) distance from the Ewald sphere, positive outside [1/Angstrom]
    s1 : (n, 3) rays towards the detector [1/Angstrom]
    panel, fast_px, slow_px : (n,) where they are recorded
    """

    hkl: IntArray
    q: Array
    excitation_invang: Array
    s1: Array
    panel: IntArray
    fast_px: Array
    slow_px: Array

    def __len__(self) -> int:
        return len(self.hkl)

    @property
    def q_length_invang(self) -> Array:
        """(n,) |q| = 1/d [1/Angstrom]."""
        return np.asarray(np.linalg.norm(self.q, axis=1))

    def take(self, rows: NDArray[np.bool_] | IntArray) -> "Predictions":
        """Return some of the reflections."""
        return Predictions(*(getattr(self, item.name)[rows] for item in fields(self)))

    @classmethod
    def concatenate(cls, parts: Sequence["Predictions"]) -> "Predictions":
        """Return the reflections of `parts` (at least one) one after the other."""
        return cls(
            *(np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(cls))
        )


def predict(
    lattice: Lattice, detector: Detector, beam: Beam, d_min_ang: float, reach: float = 2.0
) -> Predictions:
    """Return the reflections of one lattice to `d_min_ang`, in order of h, k and l.

    Parameters
    ----------
    lattice, detector, beam : what scatters where
    d_min_ang : resolution limit [Angstrom]
    reach : how far from the Ewald sphere, in half widths of the mosaic model
    """
    s0 = beam.s0
    widest = reach * float(lattice.mosaic.half_width_invang(np.array([1.0 / d_min_ang]))[0])
    hkl = miller_near_sphere(lattice.a_matrix, s0, d_min_ang, widest)
    q = hkl @ lattice.a_matrix.T
    excitation = excitation_error_invang(q, s0)
    width = lattice.mosaic.half_width_invang(np.linalg.norm(q, axis=1))
    seen = np.abs(excitation) <= reach * width
    hkl, q, excitation = hkl[seen], q[seen], excitation[seen]
    s1 = ray_on_sphere(q, s0)
    panel, fast, slow = detector.ray_pixels(s1)
    seen = panel >= 0
    seen[seen] = ~is_absent(hkl[seen], lattice.space_group)
    return Predictions(hkl, q, excitation, s1, panel, fast, slow).take(seen)


def is_absent(hkl: IntArray, space_group: str) -> NDArray[np.bool_]:
    """Return which Miller indices (n, 3) are systematically absent: centring, screws, glides.

    >>> is_absent(np.array([[0, 0, 3], [0, 0, 4], [1, 2, 3]]), "P 43 21 2")
    array([ True, False, False])
    """
    group = gemmi.find_spacegroup_by_name(space_group)
    if group is None:
        raise GeometryError(f"{space_group!r} is not a space group; give a symbol such as P43212")
    return np.asarray(group.operations().systematic_absences(hkl.astype(np.int32)))


def miller_near_sphere(
    a_matrix: Array, s0: Array, d_min_ang: float, distance_invang: float
) -> IntArray:
    """Return all Miller indices (n, 3) within a distance of the Ewald sphere, sorted; not 0 0 0.

    Every row of lattice points along the longest axis of the crystal is cut with the two spheres
    that bound the shell, so that the work grows with the square of the number of cells across.

    Parameters
    ----------
    a_matrix : (3, 3) columns a*, b*, c* [1/Angstrom]
    s0 : (3,) incident wave vector [1/Angstrom]
    d_min_ang : resolution limit [Angstrom]
    distance_invang : greatest distance from the sphere [1/Angstrom]
    """
    real = np.linalg.norm(np.linalg.inv(a_matrix), axis=1)
    most = np.floor(real / d_min_ang).astype(np.int64)
    order = np.argsort(real, kind="stable")
    if (2 * most[order[0]] + 1) * (2 * most[order[1]] + 1) > MAX_ROWS:
        raise GeometryError(
            f"a crystal of {real.round(1).tolist()} Angstrom to {d_min_ang:g} Angstrom has more "
            f"than {MAX_ROWS} rows of reflections; is the cell right?"
        )
    axes = a_matrix[:, order]
    rows = np.stack(
        np.meshgrid(*(np.arange(-m, m + 1) for m in most[order[:2]]), indexing="ij"), axis=-1
    ).reshape(-1, 2)
    row_of, along = _points_in_shell(rows @ axes[:, :2].T + s0, axes[:, 2], s0, distance_invang)
    hkl = np.empty((len(along), 3), dtype=np.int64)
    hkl[:, order] = np.column_stack([rows[row_of], along])
    q_length = np.linalg.norm(hkl @ a_matrix.T, axis=1)
    hkl = hkl[(q_length <= 1.0 / d_min_ang) & (q_length > 0.0)]
    return np.asarray(hkl[np.lexsort(hkl.T[::-1])])


def _points_in_shell(
    start: Array, step: Array, s0: Array, distance: float
) -> tuple[IntArray, IntArray]:
    """Return (row, n) of the points start[row] + n step between two spheres about the origin."""
    radius = float(np.linalg.norm(s0))
    middle = -(start @ step) / (step @ step)
    nearest = np.sum(start**2, axis=1) - middle**2 * (step @ step)
    outer = ((radius + distance) ** 2 - nearest) / (step @ step)
    inner = np.maximum((max(radius - distance, 0.0) ** 2 - nearest) / (step @ step), 0.0)
    cut = np.flatnonzero(outer >= 0.0)
    middle, outer, inner = middle[cut], np.sqrt(outer[cut]), np.sqrt(inner[cut])
    # below and above the middle; a row that misses the inner sphere is one piece, cut in two there
    first = np.concatenate([np.ceil(middle - outer), np.ceil(middle + inner)]).astype(np.int64)
    last = np.concatenate([np.floor(middle - inner), np.floor(middle + outer)]).astype(np.int64)
    n = len(cut)
    first[n:] = np.maximum(first[n:], last[:n] + 1)
    count = np.maximum(last - first + 1, 0)
    piece = np.repeat(np.arange(2 * n), count)
    position = np.arange(len(piece)) - np.repeat(np.cumsum(count) - count, count)
    return np.tile(cut, 2)[piece], first[piece] + position
