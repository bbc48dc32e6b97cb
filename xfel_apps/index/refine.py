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
from xfel_apps.index.sampling import rotate
from xfel_apps.index.search import reach_invang
from xfel_apps.index.target import TargetLattice

Array = NDArray[np.float64]

FIRST_SPOTS = 40
"""Spots of lowest resolution that refinement begins with: a wrong cell hurts them least."""
GROWTH = 1.25
"""Factor by which the resolution limit of the spots grows from round to round."""
LARGEST_STRAIN = 0.03
"""Of one step: a few badly chosen spots must not make a cell that cannot be."""
LOOSENED = 4
"""Factor on the restraint's standard deviation meanwhile, so that a cell that is off can follow."""
LAST_ROUNDS = 4
"""Rounds with all spots, their scatter estimated and outliers rejected."""
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
    sigmas : (m, 3) their standard deviations as the fit found them [1/Angstrom]
    normal : normal matrix of turns [rad] and strains: the inverse of their covariance
    mosaic : widths of its reflections
    """

    a_matrix: Array
    spots: NDArray[np.intp]
    hkl: NDArray[np.int64]
    residuals: Array
    sigmas: Array
    normal: Array
    mosaic: MosaicModel


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
    size = np.linalg.norm(spots.q, axis=1)
    widths = _Widths(spots.pixel_invang, MosaicModel(0.0, 2.0 * PRIOR_WIDTH_INVANG))
    for limit in growing_limits(size):
        rows, hkl = on_lattice(spots, a_matrix, target, 2.0, limit)
        fit = _Fit(spots, frames, rows, hkl)
        a_matrix = fit.step(a_matrix, widths, target, LOOSENED * cell_sigma)
    for number in range(LAST_ROUNDS):
        rows, hkl = on_lattice(spots, a_matrix, target, 1.3)
        fit = _Fit(spots, frames, rows, hkl)
        if number > 1:
            fit = fit.without_outliers(a_matrix, widths)
        a_matrix = fit.step(a_matrix, widths, target, cell_sigma)
        widths = fit.widths(a_matrix)
    return Refined(
        a_matrix,
        fit.rows,
        fit.hkl,
        fit.residuals(a_matrix),
        widths.sigmas(spots.take(fit.rows)),
        fit.normal(a_matrix, widths, target, cell_sigma)[0],
        widths.mosaic,
    )


def growing_limits(size: Array) -> list[float]:
    """Return limits of |q| that begin with a few spots and grow to all of them [1/Angstrom]."""
    largest = float(size.max())
    limits = [float(np.sort(size)[min(FIRST_SPOTS, len(size)) - 1])]
    while limits[-1] < largest:
        limits.append(min(GROWTH * limits[-1], largest))
    return limits


def spot_frames(s1: Array) -> Array:
    """Return (n, 3, 3) orthonormal rows for each spot: along s1 and twice across it."""
    along = s1 / np.linalg.norm(s1, axis=1, keepdims=True)
    helper = np.eye(3)[np.argmin(np.abs(along), axis=1)]
    first = np.cross(helper, along)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([along, first, np.cross(along, first)], axis=1)


def on_lattice(
    spots: ShotSpots,
    a_matrix: Array,
    target: TargetLattice,
    loose: float,
    limit_invang: float = np.inf,
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return the rows of spots near a lattice point, and the indices of those points.

    Of several spots at one point, as a split one gives, the nearest counts.
    """
    q = spots.q
    hkl = nearest_points(q, a_matrix, target)
    distance = np.linalg.norm(q - hkl @ a_matrix.T, axis=1)
    reach = reach_invang(q, target.primitive_volume_ang3, loose)
    near = (distance < reach) & np.any(hkl != 0, axis=1)
    near &= np.linalg.norm(q, axis=1) <= limit_invang
    rows = np.flatnonzero(near)
    rows = rows[np.argsort(distance[rows], kind="stable")]
    h, k, l = hkl[rows].T  # noqa: E741 - Miller indices
    _, first = np.unique((h << 40) + (k << 20) + l, return_index=True)
    rows = np.sort(rows[first])
    return rows, hkl[rows]


def nearest_points(q: Array, a_matrix: Array, target: TargetLattice) -> NDArray[np.int64]:
    """Return the indices (n, 3), in the conventional cell, of the lattice points nearest to q."""
    primitive = target.primitive
    h = np.rint(q @ (primitive @ np.linalg.inv(a_matrix)).T)
    return np.asarray(np.rint(h @ np.linalg.inv(primitive).T), dtype=np.int64)


@dataclass(frozen=True)
class _Fit:
    """Spots assigned to lattice points, and what follows from them."""

    spots: ShotSpots
    frames: Array
    rows: NDArray[np.intp]
    hkl: NDArray[np.int64]

    def residuals(self, a_matrix: Array) -> Array:
        """Return (n, 3) lattice point minus spot, along s1 and twice across it [1/Angstrom]."""
        off = self.hkl @ a_matrix.T - self.spots.q[self.rows]
        return np.asarray((self.frames[self.rows] @ off[:, :, None])[:, :, 0])

    def widths(self, a_matrix: Array) -> _Widths:
        """Return how far the residuals scatter."""
        return _estimate(self.residuals(a_matrix), self.spots.take(self.rows))

    def without_outliers(self, a_matrix: Array, widths: _Widths) -> "_Fit":
        """Return the fit without the spots that lie too far off for the widths."""
        sigmas = widths.sigmas(self.spots.take(self.rows))
        kept = np.all(np.abs(self.residuals(a_matrix)) < OUTLIER_SIGMAS * sigmas, axis=1)
        return _Fit(self.spots, self.frames, self.rows[kept], self.hkl[kept])

    def step(
        self, a_matrix: Array, widths: _Widths, target: TargetLattice, cell_sigma: float
    ) -> Array:
        """Return A after one weighted least-squares step."""
        normal, right = self.normal(a_matrix, widths, target, cell_sigma)
        return moved(a_matrix, np.asarray(np.linalg.solve(normal, right)), target.strains)

    def normal(
        self, a_matrix: Array, widths: _Widths, target: TargetLattice, cell_sigma: float
    ) -> tuple[Array, Array]:
        """Return the normal equations, matrix and right side, of turns [rad] and strains."""
        residuals = self.residuals(a_matrix)
        sigmas = widths.sigmas(self.spots.take(self.rows))
        weight = (_robust(residuals, sigmas) / sigmas**2).ravel()
        jacobian = self._jacobian(a_matrix, target.strains)
        normal = jacobian.T @ (weight[:, None] * jacobian)
        right = -jacobian.T @ (weight * residuals.ravel())
        turns, strains = np.arange(3), np.arange(3, 3 + len(target.strains))
        normal[turns, turns] += 1e-9 * normal[:3, :3].trace() + 1.0
        normal[strains, strains] += 1.0 / cell_sigma**2
        right[strains] -= strain_from(target, a_matrix) / cell_sigma**2
        return normal, right

    def _jacobian(self, a_matrix: Array, strains: Array) -> Array:
        """Return (3 n, 3 + n_strains) derivatives of the residuals by turns [rad] and strains."""
        frames = self.frames[self.rows]
        turning = -frames @ cross_matrices(self.hkl @ a_matrix.T)
        moves = 0.5 * a_matrix @ np.linalg.inv(a_matrix.T @ a_matrix) @ strains
        straining = frames @ np.einsum("sij,nj->nis", moves, self.hkl)
        return np.concatenate([turning, straining], axis=2).reshape(-1, 3 + len(strains))


def strain_from(target: TargetLattice, a_matrix: Array) -> Array:
    """Return the strain (n_free,) of a lattice from the target's cell."""
    metric = a_matrix.T @ a_matrix
    real = np.linalg.inv(metric)
    change = real @ (metric - target.metric) @ real
    return np.asarray(0.25 * np.einsum("sij,ji->s", target.strains, change))


def moved(a_matrix: Array, step: Array, strains: Array) -> Array:
    """Return A turned by a rotation vector, step[:3] [rad], and strained by step[3:]."""
    strain = np.clip(step[3:], -LARGEST_STRAIN, LARGEST_STRAIN)
    metric = a_matrix.T @ a_matrix + np.einsum("s,sij->ij", strain, strains)
    angle = float(np.linalg.norm(step[:3]))
    if angle > 0:
        a_matrix = rotate(step[None, :3] / angle, np.array([angle]))[0] @ a_matrix
    return strained(a_matrix, metric)


def _robust(residuals: Array, sigmas: Array) -> Array:
    """Return weights (n, 1) of Student's t with 6 degrees of freedom."""
    chi_square = np.sum((residuals / sigmas) ** 2, axis=1, keepdims=True)
    return np.asarray(9.0 / (6.0 + chi_square))


def strained(a_matrix: Array, metric: Array) -> Array:
    """Return A with the metric A^T A made `metric`, the orientation kept."""
    old = np.linalg.cholesky(a_matrix.T @ a_matrix)
    new = np.linalg.cholesky(metric)
    return np.asarray(a_matrix @ np.linalg.inv(old).T @ new.T)


def _estimate(residuals: Array, spots: ShotSpots) -> _Widths:
    """Return how far the residuals scatter, with a prior that matters for a few spots only."""
    squares = np.sum(residuals[:, 1:] ** 2, axis=1) / 2.0 - spots.sigma**2
    prior = (0.3 * spots.pixel_invang) ** 2
    mean = (np.sum(squares) + PRIOR_SPOTS * prior) / (len(squares) + PRIOR_SPOTS)
    position = float(np.sqrt(max(mean, (0.1 * spots.pixel_invang) ** 2)))
    return _Widths(position, fit_mosaic(residuals[:, 0], np.linalg.norm(spots.q, axis=1)))
