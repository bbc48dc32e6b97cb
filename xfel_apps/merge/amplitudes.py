"""Amplitudes of each crystal by itself, without its scale and fall-off, to compare crystals by."""

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.french_wilson import normalized_amplitude
from xfel_apps.compute.sums import total_by
from xfel_apps.merge.observations import Observations

Array = NDArray[np.float64]
Index = NDArray[np.integer]

SHELL_ROWS = 25
"""Reflections of a crystal, next to each other in resolution, that give its mean intensity."""
HIGHEST = 3.0
"""Normalised amplitudes are cut to this size."""
GRID_Z = 2.0**10
"""Steps in one of the grid of normalised amplitudes."""


def normalized(obs: Observations, s2: Array) -> Array:
    """Return amplitudes without scale or fall-off, as far as noise lets know, about zero.

    An intensity is divided by the mean of the crystal's reflections at about its resolution; what
    is taken is the amplitude expected (French & Wilson 1978), less its mean: where noise hides the
    intensity that is next to nothing.

    Parameters
    ----------
    s2 : (n,) 1 / (4 d^2) of each [1/Angstrom^2]
    """
    shell, n_shells = _shells(obs.crystal, s2)
    intensity, partiality = obs.intensity.astype(float), obs.partiality.astype(float)
    variance = obs.noise.astype(float) + np.maximum(intensity, 0)
    noise = np.sqrt(total_by(shell, variance, n_shells))
    level = np.maximum(total_by(shell, intensity, n_shells), noise)
    level /= np.maximum(total_by(shell, partiality, n_shells), 1e-6)
    unit = np.maximum(partiality * level[shell], 1e-30)
    amplitude = normalized_amplitude(intensity / unit, np.sqrt(variance) / unit)
    mean = total_by(shell, amplitude, n_shells) / np.bincount(shell, minlength=n_shells)
    z = np.clip(amplitude - mean[shell], -HIGHEST, HIGHEST)
    return np.asarray(np.rint(z * GRID_Z) / GRID_Z)


def _shells(crystal: Index, s2: Array) -> tuple[NDArray[np.int64], int]:
    """Return a number for each row, the same for neighbours in resolution in one crystal."""
    if not len(crystal):
        return np.zeros(0, dtype=np.int64), 0
    order = np.lexsort((s2, crystal))
    start = np.flatnonzero(np.diff(crystal, prepend=-1))
    length = np.diff(start, append=len(crystal))
    place = np.arange(len(crystal)) - np.repeat(start, length)
    n_each = np.maximum(length // SHELL_ROWS, 1)
    first = np.cumsum(n_each) - n_each
    number = np.empty(len(crystal), dtype=np.int64)
    place *= np.repeat(n_each, length)
    number[order] = np.repeat(first, length) + place // np.repeat(length, length)
    return number, int(n_each.sum())
