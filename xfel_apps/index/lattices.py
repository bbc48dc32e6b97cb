"""All lattices of one shot: search, refine, judge, take the explained spots away, again."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xfel_apps.index.judge import another_crystal, refusal
from xfel_apps.index.refine import Refined, ShotSpots, nearest_points, refine
from xfel_apps.index.rivals import Suspect, far_rival, near_rival
from xfel_apps.index.search import STRAIN_REACH, Orientations, reach_invang, search
from xfel_apps.index.settings import IndexSettings
from xfel_apps.index.target import TargetLattice

Array = NDArray[np.float64]

N_REFINED = 4
"""Orientations of one search that are refined and judged."""
CELL_OFF = 0.01
"""Relative error of the target cell that the second try bears with."""
MOST_SEARCHED = 200
"""Spots that are searched with: of more, the best located ones, which are the strongest."""
SUBSET = 0.6
"""Share of the spots in a random subset."""
WORTH_REFINING = 0.6
"""Share of the best orientation's score that others must have to be refined too."""


@dataclass(frozen=True)
class Indexed:
    """Lattices found in a shot.

    Attributes
    ----------
    lattices : refined and accepted, in the representative orientation, most spots first
    reason : why there are none; empty where there are
    """

    lattices: tuple[Refined, ...]
    reason: str


def index_spots(
    spots: ShotSpots, target: TargetLattice, settings: IndexSettings, seed: int
) -> Indexed:
    """Return the lattices of `target` that explain the spots.

    Parameters
    ----------
    spots : all good spots of the shot
    target : lattice looked for
    settings : limits
    seed : of the random subsets; the shot's own, so that results do not depend on ranks
    """
    left = np.arange(len(spots.s1))
    found: list[Refined] = []
    reason = ""
    while len(found) < settings.max_lattices:
        if len(left) < settings.min_spots:
            reason = f"{len(left)} spots, {settings.min_spots} needed"
            break
        n_tries = 0 if found else settings.tries
        best, reason = _one_lattice(spots.take(left), target, settings, (seed, n_tries))
        if best is None or not another_crystal(best, found, target):
            break
        found.append(replace(_canonical(best, target), spots=left[best.spots]))
        left = left[_unexplained(spots.take(left), best, target)]
    if found:
        first = Suspect(found[0], spots, target, settings)
        rival = far_rival(first, sum(len(one.spots) for one in found))
        if rival is not None:
            return Indexed((), rival.verdict(first))
    return Indexed(tuple(found), "" if found else reason)


def _one_lattice(
    spots: ShotSpots, target: TargetLattice, settings: IndexSettings, seed: tuple[int, int]
) -> tuple[Refined | None, str]:
    """Return the best accepted lattice, or none and why.

    All spots are tried first, then all again for a cell that is off, then random subsets. A
    lattice has to be likelier than every rival of another cell that has turned up.
    """
    reason = ""
    number, n_tries = seed
    rival_odds = -np.inf
    for attempt in range(n_tries + 1):
        rows = _subset(spots, settings.min_spots, number, attempt)
        strain = CELL_OFF if attempt == 1 else STRAIN_REACH
        best, said = _attempt(spots, search(spots.q[rows], target, strain), target, settings)
        if best is not None and best.odds > rival_odds:
            rival = near_rival(best)
            if rival is None:
                return best.refined, ""
            rival_odds, said = rival.odds, rival.verdict(best)
        reason = reason or said
    return None, reason


def _subset(spots: ShotSpots, least: int, seed: int, attempt: int) -> NDArray[np.intp]:
    """Return the strongest spots at first, then random subsets that depend on the seed only."""
    strongest = np.argsort(spots.sigma, kind="stable")[:MOST_SEARCHED]
    if attempt >= 2:
        rng = np.random.default_rng([seed, attempt])
        rng.shuffle(strongest)
        strongest = strongest[: max(least, int(SUBSET * len(strongest)))]
    return np.sort(strongest)


def _attempt(
    spots: ShotSpots, found: Orientations, target: TargetLattice, settings: IndexSettings
) -> tuple[Suspect | None, str]:
    """Return the best acceptable lattice of those that a search found, judged with all spots."""
    best: Suspect | None = None
    reason = ""
    promising = found.scores[:N_REFINED] >= WORTH_REFINING * found.scores[0]
    for primitive in found.a_matrices[:N_REFINED][promising]:
        refined = refine(spots, target.conventional(primitive), target, settings.cell_sigma)
        suspect = Suspect(refined, spots, target, settings)
        said = refusal(refined, suspect.odds, spots, target, settings)
        reason = reason or said
        if not said and (best is None or suspect.odds > best.odds):
            best = suspect
    return best, reason


def _canonical(refined: Refined, target: TargetLattice) -> Refined:
    """Return the lattice in its representative orientation, indices relabelled."""
    turn = target.representative_turn(refined.a_matrix)
    back = np.rint(np.linalg.inv(turn)).astype(np.int64)
    return replace(refined, a_matrix=refined.a_matrix @ turn, hkl=refined.hkl @ back.T)


def _unexplained(spots: ShotSpots, lattice: Refined, target: TargetLattice) -> NDArray[np.intp]:
    """Return the rows of spots that are not near any point of the lattice."""
    q = spots.q
    points = nearest_points(q, lattice.a_matrix, target) @ lattice.a_matrix.T
    near = np.linalg.norm(q - points, axis=1) < reach_invang(q, target.primitive_volume_ang3, 1.5)
    near[lattice.spots] = True
    return np.flatnonzero(~near)
