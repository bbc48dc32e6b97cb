"""Where the diffraction of a lattice ends."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PER_SHELL = 25
"""Reflections a shell: the mean I/sigma of noise alone then scatters by 0.2."""


def resolution_limit_ang(
    d_ang: Array, i_over_sigma: Array, least: float, d_spots_ang: float
) -> float:
    """Return the resolution [Angstrom] to which a lattice diffracts.

    The mean I/sigma of shells of equally many reflections, each averaged with its neighbours, is
    followed outwards; the limit is where it falls below `least` for the first time and stays there
    for the next shell. Indexed spots are diffraction: the limit is never before the last of them.

    Parameters
    ----------
    d_ang : (n,) resolution of reflections well on the Ewald sphere
    i_over_sigma : (n,) theirs
    least : mean I/sigma at the limit
    d_spots_ang : resolution of the outermost indexed spots
    """
    if not len(d_ang):
        return d_spots_ang
    order = np.argsort(-d_ang)
    shells = np.array_split(order, max(1, round(len(order) / PER_SHELL)))
    means = np.array([i_over_sigma[shell].mean() for shell in shells])
    padded = np.concatenate([means[:1], means, means[-1:]])
    smooth = (padded[:-2] + 2.0 * padded[1:-1] + padded[2:]) / 4.0
    below = np.append(smooth < least, smooth[-1] < least)
    ends = np.flatnonzero(below[:-1] & below[1:])
    d_end = float(d_ang[shells[ends[0]][0]] if len(ends) else d_ang.min())
    return min(d_end, d_spots_ang) if d_spots_ang > 0.0 else d_end
