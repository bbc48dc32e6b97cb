"""One step of the hierarchy from the panels' equations, with what the spots cannot tell held.

What they cannot tell:

- turning the detector about the beam turns all crystals with it: the detector's own rotation
  about z is fixed;
- shifting it across the beam is shifting the beam: the beam stays, the detector moves;
- moving it along the beam scales all cells: the distance follows the known cell, and is fixed
  where the cell was found in the same spots;
- moving all that belongs to a group is moving the group: the shifts and rotations of its free
  members sum to zero (Lagrange multipliers), those of the runs too;
- tilts and shifts along the beam of small panels near it: held by weak restraints.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.refgeom.hierarchy import Node
from xfel_apps.refgeom.model import cross
from xfel_apps.refgeom.normal import Equations
from xfel_apps.refgeom.settings import RefgeomSettings

Array = NDArray[np.float64]

WHOLE_SHIFT_SIGMA_MM = 10.0
"""The detector as a whole may lie far from where it is thought to be."""


@dataclass(frozen=True)
class Hierarchy:
    """The nodes that move, where they are, and how loosely they are held.

    Attributes
    ----------
    nodes : the tree
    free : indices of the nodes that move
    middles_mm : (n_nodes, 3) middles of all nodes, about which they turn [mm]
    panels_mm : (n_panels, 3) middles of the panels [mm]
    n_runs : runs whose drift is refined; 0: none
    with_distance : whether the detector moves along the beam
    """

    nodes: Sequence[Node]
    free: Sequence[int]
    middles_mm: Array
    panels_mm: Array
    n_runs: int
    with_distance: bool

    @classmethod
    def of(
        cls,
        nodes: Sequence[Node],
        free: Sequence[int],
        panels_mm: Array,
        n_runs: int,
        *,
        with_distance: bool,
    ) -> "Hierarchy":
        """Return the hierarchy with each node at the mean of its panels' middles."""
        middles = np.array([panels_mm[list(node.panels)].mean(axis=0) for node in nodes])
        return cls(nodes, free, middles, panels_mm, n_runs, with_distance)

    @property
    def size(self) -> int:
        """Number of parameters."""
        return 6 * len(self.free) + 3 * self.n_runs

    def panel_motions(self) -> Array:
        """Return (6 n_panels, 6 n_free): motions of the panels by those of the nodes."""
        result = np.zeros((len(self.panels_mm), 6, len(self.free), 6))
        for column, number in enumerate(self.free):
            rows = list(self.nodes[number].panels)
            arms = self.panels_mm[rows] - self.middles_mm[number]
            result[rows, :, column] = np.eye(6)
            result[rows, :3, column, 3:] = -cross(arms)
        return result.reshape(6 * len(self.panels_mm), -1)

    def constraints(self) -> Array:
        """Return rows (k, size) that must give zero."""
        rows = [self._fixed(5)]
        if not self.with_distance:
            rows.append(self._fixed(2))
        for parent in self.free:
            children = [i for i, n in enumerate(self.free) if self.nodes[n].parent == parent]
            if children:
                block = np.zeros((6, self.size))
                for child in children:
                    block[:, 6 * child : 6 * child + 6] = np.eye(6)
                rows += list(block)
        if self.n_runs:
            block = np.zeros((3, self.size))
            block[:, 6 * len(self.free) :] = np.tile(np.eye(3), self.n_runs)
            rows += list(block)
        return np.array(rows)

    def _fixed(self, column: int) -> Array:
        row = np.zeros(self.size)
        row[column] = 1.0
        return row

    def sigmas(self, settings: RefgeomSettings) -> Array:
        """Return the standard deviations (size,) of the restraints to zero [mm, rad]."""
        turn = 1e-3 * settings.rotation_sigma_mrad
        shift = [WHOLE_SHIFT_SIGMA_MM] * 3
        others = ([settings.shift_sigma_mm] * 3 + [turn] * 3) * (len(self.free) - 1)
        drift = [settings.drift_sigma_mm] * (3 * self.n_runs)
        return np.array([*shift, turn, turn, turn, *others, *drift])


def step(
    equations: Equations, hierarchy: Hierarchy, sigmas: Array, so_far: Array
) -> tuple[Array, Array]:
    """Return the next motions (size,) of nodes and runs, and their standard deviations (size,).

    Parameters
    ----------
    equations : of the panels and runs
    hierarchy : nodes, constraints
    sigmas : (size,) of the restraints of the total motions to zero
    so_far : (size,) the total motions up to now
    """
    n_panel_rows = 6 * len(hierarchy.panels_mm)
    n_nodes = 6 * len(hierarchy.free)
    chain = np.zeros((len(equations.right), hierarchy.size))
    chain[:n_panel_rows, :n_nodes] = hierarchy.panel_motions()
    if hierarchy.n_runs:
        chain[n_panel_rows:, n_nodes:] = np.eye(3 * hierarchy.n_runs)
    normal = chain.T @ equations.matrix @ chain + np.diag(sigmas**-2)
    right = chain.T @ equations.right - so_far / sigmas**2
    scale = 1.0 / np.sqrt(np.diag(normal))
    free = _null_space(hierarchy.constraints() * scale)
    reduced = free.T @ (normal * scale * scale[:, None]) @ free
    motion = scale * (free @ np.linalg.solve(reduced, free.T @ (right * scale)))
    spread = np.sum((free @ np.linalg.inv(reduced)) * free, axis=1)
    return motion, scale * np.sqrt(np.maximum(spread, 0.0))


def _null_space(rows: Array) -> Array:
    """Return an orthonormal basis (n, n - k) of what all rows (k, n) take to zero."""
    _, sizes, vectors = np.linalg.svd(rows)
    rank = int((sizes > 1e-9 * sizes.max()).sum())
    return np.asarray(vectors[rank:].T)


def panel_motion(hierarchy: Hierarchy, motion: Array, n_runs: int) -> Array:
    """Return the motion (n_runs, n_panels, 6) of every panel in every run."""
    n_nodes = 6 * len(hierarchy.free)
    common = (hierarchy.panel_motions() @ motion[:n_nodes]).reshape(1, -1, 6)
    result = np.repeat(common, n_runs, axis=0)
    if hierarchy.n_runs:
        result[:, :, :3] += motion[n_nodes:].reshape(-1, 1, 3)
    return np.asarray(result)
