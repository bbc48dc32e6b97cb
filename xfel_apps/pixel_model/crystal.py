r"""A crystal as the pixels see it: how its parameters make the spots of `compute.shoebox`.

A reflection's lattice point is smeared by the finite blocks (nanoBragg's Gaussian shape of N cells
along each axis), by domains turned against each other (normal, :math:`\eta` about every axis) and
by the spectrum (normal, relative width b):

.. math::
    \Sigma = \tfrac{0.63}{4} A N^{-2} A^T + \eta^2 (|q_0|^2 - q_0 q_0^T) + b^2 q_0 q_0^T .

In the limit of many domains and wavelengths `compute.forward` is the same: the integral over
reciprocal space does not depend on :math:`\Sigma`, so the peak falls as :math:`|\Sigma|^{-1/2}`.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.forward import GAUSSIAN_WIDTH
from xfel_apps.compute.shoebox import N_BASIS, SYMMETRIC, Basis, SpotShapes
from xfel_apps.geometry.stills import metric_cell
from xfel_apps.pixel_model.cell import b_derivatives, b_matrix, free_parameters

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

BLOCK = GAUSSIAN_WIDTH / 4.0
"""Variance of |L|^2 of a Gaussian block along each axis, in units of 1/N^2 squared indices."""


@dataclass(frozen=True)
class PixelCrystal:
    """One lattice of a shot.

    Attributes
    ----------
    orientation : (3, 3) rotation U; A = U B(cell)
    cell : (6,) [Angstrom, degree]
    space_group : Hermann-Mauguin symbol; its lattice system says what of the cell is free
    n_cells : (3,) cells of a coherent block along a, b and c
    spread_deg : eta, standard deviation of the domains' rotations about each axis [degree]
    scale : photons a steradian and |F|^2 unit, integrated over indices: cells that are lit, times
        fluence and r_e^2
    bandwidth : relative standard deviation of the wavelength
    """

    orientation: Array
    cell: Array
    space_group: str
    n_cells: Array
    spread_deg: float
    scale: float
    bandwidth: float = 0.0

    @classmethod
    def from_a_matrix(
        cls, a_matrix: Array, space_group: str, n_cells: Array, spread_deg: float
    ) -> "PixelCrystal":
        """Return the crystal with this A, its cell made to obey the lattice system."""
        free = free_parameters(space_group)
        found = metric_cell(a_matrix)
        mean = free @ (free.T @ found / free.sum(axis=0))
        cell = np.where(free.any(axis=1), mean, np.rint(found / 30.0) * 30.0)
        left, _, right = np.linalg.svd(a_matrix @ np.linalg.inv(b_matrix(cell)))
        return cls(left @ right, cell, space_group, np.asarray(n_cells, float), spread_deg, 1.0)

    def with_bandwidth(self, bandwidth: float) -> "PixelCrystal":
        """Return the same lattice in a beam of another bandwidth."""
        return replace(self, bandwidth=bandwidth)

    @cached_property
    def a_matrix(self) -> Array:
        """A (3, 3), columns a*, b*, c* [1/Angstrom]."""
        return np.asarray(self.orientation @ b_matrix(self.cell))

    def covariance(self, hkl: IntArray) -> Array:
        """Return how lattice points (n, 3) are smeared, (n, 3, 3) [1/Angstrom^2]."""
        a_matrix, eta = self.a_matrix, np.radians(self.spread_deg)
        q = hkl @ a_matrix.T
        block = BLOCK * (a_matrix / self.n_cells**2) @ a_matrix.T
        outer = q[:, :, None] * q[:, None, :]
        length = np.sum(q**2, axis=1)[:, None, None]
        return np.asarray(block + eta**2 * (length * np.eye(3) - outer) + self.bandwidth**2 * outer)

    def spots(self, hkl: IntArray, intensity: Array, background: Array) -> SpotShapes:
        """Return the spots of reflections.

        Parameters
        ----------
        hkl : (n, 3) Miller indices
        intensity : (n,) |F|^2
        background : (n, 3) see `SpotShapes`
        """
        a_matrix = self.a_matrix
        covariance = self.covariance(hkl)
        volume = BLOCK**1.5 * abs(np.linalg.det(a_matrix)) / np.sqrt(np.linalg.det(covariance))
        amplitude = self.scale * intensity * volume
        return SpotShapes(hkl @ a_matrix.T, covariance, amplitude, background)


@dataclass(frozen=True)
class Parameters:
    """Which numbers of a crystal, and of how it was taken, are free.

    Attributes
    ----------
    lattice : turns, cell, blocks and mosaic spread are free, not the scale alone
    anisotropic_blocks : N along a, b and c apart
    shift : the detector may move along x, y and z
    wavelength, bandwidth : are free
    """

    lattice: bool = True
    anisotropic_blocks: bool = False
    shift: bool = False
    wavelength: bool = False
    bandwidth: bool = False

    def names(self, crystal: PixelCrystal) -> list[str]:
        """Return the name of each parameter, in order, its unit at the end."""
        result = ["ln_scale"]
        if self.lattice:
            n_cell = free_parameters(crystal.space_group).shape[1]
            result += ["turn_x_rad", "turn_y_rad", "turn_z_rad"]
            result += [f"cell_{i}" for i in range(n_cell)]
            result += ["ln_n_a", "ln_n_b", "ln_n_c"] if self.anisotropic_blocks else ["ln_n"]
            result += ["ln_spread"]
        result += ["shift_x_mm", "shift_y_mm", "shift_z_mm"] if self.shift else []
        result += ["ln_wavelength"] if self.wavelength else []
        return result + (["ln_bandwidth"] if self.bandwidth else [])

    def moved(self, crystal: PixelCrystal, step: Array) -> PixelCrystal:
        """Return the crystal after a step in its own parameters (shift and wavelength: none)."""
        names = self.names(crystal)
        at = dict(zip(names, step, strict=True))
        free = free_parameters(crystal.space_group)
        turn = np.array([at.get(f"turn_{axis}_rad", 0.0) for axis in "xyz"])
        change = np.array([at.get(f"cell_{i}", 0.0) for i in range(free.shape[1])])
        blocks = [at.get(f"ln_n_{axis}", at.get("ln_n", 0.0)) for axis in "abc"]
        return replace(
            crystal,
            orientation=rotation(turn) @ crystal.orientation,
            cell=crystal.cell + free @ change,
            n_cells=crystal.n_cells * np.exp(blocks),
            spread_deg=float(crystal.spread_deg * np.exp(at.get("ln_spread", 0.0))),
            scale=float(crystal.scale * np.exp(at["ln_scale"])),
            bandwidth=float(crystal.bandwidth * np.exp(at.get("ln_bandwidth", 0.0))),
        )

    def to_basis(self, crystal: PixelCrystal, hkl: IntArray) -> Array:
        """Return what each parameter does to the spots: (n, n_parameters, 17) in `Basis`."""
        moves = _Moves(crystal, hkl)
        rows = [moves.column(Basis.AMPLITUDE)]
        if self.lattice:
            rows += moves.turns() + moves.cells() + moves.blocks(apart=self.anisotropic_blocks)
            rows += [moves.spread()]
        rows += [moves.column(Basis.SHIFT + i) for i in range(3)] if self.shift else []
        rows += [moves.column(Basis.WAVELENGTH)] if self.wavelength else []
        rows += [moves.bandwidth()] if self.bandwidth else []
        return np.stack(rows, axis=1)


class _Moves:
    """Rows (n, 17) of `Basis` that single parameters move."""

    def __init__(self, crystal: PixelCrystal, hkl: IntArray) -> None:
        self._crystal, self._hkl = crystal, hkl
        self._a_matrix = crystal.a_matrix
        self._q = hkl @ self._a_matrix.T
        self._precision = np.linalg.inv(crystal.covariance(hkl))

    def turns(self) -> list[Array]:
        """Return rows of small rotations about x, y and z of the lab."""
        return [self._by_a_matrix(np.cross(axis, self._a_matrix.T).T, 0.0) for axis in np.eye(3)]

    def cells(self) -> list[Array]:
        """Return rows of the free numbers of the cell."""
        free = free_parameters(self._crystal.space_group)
        by_cell = np.einsum("cij,ck->kij", b_derivatives(self._crystal.cell), free)
        inverse = np.linalg.inv(b_matrix(self._crystal.cell))
        return [
            self._by_a_matrix(self._crystal.orientation @ change, float(np.trace(inverse @ change)))
            for change in by_cell
        ]

    def blocks(self, *, apart: bool) -> list[Array]:
        """Return rows of the logarithms of the block's cells along each axis, or of all."""
        rows = []
        for axes in np.eye(3) if apart else np.ones((1, 3)):
            size = -2.0 * axes / self._crystal.n_cells**2
            change = BLOCK * (self._a_matrix * size) @ self._a_matrix.T
            rows.append(
                self._row(np.zeros_like(self._q), np.broadcast_to(change, self._shape), 0.0)
            )
        return rows

    def spread(self) -> Array:
        """Return the row of the logarithm of eta."""
        variance = np.radians(self._crystal.spread_deg) ** 2
        length = np.sum(self._q**2, axis=1)[:, None, None] * np.eye(3)
        return self._row(
            np.zeros_like(self._q), 2.0 * variance * (length - self._outer(self._q)), 0
        )

    def bandwidth(self) -> Array:
        """Return the row of the logarithm of the bandwidth."""
        variance = self._crystal.bandwidth**2
        return self._row(np.zeros_like(self._q), 2.0 * variance * self._outer(self._q), 0.0)

    def column(self, number: int) -> Array:
        """Return the row of a parameter that is a column of the basis itself."""
        row = np.zeros((len(self._hkl), N_BASIS))
        row[:, number] = 1.0
        return row

    @property
    def _shape(self) -> tuple[int, int, int]:
        return len(self._hkl), 3, 3

    def _outer(self, q: Array) -> Array:
        return np.asarray(q[:, :, None] * q[:, None, :])

    def _by_a_matrix(self, change: Array, ln_volume: float) -> Array:
        """Return the row of a parameter that changes A (3, 3)."""
        crystal, q = self._crystal, self._q
        dq = self._hkl @ change.T
        half = BLOCK * (change / crystal.n_cells**2) @ self._a_matrix.T
        cross = q[:, :, None] * dq[:, None, :]
        cross = cross + cross.transpose(0, 2, 1)
        along = 2.0 * np.sum(q * dq, axis=1)[:, None, None] * np.eye(3)
        eta = np.radians(crystal.spread_deg)
        smear = eta**2 * (along - cross) + crystal.bandwidth**2 * cross
        return self._row(dq, half + half.T + smear, ln_volume)

    def _row(self, centre: Array, covariance: Array, ln_volume: float) -> Array:
        row = np.zeros((len(self._hkl), N_BASIS))
        row[:, Basis.CENTRE : Basis.SPREAD] = centre
        for column, (i, j) in enumerate(SYMMETRIC):
            row[:, Basis.SPREAD + column] = covariance[:, i, j]
        ln_det = np.einsum("nij,nji->n", self._precision, covariance)
        row[:, Basis.AMPLITUDE] = ln_volume - 0.5 * ln_det
        return row


def turned_deg(one: PixelCrystal, other: PixelCrystal) -> float:
    """Return the angle between the orientations of two lattices [degree]."""
    turn = one.orientation @ other.orientation.T
    axis = turn[[2, 0, 1], [1, 2, 0]] - turn[[1, 2, 0], [2, 0, 1]]
    return float(np.degrees(np.arctan2(np.linalg.norm(axis), np.trace(turn) - 1.0)))


def rotation(turn_rad: Array) -> Array:
    """Return the rotation (3, 3) about the vector `turn_rad` (3,) by its length [rad].

    >>> rotation(np.array([0.0, 0.0, np.pi / 2])).round(12) @ np.array([1.0, 0.0, 0.0])
    array([0., 1., 0.])
    """
    x, y, z = turn_rad
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle = float(np.linalg.norm(turn_rad))
    # sinc keeps its digits near 0
    return np.asarray(
        np.eye(3)
        + np.sinc(angle / np.pi) * cross
        + 0.5 * np.sinc(angle / (2.0 * np.pi)) ** 2 * cross @ cross
    )
