"""Where spots lie beside their predictions: one smooth field a lattice.

What a lattice's model leaves, of the beam's centre, the distance, the tilt, orientation and cell,
moves neighbouring spots alike: a field of second order in the position on the detector. Blocks that
are turned about one axis more than about another move spots along the arcs, the more the further
their lattice points are off the Ewald sphere. Both are fitted to the centroids of strong spots, so
that foregrounds need not be wide enough to hold them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.integrate.frames import Frames

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

GROUPS = np.repeat([0, 1, 2, 3], [6, 6, 6, 1])
"""Terms that are alike, before spots are seen: slope, curvature, uneven turns, turns or blocks."""

OUTLIER_SIGMAS = 3.0
"""Centroids further than this from the field are left out."""

N_FITS = 8
"""Times that the field is fitted, outliers and the size of the coefficients told anew."""

LEAST_SCATTER_PX = 0.05
"""Spots scatter about the field at least this much."""

LEAST_PRIOR, MOST_PRIOR = 1e-3, 3.0
"""Range of the standard deviation of coefficients: pixels at the shot's edge, and shares."""


@dataclass(frozen=True)
class Offsets:
    """The fields of the lattices of a shot.

    Attributes
    ----------
    coefficients : (n_lattices, n_terms) see `_terms`
    """

    coefficients: Array

    @classmethod
    def none(cls, n_lattices: int) -> "Offsets":
        """Return fields that move nothing."""
        return cls(np.zeros((n_lattices, len(GROUPS))))

    def at(self, frames: Frames, lattice: IntArray) -> Array:
        """Return by how many pixels (n, 2), along (fast, slow), spots lie off."""
        return frames.to_pixels(self._moves(_terms(frames), lattice))

    def _moves(self, terms: Array, lattice: IntArray) -> Array:
        """Return the moves (n, 2) along (radial, tangential) [pixel]."""
        return np.asarray(np.einsum("nij,nj->ni", terms, self.coefficients[lattice]))

    def plus(self, moves_px: Array, frames: Frames, lattice: IntArray) -> "Offsets":
        """Return the fields that also make up for what spots are still off.

        Parameters
        ----------
        moves_px : (n, 2) centroids of strong spots from where they are expected, along (radial,
            tangential) [pixel]
        frames, lattice : (n,) theirs
        """
        terms = _terms(frames)
        whole = self._moves(terms, lattice) + moves_px
        numbers = range(len(self.coefficients))
        return Offsets(np.array([_fit(terms[lattice == n], whole[lattice == n]) for n in numbers]))


def _terms(frames: Frames) -> Array:
    """Return what each coefficient moves (n, 2, n_terms), along (radial, tangential) [pixel].

    Along both axes across the beam 1, x and y; then x^2, xy and y^2; then the slips.
    """
    x, y = frames.across.T
    powers = np.stack([np.ones(len(x)), x, y, x * x, x * y, y * y], axis=1)
    field = np.einsum("nij,nk->nikj", frames.turns, powers).reshape(len(x), 2, -1)
    return np.concatenate([field, frames.slips_px], axis=2)


def _fit(terms: Array, moves: Array) -> Array:
    """Return the coefficients (n_terms,) of the field through the moves (n, 2).

    Each group of coefficients is held to zero by a normal prior whose width is the most likely one
    (MacKay 1992, Neural Computation 4, 415-447), so that what spots do not show stays zero.
    """
    coefficients: Array = np.zeros(len(GROUPS))
    if not len(terms):
        return coefficients
    scatter, prior = 1.0, np.ones(GROUPS.max() + 1)
    kept, each = np.ones(len(terms), dtype=bool), np.arange(len(GROUPS))
    for _ in range(N_FITS):
        rows = terms[kept].reshape(-1, len(GROUPS))
        precision = rows.T @ rows / scatter**2
        precision[each, each] += prior[GROUPS] ** -2
        covariance = np.linalg.inv(precision)
        coefficients = covariance @ (rows.T @ moves[kept].ravel()) / scatter**2
        told = 1.0 - covariance[each, each] / prior[GROUPS] ** 2
        power = np.bincount(GROUPS, coefficients**2) / np.maximum(np.bincount(GROUPS, told), 1e-6)
        prior = np.clip(np.sqrt(power), LEAST_PRIOR, MOST_PRIOR)
        off = np.sum((moves - terms @ coefficients) ** 2, axis=1)
        scatter = max(float(np.sqrt(np.median(off) / (2.0 * np.log(2.0)))), LEAST_SCATTER_PX)
        kept = off <= (OUTLIER_SIGMAS * scatter) ** 2
    return coefficients
