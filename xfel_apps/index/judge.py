"""Whether a lattice is believed: evidence against chance, fit, and the target cell."""

import numpy as np
from numpy.typing import NDArray

from xfel_apps.index.refine import Refined, ShotSpots, strain_from
from xfel_apps.index.settings import IndexSettings
from xfel_apps.index.target import TargetLattice

Array = NDArray[np.float64]

CELL_OF_ONE_SHOT = 0.01
"""Further lattices of a shot have the first one's cell lengths within this share."""
SURE_EACH = 1.5
"""Log odds a spot from which on a lattice may explain less than the least share: those of a wrong
cell fit loosely (0.4 to 0.7 a spot on real stills, right ones 1.7 and more)."""
SPLIT_CRYSTAL_DEG = 2.0
"""A further lattice nearer to one already found is another part of the same crystal."""


def log_odds(refined: Refined, spots: ShotSpots, target: TargetLattice, cell_sigma: float) -> float:
    """Return the logarithm of how much likelier the lattice makes the spots than chance does.

    Chance spreads spots evenly over the reciprocal cell; the lattice puts a share of them around
    its points, with the scatter that the refinement found. The likelihood ratio is integrated
    over orientations and cells by Laplace's method (the normal matrix gives the volume of those
    that fit), and charged for the three widths that were fitted too. The odds of spots that are
    random exceed K with a probability of at most 1 / K, whatever the number of spots.

    Source: MacKay (2003), Information Theory, Inference, and Learning Algorithms, chapter 28.
    """
    n, n_spots = len(refined.spots), len(spots.s1)
    if n < 3:
        return -np.inf
    share = n / (n_spots + 1.0)
    chi_square = np.sum((refined.residuals / refined.sigmas) ** 2, axis=1)
    log_density = (
        -0.5 * chi_square - np.sum(np.log(refined.sigmas), axis=1) - 1.5 * np.log(2 * np.pi)
    )
    crowding = share * np.exp(log_density) / target.primitive_volume_ang3
    fit = np.sum(np.log(1.0 - share + crowding)) + (n_spots - n) * np.log(1.0 - share)
    return float(fit + _log_prior(refined, target, cell_sigma) - 1.5 * np.log(n) - 2.0)


def _log_prior(refined: Refined, target: TargetLattice, cell_sigma: float) -> float:
    """Return the logarithm of the prior probability of the orientations and cells that fit."""
    strain = strain_from(target, refined.a_matrix)
    volume = 0.5 * len(refined.normal) * np.log(2.0 * np.pi)
    volume -= 0.5 * np.linalg.slogdet(refined.normal)[1]
    orientation = np.log(len(target.rotations) / (8.0 * np.pi**2))
    cell = -0.5 * np.sum((strain / cell_sigma) ** 2)
    cell -= 0.5 * len(strain) * np.log(2.0 * np.pi * cell_sigma**2)
    return float(volume + orientation + cell)


def _cell_refusal(refined: Refined, target: TargetLattice, settings: IndexSettings) -> str:
    """Return why the cell is not accepted; empty if it is."""
    length, angle = target.deviation(refined.a_matrix)
    if length > settings.max_length_deviation:
        return f"cell length deviates {100 * length:.1f} % from the target"
    if angle > settings.max_angle_deviation_deg:
        return f"cell angle deviates {angle:.1f} degrees from the target"
    return ""


def refusal(
    refined: Refined,
    odds: float,
    spots: ShotSpots,
    target: TargetLattice,
    settings: IndexSettings,
) -> str:
    """Return why the lattice is not accepted, given its log odds; empty if it is."""
    n_indexed = len(refined.spots)
    explains = f"best lattice explains {n_indexed} of {len(spots.s1)} spots"
    if n_indexed < settings.min_spots:
        return f"{explains}, {settings.min_spots} needed"
    if odds < -np.log(settings.max_chance):
        needed = 1 / settings.max_chance
        found = np.exp(min(odds, 99.0))
        return f"{explains}: odds against chance {found:.2g} to 1, {needed:.2g} needed"
    cell = _cell_refusal(refined, target, settings)
    if cell:
        return cell
    if odds < SURE_EACH * n_indexed and n_indexed < settings.min_share * len(spots.s1):
        return f"{explains}, {100 * settings.min_share:.0f} % needed"
    rmsd_px = np.sqrt(np.mean(np.sum(refined.residuals[:, 1:] ** 2, axis=1))) / spots.pixel_invang
    if rmsd_px > settings.max_rmsd_px:
        return f"spots lie {rmsd_px:.1f} px rms from where the best lattice predicts them"
    return ""


def another_crystal(refined: Refined, found: list[Refined], target: TargetLattice) -> bool:
    """Return whether a further lattice is a crystal of its own, like those already found.

    What a lattice leaves unexplained is not spread by chance but along its own rows (split or
    misfitted spots), and can mimic a lattice: one with another cell, or almost the same
    orientation.
    """
    if not found:
        return True
    lengths = np.linalg.norm(np.linalg.inv(refined.a_matrix), axis=1)
    first = np.linalg.norm(np.linalg.inv(found[0].a_matrix), axis=1)
    return bool(np.all(np.abs(lengths / first - 1.0) < CELL_OF_ONE_SHOT)) and all(
        target.misorientation_deg(refined.a_matrix, other.a_matrix) > SPLIT_CRYSTAL_DEG
        for other in found
    )
