"""Index the spots of known crystals anew, in the geometry as it is now.

Spots that index left out because their panels were elsewhere come in, and what it took for spots
of a lattice by mistake goes.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from xfel_apps.geometry.prediction import is_absent
from xfel_apps.refgeom.lattice import Target
from xfel_apps.refgeom.model import Crystals, Found, Poses, residuals
from xfel_apps.refgeom.normal import Scatter, excitation_widths

Array = NDArray[np.float64]


def assigned(
    poses: Poses,
    crystals: Crystals,
    target: Target,
    spots: tuple[Found, Found],
    scatter: Scatter,
) -> Found:
    """Return the spots that lie where a crystal's reflections are predicted, with their indices.

    Parameters
    ----------
    poses, crystals, target : as they are now
    spots : what was indexed, whose excitation errors say how wide reflections are, and all spots
    scatter : of the residuals; spots within its `max_sigma` are taken, of several at one
        reflection the nearest
    """
    indexed, every = spots
    every = replace(every, hkl=_nearest(poses, crystals, target, every))
    old = residuals(poses, crystals, target, indexed).values
    kept = scatter.keeps(old)
    widths = excitation_widths(old[:, 2], kept, indexed.crystal, len(crystals))[every.crystal]
    values = residuals(poses, crystals, target, every).values
    near = scatter.keeps(values) & (np.abs(values[:, 2]) <= scatter.max_sigma * widths)
    near &= np.any(every.hkl != 0, axis=1) & ~is_absent(every.hkl, target.space_group)
    rows = np.flatnonzero(near)
    distance = np.sum((values[rows, :2] / [scatter.radial_px, scatter.transverse_px]) ** 2, axis=1)
    rows = rows[np.argsort(distance, kind="stable")]
    keys = np.column_stack([every.crystal[rows], every.hkl[rows]])
    _, first = np.unique(keys, axis=0, return_index=True)
    return every.take(np.sort(rows[first]))


def _nearest(poses: Poses, crystals: Crystals, target: Target, spots: Found) -> NDArray[np.int64]:
    """Return the indices (m, 3) of the lattice points nearest to spots."""
    run, s0 = crystals.run[spots.crystal], crystals.s0[spots.crystal]
    axes = poses.axes_mm[run, spots.panel]
    lab = poses.origins_mm[run, spots.panel] + np.einsum("mij,mj->mi", axes, spots.px)
    scale = np.linalg.norm(s0, axis=1) / np.linalg.norm(lab, axis=1)
    q = lab * scale[:, None] - s0
    strain = np.einsum("ns,sij->nij", crystals.strains, target.strains)
    inverse = np.linalg.inv(crystals.turns @ (np.eye(3) + strain) @ target.b_matrix)
    hkl = np.einsum("mij,mj->mi", inverse[spots.crystal], q)
    return np.asarray(np.rint(hkl), dtype=np.int64)
