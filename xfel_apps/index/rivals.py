"""Cells that explain a shot's spots better than the one looked for.

Where the cell looked for is wrong, its best lattice is not a random one: it shares a plane, a row
or every second point with the crystal's own, and so explains some spots far beyond chance. What
gives it away is that another lattice explains them better, and more of them. So the lattice has to
win against rivals by its evidence: those with one cell parameter changed, its sub- and
superlattices of index 2 and 3, and, where much is left unexplained, whatever cell the spots
themselves suggest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from xfel_apps.geometry.stills import metric_cell
from xfel_apps.index.judge import log_odds
from xfel_apps.index.refine import Refined, ShotSpots, refine
from xfel_apps.index.search import low_resolution, settled
from xfel_apps.index.settings import IndexSettings
from xfel_apps.index.target import TargetLattice, metric_maps
from xfel_apps.index.unknown import (
    SUBLATTICES,
    find_cell,
    lattice_scores,
    reduced_lattice,
    without_symmetry,
)

Array = NDArray[np.float64]

SURE_SHARE, SURE_EACH = 0.9, 7.0
"""A lattice with this share of the spots, and log odds a spot, has no rival of another cell: the
odds are those of spots that fit within the errors of their positions."""
CHANGES = np.array([0.01 * n for n in range(-15, 16) if abs(n) > 2])
"""Changes of one cell parameter that are tried: of a length by that share, of an angle in rad, in
steps that refinement follows. Smaller ones are the cell's own deviation, judged elsewhere."""
PARAMETERS = ((0, 0), (1, 1), (2, 2), (1, 2), (2, 1), (0, 2), (2, 0), (0, 1), (1, 0))
"""Axis that is changed, and along which: the three lengths, then the angles between two axes, of
which either may be the one that fits the spots as it is."""
SAME_NEAR, SAME_STRAINED, SAME_FAR = 0.02, 0.03, 0.05
"""Relative differences of metrics taken as the same, of a cell refined with the restraint to its
neighbour's (1 % in length, 0.6 degrees in angle), of the lattice itself strained, and of a cell
that is free."""
SAME_INDICES = 0.9
"""Share of a rival's spots that have the indices that they had, from which on it is the same
lattice strained: as one is where the detector is not where the geometry says."""
TOO_LARGE_ODDS = 10.0
"""Prior odds of the cell given against one that is a half or a third of it."""
EXPLAINED = 0.8
"""Where lattices explain less, and leave spots enough for another, any cell is looked for."""
ROOM = 1.2
"""It is looked for up to so many times the longest edge."""


@dataclass(frozen=True)
class Rival:
    """A lattice of another cell.

    Attributes
    ----------
    a_matrix : (3, 3) A of a primitive cell [1/Angstrom]
    n_spots : spots on it
    odds : logarithm of its odds against chance, less its prior's
    same : relative difference of metrics up to which it is the suspect's own cell
    """

    a_matrix: Array
    n_spots: int
    odds: float
    same: float = SAME_NEAR

    def beats(self, suspect: "Suspect") -> bool:
        """Return whether it is likelier than a lattice, with a metric that is not the same."""
        if self.odds <= suspect.odds:
            return False
        own = np.asarray(np.linalg.inv(suspect.primitive @ suspect.primitive.T))
        reduced = reduced_lattice(self.a_matrix)
        return not len(metric_maps(own, reduced.T @ reduced, self.same))

    def verdict(self, suspect: "Suspect") -> str:
        """Return what a user is told about a lattice that it beats."""
        cell = " ".join(f"{value:.1f}" for value in metric_cell(self.a_matrix))
        return (
            f"best lattice explains {len(suspect.refined.spots)} of {len(suspect.spots.s1)} spots, "
            f"but one with the primitive cell {cell} explains {self.n_spots}, and is likelier"
        )


@dataclass(frozen=True)
class Suspect:
    """A lattice that is judged.

    Attributes
    ----------
    refined : the lattice
    spots : all spots that it was to explain
    target : cell looked for
    settings : limits
    """

    refined: Refined
    spots: ShotSpots
    target: TargetLattice
    settings: IndexSettings

    @cached_property
    def odds(self) -> float:
        """Logarithm of its odds against chance."""
        return log_odds(self.refined, self.spots, self.target, self.settings.cell_sigma)

    @property
    def primitive(self) -> Array:
        """(3, 3) rows: real vectors of the reduced primitive cell [Angstrom]."""
        return np.asarray(self.target.primitive @ np.linalg.inv(self.refined.a_matrix))

    def shares_indices(self, rival: Refined) -> bool:
        """Return whether a rival's spots have the indices of the primitive cell that they have."""
        mine, its = np.intersect1d(self.refined.spots, rival.spots, return_indices=True)[1:]
        own = np.rint(self.refined.hkl[mine] @ self.target.primitive.T)
        n_same = np.sum(np.all(own == rival.hkl[its], axis=1))
        return bool(n_same >= SAME_INDICES * len(rival.spots))

    @property
    def low_q(self) -> Array:
        """Scattering vectors (n, 3) of the spots that rivals are sought with [1/Angstrom]."""
        q = self.spots.q
        return np.asarray(q[low_resolution(q)[0]])


def near_rival(suspect: Suspect) -> Rival | None:
    """Return the likeliest of the cells derived from a lattice's own; None if it has no equal."""
    share = len(suspect.refined.spots) / len(suspect.spots.s1)
    candidates = list(_multiples(suspect))
    if share < SURE_SHARE or suspect.odds < SURE_EACH * len(suspect.refined.spots):
        candidates += _changed(suspect)
    rivals = [_refined(real, log_prior, suspect) for real, log_prior in candidates]
    rivals += _too_large(suspect)
    better = (rival for rival in rivals if rival.beats(suspect))
    return max(better, key=lambda rival: rival.odds, default=None)


def far_rival(suspect: Suspect, n_explained: int) -> Rival | None:
    """Return a lattice of any other cell that is likelier; None if there is none.

    Parameters
    ----------
    suspect : best lattice of a shot
    n_explained : spots that all its lattices explain
    """
    n_spots, least = len(suspect.spots.s1), suspect.settings.min_spots
    if n_explained >= EXPLAINED * n_spots or n_spots - n_explained < least:
        return None
    longest = float(np.linalg.norm(suspect.primitive, axis=1).max())
    found = find_cell(suspect.spots, ROOM * longest, least)
    if found is None:
        return None
    rival = Rival(found.a_matrix, found.n_indexed, found.log_odds, SAME_FAR)
    return rival if rival.beats(suspect) else None


def _refined(real: Array, log_prior: float, suspect: Suspect) -> Rival:
    """Return the lattice of real vectors (3, 3) refined as if its cell had been looked for."""
    a_matrix, sigma = np.asarray(np.linalg.inv(real)), suspect.settings.cell_sigma
    target = without_symmetry(a_matrix)
    refined = refine(suspect.spots, a_matrix, target, sigma)
    odds = log_odds(refined, suspect.spots, target, sigma) + log_prior
    same = SAME_STRAINED if suspect.shares_indices(refined) else SAME_NEAR
    return Rival(refined.a_matrix, len(refined.spots), odds, same)


def _changed(suspect: Suspect) -> list[tuple[Array, float]]:
    """Return real vectors of a lattice with one cell parameter changed, and log priors.

    The best change of each parameter is returned: which parameter is wrong shows only when the
    lattice is refined, since a cell off in one of them is followed a little way by the others.
    So near to each other are the changes tried that refinement leads from one to the next: they
    count as one try a parameter.
    """
    changes = np.zeros((len(PARAMETERS), len(CHANGES), 3, 3))
    for number, (row, column) in enumerate(PARAMETERS):
        changes[number, :, row, column] = CHANGES
    axes = np.linalg.inv(suspect.refined.a_matrix)
    lengths = np.linalg.norm(axes, axis=1)
    moved = axes + lengths[:, None] * (changes.reshape(-1, 3, 3) @ (axes / lengths[:, None]))
    lattices = np.asarray(np.linalg.inv(suspect.target.primitive @ moved))
    volume = suspect.target.primitive_volume_ang3
    lattices, scores = settled(lattices, suspect.low_q, volume)
    best = np.argmax(scores.reshape(len(PARAMETERS), -1), axis=1)
    rows = best + len(CHANGES) * np.arange(len(PARAMETERS))
    return [(np.linalg.inv(lattices[row]), -np.log(len(rows))) for row in rows]


def _multiples(suspect: Suspect) -> Iterator[tuple[Array, float]]:
    """Yield real vectors of the best larger and smaller cell that fit better, and log priors."""
    smaller = np.linalg.inv(SUBLATTICES).transpose(0, 2, 1)
    for bases, odds in ((SUBLATTICES, 1.0), (smaller, TOO_LARGE_ODDS)):
        real = np.concatenate([np.eye(3)[None], bases]) @ suspect.primitive
        scores = lattice_scores(real, np.abs(np.linalg.det(real)), suspect.low_q)
        best = int(np.argmax(scores))
        if best:
            yield real[best], -np.log(odds * len(bases))


def _too_large(suspect: Suspect) -> list[Rival]:
    """Return the cell that is a half or a third of the lattice's own, if its points hold the spots.

    Every spot on them gains the logarithm of the index; one that is off them loses all.
    """
    refined = suspect.refined
    hkl = refined.hkl @ suspect.target.primitive.T
    inside = np.einsum("ni,sij->snj", hkl, np.linalg.inv(SUBLATTICES))
    n_off = np.any(np.abs(inside - np.rint(inside)) > 1e-6, axis=2).sum(axis=1)
    gain = (len(hkl) - n_off) * np.log(np.linalg.det(SUBLATTICES))
    gain -= n_off * suspect.odds / len(hkl) + np.log(TOO_LARGE_ODDS * len(SUBLATTICES))
    best = int(np.argmax(gain))
    real = np.linalg.inv(SUBLATTICES[best]).T @ suspect.primitive
    a_matrix = np.asarray(np.linalg.inv(real))
    n_on = len(hkl) - int(n_off[best])
    return [Rival(a_matrix, n_on, suspect.odds + float(gain[best]))]
