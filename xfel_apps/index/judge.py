"""Whether a lattice is believed: spots explained against chance, fit, and the target cell."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from xfel_apps.index.refine import Refined, ShotSpots
from xfel_apps.index.search import reach_invang, share_of_space
from xfel_apps.index.settings import IndexSettings
from xfel_apps.index.target import TargetLattice

Array = NDArray[np.float64]

SHAPES_TRIED = 30.0
"""Cells and spots are also fitted, not only orientations: this many more chances to fit."""


def random_lattices(spots: ShotSpots, n_indexed: int, target: TargetLattice) -> float:
    """Return how many random lattices are expected to explain `n_indexed` of the spots.

    The number of distinguishable orientations times the binomial tail: the probability that a
    random orientation brings that many spots within reach of lattice points (the mean
    probability of the spots bounds the tail of unequal ones; Hoeffding 1956).
    """
    size = np.linalg.norm(spots.q, axis=1)
    reach = reach_invang(spots.q, target.primitive_volume_ang3)
    share = float(share_of_space(reach, target.primitive_volume_ang3).mean())
    turn = float(np.median(reach / size))
    orientations = 8.0 * np.pi**2 / len(target.rotations) / (4.19 * turn**3)
    tail = float(betainc(n_indexed, len(size) - n_indexed + 1.0, share)) if n_indexed else 1.0
    return float(min(orientations, 1e15)) * SHAPES_TRIED * tail


def refusal(
    refined: Refined, spots: ShotSpots, target: TargetLattice, settings: IndexSettings
) -> str:
    """Return why the lattice is not accepted; empty if it is."""
    n_indexed, n_spots = len(refined.spots), len(spots.s1)
    if n_indexed < settings.min_spots:
        return f"best lattice explains {n_indexed} of {n_spots} spots, {settings.min_spots} needed"
    chance = random_lattices(spots, n_indexed, target)
    if chance > settings.max_chance:
        return (
            f"best lattice explains {n_indexed} of {n_spots} spots: "
            f"{chance:.2g} random ones would do as well"
        )
    length, angle = target.deviation(refined.a_matrix)
    if length > settings.max_length_deviation:
        return f"cell length deviates {100 * length:.1f} % from the target"
    if angle > settings.max_angle_deviation_deg:
        return f"cell angle deviates {angle:.1f} degrees from the target"
    rmsd_px = np.sqrt(np.mean(np.sum(refined.residuals[:, 1:] ** 2, axis=1))) / spots.pixel_invang
    if rmsd_px > settings.max_rmsd_px:
        return f"spots lie {rmsd_px:.1f} px rms from where the best lattice predicts them"
    return ""
