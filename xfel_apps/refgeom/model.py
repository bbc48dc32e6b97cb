"""Where spots are predicted, and how that changes with the crystals and the panels.

A lattice point q = R (1 + e) B h of a still is seen along d = s0 + q (brought to the Ewald sphere
along its radius, which the ray does not depend on). With the matrix M = (fast, slow, origin) of a
panel, u = M^-1 d and the ray meets the panel at the pixel (u0, u1) / u2. Residuals are predicted
minus found: radial and transverse to the beam [pixel], and the excitation error |d| - |s0|, zero
for a point on the sphere, which holds the orientation about axes across the beam.

Sources: Sauter et al. (2014), Acta Cryst. D70, 3299; Brewster et al. (2018), Acta Cryst. D74, 877.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from xfel_apps.geometry import Detector
from xfel_apps.refgeom.lattice import Target

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Poses:
    """Where the panels lie in each run.

    Attributes
    ----------
    origins_mm : (n_runs, n_panels, 3) corner of the first pixel [mm]
    axes_mm : (n_runs, n_panels, 3, 2) steps of one pixel along fast and slow [mm]
    middles_px : (n_panels, 2) middle of each panel (fast, slow) [pixel]
    """

    origins_mm: Array
    axes_mm: Array
    middles_px: Array

    @classmethod
    def of(cls, detectors: list[Detector]) -> "Poses":
        """Return the poses of detectors, one a run, that have the same panels."""
        return cls(
            np.array([detector.origins_mm for detector in detectors]),
            np.array([detector.axes for detector in detectors]),
            detectors[0].sizes / 2.0,
        )

    @property
    def middles_mm(self) -> Array:
        """(n_runs, n_panels, 3) middles of the panels [mm]."""
        across = np.einsum("rpij,pj->rpi", self.axes_mm, self.middles_px)
        return np.asarray(self.origins_mm + across)

    @property
    def to_pixels(self) -> Array:
        """(n_runs, n_panels, 3, 3) inverse of (fast, slow, origin)."""
        whole = np.concatenate([self.axes_mm, self.origins_mm[..., None]], axis=-1)
        return np.asarray(np.linalg.inv(whole))

    def moved(self, motion: Array) -> "Poses":
        """Return the poses after a motion of each panel about its middle.

        Parameters
        ----------
        motion : (n_runs, n_panels, 6) shift [mm] and rotation vector [rad], lab frame
        """
        turns = Rotation.from_rotvec(motion[..., 3:].reshape(-1, 3)).as_matrix()
        turns = turns.reshape(*motion.shape[:2], 3, 3)
        middles = self.middles_mm
        arms = np.einsum("rpij,rpj->rpi", turns, self.origins_mm - middles)
        return replace(
            self, origins_mm=middles + arms + motion[..., :3], axes_mm=turns @ self.axes_mm
        )


@dataclass(frozen=True)
class Crystals:
    """Crystals as they are now.

    Attributes
    ----------
    turns : (n, 3, 3) R
    strains : (n, n_free) in units of the target's free strains
    s0 : (n, 3) incident wave vector [1/Angstrom]
    run : (n,) index of the run
    """

    turns: Array
    strains: Array
    s0: Array
    run: IntArray

    def __len__(self) -> int:
        return len(self.run)

    def take(self, rows: slice) -> "Crystals":
        """Return some of the crystals."""
        return Crystals(self.turns[rows], self.strains[rows], self.s0[rows], self.run[rows])

    def moved(self, steps: Array) -> "Crystals":
        """Return the crystals after steps (n, 3 + n_free): rotation vectors [rad], strains."""
        turns = Rotation.from_rotvec(steps[:, :3]).as_matrix() @ self.turns
        return replace(self, turns=turns, strains=self.strains + steps[:, 3:])


@dataclass(frozen=True)
class Found:
    """Indexed spots, sorted by crystal and then by panel.

    Attributes
    ----------
    crystal : (m,) index of the crystal
    panel : (m,) index of the panel
    hkl : (m, 3) Miller indices
    px : (m, 2) where on the panel's surface (fast, slow), parallax taken off [pixel]
    radial : (m, 2) unit vector of the pixel plane away from the beam
    """

    crystal: IntArray
    panel: IntArray
    hkl: IntArray
    px: Array
    radial: Array

    def __len__(self) -> int:
        return len(self.panel)

    def take(self, rows: NDArray[np.intp]) -> "Found":
        """Return some of the spots."""
        return Found(
            self.crystal[rows], self.panel[rows], self.hkl[rows], self.px[rows], self.radial[rows]
        )

    def of_crystals(self, rows: slice) -> "Found":
        """Return the spots of a range of crystals, which are numbered from 0 then."""
        start, stop = np.searchsorted(self.crystal, [rows.start, rows.stop])
        part = slice(int(start), int(stop))
        return Found(
            self.crystal[part] - rows.start,
            self.panel[part],
            self.hkl[part],
            self.px[part],
            self.radial[part],
        )


@dataclass(frozen=True)
class Residuals:
    """Predicted minus found, with derivatives.

    Attributes
    ----------
    values : (m, 3) radial and transverse [pixel], excitation error [1/Angstrom]
    by_crystal : (m, 3, 3 + n_free) by the crystal's rotation vector [rad] and strains
    by_panel : (m, 2, 6) radial and transverse by the panel's shift [1/mm] and rotation [1/rad]
    """

    values: Array
    by_crystal: Array
    by_panel: Array


def cross(vectors: Array) -> Array:
    """Return (n, 3, 3) matrices that take a vector to its product v x with vectors (n, 3)."""
    result = np.zeros((len(vectors), 3, 3))
    x, y, z = vectors.T
    result[:, 0, 1], result[:, 0, 2], result[:, 1, 2] = -z, y, -x
    result[:, 1, 0], result[:, 2, 0], result[:, 2, 1] = z, -y, x
    return result


def residuals(poses: Poses, crystals: Crystals, target: Target, found: Found) -> Residuals:
    """Return the residuals of spots and their derivatives.

    Parameters
    ----------
    poses : of the panels
    crystals : that the spots belong to
    target : reference cell and free strains
    found : the spots
    """
    which, run = found.crystal, crystals.run[found.crystal]
    flat = found.hkl @ target.b_matrix.T
    strained = flat + np.einsum("ms,sij,mj->mi", crystals.strains[which], target.strains, flat)
    turns, s0 = crystals.turns[which], crystals.s0[which]
    q = np.einsum("mij,mj->mi", turns, strained)
    by_strain = np.einsum("mij,sjk,mk->mis", turns, target.strains, flat, optimize=True)
    q_by_crystal = np.concatenate([-cross(q), by_strain], axis=2)
    ray = s0 + q
    length = np.linalg.norm(ray, axis=1)
    excitation = length - np.linalg.norm(s0, axis=1)
    inverse = poses.to_pixels[run, found.panel]
    u = np.einsum("mij,mj->mi", inverse, ray)
    px = u[:, :2] / u[:, 2:]
    px_by_ray = (inverse[:, :2] - px[:, :, None] * inverse[:, 2:]) / u[:, 2, None, None]
    frame = np.stack([found.radial, found.radial[:, ::-1] * [-1.0, 1.0]], axis=1)
    by_ray = frame @ px_by_ray
    arms = ray / u[:, 2:] - poses.middles_mm[run, found.panel]
    point_by_panel = np.concatenate(
        [np.broadcast_to(np.eye(3), (len(ray), 3, 3)), -cross(arms)], axis=2
    )
    by_panel = -(by_ray * u[:, 2, None, None]) @ point_by_panel
    along = (ray / length[:, None])[:, None, :]
    return Residuals(
        np.column_stack([np.einsum("mij,mj->mi", frame, px - found.px), excitation]),
        np.concatenate([by_ray, along], axis=1) @ q_by_crystal,
        by_panel,
    )
