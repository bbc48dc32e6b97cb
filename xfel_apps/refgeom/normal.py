"""Normal equations with the crystals eliminated block by block.

Each crystal's own few parameters (turn, strains) touch only its own spots. With H_cc its block,
H_cp its coupling to the panels, b the right sides, the panels' equations without the crystal are

    S = H_pp - H_pc H_cc^-1 H_cp,    b_p - H_pc H_cc^-1 b_c:

as exact as solving for everything at once, at a cost that grows linearly with the crystals and
needs no memory for them (Millepede: Blobel 2006, Nucl. Instrum. Methods A566, 5-13; for stills
Brewster et al. 2018, Acta Cryst. D74, 877-894). Panels move here by six parameters each, run by
run by three common ones; `xfel_apps.refgeom.solve` puts the hierarchy on top.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.refgeom.lattice import Target
from xfel_apps.refgeom.model import Crystals, Found, Poses, Residuals, residuals

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

CRYSTALS_AT_ONCE = 64
"""Crystals whose coupling to all panels is held in memory."""
STUDENT = 6.0
"""Degrees of freedom of the robust weights (Student's t)."""
PRIOR_EXCITATION_INVANG = 6e-4
"""Standard deviation of excitation errors expected before any is seen [1/Angstrom]."""
PRIOR_SPOTS = 4.0
"""How many spots that expectation counts for."""


@dataclass(frozen=True)
class Scatter:
    """Standard deviations of the residuals, and which are too large to count.

    Attributes
    ----------
    radial_px, transverse_px : robust standard deviations [pixel]
    max_sigma : residuals further off are left out
    """

    radial_px: float
    transverse_px: float
    max_sigma: float

    def keeps(self, values: Array) -> NDArray[np.bool_]:
        """Return which residuals (m, 3) are no outliers in position."""
        scaled = values[:, :2] / [self.radial_px, self.transverse_px]
        return np.asarray(np.all(np.abs(scaled) <= self.max_sigma, axis=1))

    def weights(self, values: Array, crystal: IntArray, n_crystals: int) -> Array:
        """Return the weights (m, 3) of residuals (m, 3); 0 for those left out."""
        kept = self.keeps(values)
        width = excitation_widths(values[:, 2], kept, crystal, n_crystals)[crystal]
        sigmas = np.column_stack(
            [np.full(len(values), self.radial_px), np.full(len(values), self.transverse_px), width]
        )
        chi_square = np.sum((values / sigmas) ** 2, axis=1)
        robust = kept * (STUDENT + 3.0) / (STUDENT + chi_square)
        return np.asarray(robust[:, None] / sigmas**2)


def excitation_widths(
    excitation_invang: Array, kept: NDArray[np.bool_], crystal: IntArray, n_crystals: int
) -> Array:
    """Return the standard deviation (n_crystals,) of the excitation errors of kept spots."""
    squares = np.bincount(crystal, excitation_invang**2 * kept, n_crystals)
    count = np.bincount(crystal, kept, n_crystals)
    prior = PRIOR_SPOTS * PRIOR_EXCITATION_INVANG**2
    return np.asarray(np.sqrt((squares + prior) / (count + PRIOR_SPOTS)))


@dataclass(frozen=True)
class Equations:
    """Normal matrix and right side of the panels' motions, six each, then three a run.

    Attributes
    ----------
    matrix : (n, n)
    right : (n,)
    """

    matrix: Array
    right: Array

    @classmethod
    def zero(cls, n_panels: int, n_runs: int) -> "Equations":
        """Return no equations."""
        n = 6 * n_panels + 3 * n_runs
        return cls(np.zeros((n, n)), np.zeros(n))

    def __add__(self, other: "Equations") -> "Equations":
        return Equations(self.matrix + other.matrix, self.right + other.right)


def sum_by(keys: IntArray, values: Array) -> tuple[IntArray, Array]:
    """Return distinct keys, which come sorted, and the sums of their values (m, ...).

    >>> sum_by(np.array([3, 3, 7]), np.array([1.0, 2.0, 5.0]))
    (array([3, 7]), array([3., 5.]))
    """
    if not len(keys):
        return keys, values
    starts = np.flatnonzero(np.diff(keys, prepend=keys[0] - 1))
    return keys[starts], np.add.reduceat(values, starts, axis=0)


def equations(
    poses: Poses, crystals: Crystals, found: Found, target: Target, how: tuple[Scatter, float]
) -> Equations:
    """Return the equations of the panels, the crystals eliminated.

    Parameters
    ----------
    poses, crystals, found, target : see `xfel_apps.refgeom.model`
    how : the scatter of residuals, and the relative standard deviation of the cells
    """
    n_runs, n_panels = poses.origins_mm.shape[:2]
    total = Equations.zero(n_panels, n_runs)
    for start in range(0, len(crystals), CRYSTALS_AT_ONCE):
        rows = slice(start, min(start + CRYSTALS_AT_ONCE, len(crystals)))
        some, spots = crystals.take(rows), found.of_crystals(rows)
        all_of = residuals(poses, some, target, spots)
        weights = how[0].weights(all_of.values, spots.crystal, len(some))
        _add_panels(total, all_of, weights, (spots.panel, some.run[spots.crystal], n_panels))
        matrix, right = crystal_blocks(all_of, weights, some, spots.crystal, how[1])
        coupling = _coupling(all_of, weights, some, spots, (n_panels, n_runs))
        solved = np.linalg.solve(matrix, np.concatenate([coupling, right[..., None]], axis=2))
        flat = coupling.reshape(-1, coupling.shape[2])
        solved = solved.reshape(len(flat), -1)
        total.matrix[...] -= flat.T @ solved[:, :-1]
        total.right[...] -= flat.T @ solved[:, -1]
    return total


def crystal_blocks(
    all_of: Residuals, weights: Array, crystals: Crystals, which: IntArray, cell_sigma: float
) -> tuple[Array, Array]:
    """Return normal blocks (n, p, p) and right sides (n, p) of crystals, cells restrained.

    A crystal without any spot left keeps its place: its turn is held by the identity.
    """
    n_free = crystals.strains.shape[1]
    n = 3 + n_free
    matrix, right = np.zeros((len(crystals), n, n)), np.zeros((len(crystals), n))
    weighted = all_of.by_crystal * weights[:, :, None]
    keys, sums = sum_by(which, np.swapaxes(weighted, 1, 2) @ all_of.by_crystal)
    matrix[keys] = sums
    keys, sums = sum_by(which, -np.einsum("mip,mi->mp", weighted, all_of.values))
    right[keys] = sums
    turn, strain = np.arange(3), np.arange(3, n)
    matrix[:, turn, turn] += 1.0
    matrix[:, strain, strain] += 1.0 / cell_sigma**2
    right[:, strain] -= crystals.strains / cell_sigma**2
    return matrix, right


def _add_panels(
    total: Equations, all_of: Residuals, weights: Array, where: tuple[IntArray, IntArray, int]
) -> None:
    """Add the panels' and runs' own blocks, in place; `where`: panel and run of the spots."""
    panel, run, n_panels = where
    order = np.lexsort((panel, run))
    derivatives, weighted = all_of.by_panel[order], weights[order, :2, None]
    products = np.swapaxes(derivatives * weighted, 1, 2)
    values = products @ np.concatenate([derivatives, -all_of.values[order, :2, None]], axis=2)
    keys, sums = sum_by(run[order] * n_panels + panel[order], values)
    own = np.arange(6)
    for key, block in zip(keys, sums, strict=True):
        rows = own + 6 * (key % n_panels)
        columns = 6 * n_panels + 3 * (key // n_panels) + own[:3]
        total.matrix[np.ix_(rows, rows)] += block[:, :6]
        total.matrix[np.ix_(rows, columns)] += block[:, :3]
        total.matrix[np.ix_(columns, rows)] += block[:3, :6]
        total.matrix[np.ix_(columns, columns)] += block[:3, :3]
        total.right[rows] += block[:, 6]
        total.right[columns] += block[:3, 6]


def _coupling(
    all_of: Residuals, weights: Array, crystals: Crystals, spots: Found, n: tuple[int, int]
) -> Array:
    """Return how crystals and panels go together: (n_crystals, p, 6 n_panels + 3 n_runs)."""
    n_panels, n_runs = n
    weighted = all_of.by_crystal[:, :2] * weights[:, :2, None]
    products = np.swapaxes(weighted, 1, 2) @ all_of.by_panel
    keys, sums = sum_by(spots.crystal * n_panels + spots.panel, products)
    result = np.zeros((len(crystals), products.shape[1], 6 * n_panels + 3 * n_runs))
    by_panel = np.zeros((len(crystals), n_panels, products.shape[1], 6))
    by_panel[keys // n_panels, keys % n_panels] = sums
    result[:, :, : 6 * n_panels] = np.swapaxes(by_panel, 1, 2).reshape(*result.shape[:2], -1)
    together = by_panel[..., :3].sum(axis=1)
    columns = 6 * n_panels + 3 * crystals.run[:, None] + np.arange(3)
    rows = np.arange(len(crystals))
    for i in range(result.shape[1]):
        result[rows[:, None], i, columns] = together[:, i]
    return result


def crystal_steps(
    poses: Poses,
    crystals: Crystals,
    found: Found,
    target: Target,
    how: tuple[Scatter, Array, float],
) -> Array:
    """Return the steps (n, p) of the crystals that go with a motion of the panels.

    Parameters
    ----------
    poses, crystals, found, target : before the motion
    how : the scatter, the motion (n_runs, n_panels, 6), the standard deviation of the cells
    """
    scatter, motion, cell_sigma = how
    result = []
    for start in range(0, len(crystals), CRYSTALS_AT_ONCE):
        rows = slice(start, min(start + CRYSTALS_AT_ONCE, len(crystals)))
        some, spots = crystals.take(rows), found.of_crystals(rows)
        all_of = residuals(poses, some, target, spots)
        weights = scatter.weights(all_of.values, spots.crystal, len(some))
        moved = all_of.values.copy()
        motions = motion[some.run[spots.crystal], spots.panel]
        moved[:, :2] += np.einsum("mip,mp->mi", all_of.by_panel, motions)
        after = Residuals(moved, all_of.by_crystal, all_of.by_panel)
        matrix, right = crystal_blocks(after, weights, some, spots.crystal, cell_sigma)
        result.append(np.linalg.solve(matrix, right[..., None])[..., 0])
    return np.concatenate(result) if result else np.zeros((0, 3 + crystals.strains.shape[1]))
