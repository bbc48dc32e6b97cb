"""Refinement of a lattice against spot positions and excitation errors together.

The distance between a lattice point, brought to the lab as s0 + A h, and the observed s1 is split
along s1 (the excitation error) and across it (the spot's position): both are linear in A, so that
each round is one small linear solve for three rotations and the strains that the symmetry allows.
The strain from the target cell is restrained: along the beam a still holds the cell only weakly.

Sources: Sauter et al. (2014), Acta Cryst. D70, 3299-3309; Sauter (2015), J. Synchrotron Rad. 22,
239-248.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.lattice_search import cross_matrices
from xfel_apps.index.mosaic import PRIOR_WIDTH_INVANG, MosaicModel, fit_mosaic
from xfel_apps.index.search import reach_invang, rotate
from xfel_apps.index.target import TargetLattice

Array = NDArray[np.float64]

ROUNDS = 8
OUTLIER_SIGMAS = 4.0
PRIOR_SPOTS = 4.0
"""How many spots the expected position error counts for when it is estimated."""


@dataclass(frozen=True)
class ShotSpots:
    """Spots of one shot in reciprocal space.

    Attributes
    ----------
    s0 : (3,) incident wave vector [1/Angstrom]
    s1 : (n, 3) scattered wave vectors [1/Angstrom]
    sigma : (n,) standard error of s1 across itself, from the centroid's variance [1/Angstrom]
    pixel_invang : size of a pixel as seen from the crystal, over the wavelength [1/Angstrom]
    """

    s0: Array
    s1: Array
    sigma: Array
    pixel_invang: float

    @property
    def q(self) -> Array:
        """Scattering vectors (n, 3) [1/Angstrom]."""
        return np.asarray(self.s1 - self.s0)

    def take(self, rows: NDArray[np.intp]) -> "ShotSpots":
        """Return some of the spots."""
        return ShotSpots(self.s0, self.s1[rows], self.sigma[rows], self.pixel_invang)


@dataclass(frozen=True)
class Refined:
    """A refined lattice.

    Attributes
    ----------
    a_matrix : (3, 3) A of the conventional cell [1/Angstrom]
    spots : (m,) rows of the spots on it
    hkl : (m, 3) their indices
    residuals : (m, 3) lattice point minus spot: along s1 and twice across it [1/Angstrom]
    mosaic : widths of its reflections
    position_sigma_invang : scatter of spot positions on top of the centroids' variances
    """

    a_matrix: Array
    spots: NDArray[np.intp]
    hkl: NDArray[np.int64]
    residuals: Array
    mosaic: MosaicModel
    position_sigma_invang: float


@dataclass(frozen=True)
class _Widths:
    """Expected scatter of residuals: across s1 on top of the centroid's, and along it."""

    position: float
    mosaic: MosaicModel

    def sigmas(self, spots: ShotSpots) -> Array:
        """Return (n, 3) standard deviations of the residuals [1/Angstrom]."""
        across = np.hypot(spots.sigma, self.position)
        along = self.mosaic.sigma_invang(np.linalg.norm(spots.q, axis=1))
        return np.column_stack([along, across, across])


def refine(spots: ShotSpots, a_matrix: Array, target: TargetLattice, cell_sigma: float) -> Refined:
    """Return the lattice refined from `a_matrix`, outliers rejected.

    Parameters
    ----------
    spots : all spots of the shot
    a_matrix : (3, 3) A of the conventional cell to start from
    target : symmetry, and the cell that the restraint holds to
    cell_sigma : relative standard deviation of the restraint
    """
    frames = spot_frames(spots.s1)
    start = MosaicModel(0.0, 2.0 * PRIOR_WIDTH_INVANG)
    widths = _Widths(spots.pixel_invang, start)
    for number in range(ROUNDS):
        rows, hkl = on_lattice(spots, a_matrix, target, 1.6 if number < 2 else 1.2)
        residuals = _residuals(spots, frames, a_matrix, rows, hkl)
        sigmas = widths.sigmas(spots.take(rows))
        if number >= 3:
            kept = np.all(np.abs(residuals) < OUTLIER_SIGMAS * sigmas, axis=1)
            rows, hkl, residuals, sigmas = rows[kept], hkl[kept], residuals[kept], sigmas[kept]
        free_cell = number > 0
        a_matrix = _step(
            frames[rows], hkl, residuals, sigmas, a_matrix, target, cell_sigma if free_cell else 0.0
        )
        residuals = _residuals(spots, frames, a_matrix, rows, hkl)
        if number > 0:
            widths = _estimate(residuals, spots.take(rows), spots.pixel_invang)
    return Refined(a_matrix, rows, hkl, residuals, widths.mosaic, widths.position)


def spot_frames(s1: Array) -> Array:
    """Return (n, 3, 3) orthonormal rows for each spot: along s1 and twice across it."""
    along = s1 / np.linalg.norm(s1, axis=1, keepdims=True)
    helper = np.eye(3)[np.argmin(np.abs(along), axis=1)]
    first = np.cross(helper, along)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([along, first, np.cross(along, first)], axis=1)


def on_lattice(
    spots: ShotSpots, a_matrix: Array, target: TargetLattice, loose: float
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return the rows of spots near a lattice point, and the indices of those points.

    Of several spots at one point, as a split one gives, the nearest counts.
    """
    q = spots.q
    hkl = nearest_points(q, a_matrix, target)
    distance = np.linalg.norm(q - hkl @ a_matrix.T, axis=1)
    reach = reach_invang(q, target.primitive_volume_ang3, loose)
    rows = np.flatnonzero((distance < reach) & np.any(hkl != 0, axis=1))
    rows = rows[np.argsort(distance[rows], kind="stable")]
    _, first = np.unique(hkl[rows], axis=0, return_index=True)
    rows = np.sort(rows[first])
    return rows, hkl[rows]


def nearest_points(q: Array, a_matrix: Array, target: TargetLattice) -> NDArray[np.int64]:
    """Return the indices (n, 3), in the conventional cell, of the lattice points nearest to q."""
    primitive = target.primitive
    h = np.rint(q @ (primitive @ np.linalg.inv(a_matrix)).T)
    return np.asarray(np.rint(h @ np.linalg.inv(primitive).T), dtype=np.int64)


def _residuals(
    spots: ShotSpots, frames: Array, a_matrix: Array, rows: NDArray[np.intp], hkl: NDArray[np.int64]
) -> Array:
    return np.asarray(np.einsum("nij,nj->ni", frames[rows], hkl @ a_matrix.T - spots.q[rows]))


def _step(
    frames: Array,
    hkl: NDArray[np.int64],
    residuals: Array,
    sigmas: Array,
    a_matrix: Array,
    target: TargetLattice,
    cell_sigma: float,
) -> Array:
    """Return A after one weighted least-squares step; cell_sigma 0 keeps the cell."""
    metric = a_matrix.T @ a_matrix
    real = np.linalg.inv(metric)
    strains = target.strains if cell_sigma > 0 else target.strains[:0]
    points = hkl @ a_matrix.T
    turning = -np.einsum("nij,njk->nik", frames, cross_matrices(points))
    moves = 0.5 * np.einsum("ij,jk,skl->sil", a_matrix, real, strains)
    straining = np.einsum("nij,sjk,nk->nis", frames, moves, hkl, optimize=True)
    jacobian = np.concatenate([turning, straining], axis=2).reshape(-1, 3 + len(strains))
    weight = (_robust(residuals, sigmas) / sigmas**2).ravel()
    normal = jacobian.T @ (weight[:, None] * jacobian)
    right = -jacobian.T @ (weight * residuals.ravel())
    normal[np.arange(3), np.arange(3)] += 1e-9 * normal[:3, :3].trace() + 1e-12
    if cell_sigma > 0:
        at = 0.25 * np.einsum("sij,jk,kl,li->s", strains, real, metric - target.metric, real)
        free = np.arange(3, 3 + len(strains))
        normal[free, free] += 1.0 / cell_sigma**2
        right[free] -= at / cell_sigma**2
    x = np.linalg.solve(normal, right)
    angle = float(np.linalg.norm(x[:3]))
    if angle > 0:
        a_matrix = rotate(x[None, :3] / angle, np.array([angle]))[0] @ a_matrix
    if cell_sigma > 0:
        a_matrix = strained(a_matrix, metric + np.einsum("s,sij->ij", x[3:], strains))
    return a_matrix


def _robust(residuals: Array, sigmas: Array) -> Array:
    """Return weights (n, 1) of Student's t with 6 degrees of freedom."""
    chi_square = np.sum((residuals / sigmas) ** 2, axis=1, keepdims=True)
    return np.asarray(9.0 / (6.0 + chi_square))


def strained(a_matrix: Array, metric: Array) -> Array:
    """Return A with the metric A^T A made `metric`, the orientation kept."""
    old = np.linalg.cholesky(a_matrix.T @ a_matrix)
    new = np.linalg.cholesky(metric)
    return np.asarray(a_matrix @ np.linalg.inv(old).T @ new.T)


def _estimate(residuals: Array, spots: ShotSpots, pixel_invang: float) -> _Widths:
    """Return how far the residuals scatter, with a prior that matters for a few spots only."""
    squares = np.sum(residuals[:, 1:] ** 2, axis=1) / 2.0 - spots.sigma**2
    prior = (0.3 * pixel_invang) ** 2
    mean = (np.sum(squares) + PRIOR_SPOTS * prior) / (len(squares) + PRIOR_SPOTS)
    position = float(np.sqrt(max(mean, (0.1 * pixel_invang) ** 2)))
    return _Widths(position, fit_mosaic(residuals[:, 0], np.linalg.norm(spots.q, axis=1)))
