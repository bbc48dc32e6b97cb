"""The mosaic model of a lattice, told by reflections that are present and by those that are absent.

The width across the Ewald sphere is the same for a small block at every resolution and grows with
|q| for an angular spread. Strong spots alone show neither: where reflections are weak only those
near the sphere are found. Here every predicted reflection counts. In a resolution shell intensities
follow Wilson's statistics, exponential with the shell's mean intensity times the partiality, to
which counting adds normal noise; the model is the most likely one. A still of some hundred
reflections gives the width to some percent and hardly says which part of it is spread: `WidthFit`
keeps the likelihood of every spread, so that those of a run can be added up.

Sources: Sauter et al. (2014), Acta Cryst. D70, 3299-3309 (maximum likelihood of both parts, from
excitation errors); Wilson (1949), Acta Cryst. 2, 318-321 (intensities).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from xfel_apps.geometry.mosaic import SCHERRER, Falloff, Mosaic, falls_to

Array = NDArray[np.float64]

SPREADS_DEG = np.array([0.0, 0.02, 0.04, 0.06, 0.09, 0.13, 0.2, 0.3, 0.45, 0.7])
"""Mosaic spreads whose likelihoods are worked out [degree]."""

EXPECTED_SPREAD_DEG = 0.2
"""Before the reflections are seen, the spread is exponential with this mean [degree]."""

SCALES = np.geomspace(0.25, 2.2, 16)
"""Factors on the expected width that are tried at first."""

FINE_SCALES = np.exp(np.linspace(-0.5, 0.5, 9))
"""Factors on the best of them that are tried with every spread."""

FIRST_SHARE = 0.3
"""Share of the spread in the squared width at the middle |q|, at first."""

LEAST_BLOCK = 0.02
"""Share of the block in the squared width at the middle |q|, at least."""

PER_SHELL = 60
"""Reflections a resolution shell; each has a mean intensity of its own."""

ALIEN = 0.05
"""Share of reflections whose pixels hold a spot of something else."""

ABSENT = 0.03
"""Mean intensities below this times sigma cannot be told from none."""

FAINT = 0.1
"""Mean intensities of shells are taken to be at least this times sigma."""

PRIOR_SPREAD = 0.7
"""Standard deviation of the width's natural logarithm before the reflections are seen."""


@dataclass(frozen=True)
class Seen:
    """Reflections of one lattice that the fit looks at.

    Attributes
    ----------
    excitation_invang : (n,) distance from the Ewald sphere [1/Angstrom]
    q_length_invang : (n,) |q| [1/Angstrom]
    intensity, variance : (n,) sums [photon]
    strength : (n,) how the mean intensity goes with resolution, up to a factor
    """

    excitation_invang: Array
    q_length_invang: Array
    intensity: Array
    variance: Array
    strength: Array

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "Seen":
        """Return some of the reflections."""
        return Seen(*(values[rows] for values in vars(self).values()))

    def shells(self) -> list["Seen"]:
        """Return the reflections in shells of resolution."""
        order = np.argsort(self.q_length_invang, kind="stable")
        n_shells = max(1, len(order) // PER_SHELL)
        return [self.take(rows) for rows in np.array_split(order, n_shells)]


@dataclass(frozen=True)
class WidthFit:
    """What the reflections say of the mosaic model.

    Attributes
    ----------
    mosaic : spread and blocks: the mean over all spreads, each as likely as it is
    log_likelihood : (n_spreads,) of `SPREADS_DEG`, each with the blocks that go best with it,
        relative to the most likely
    """

    mosaic: Mosaic
    log_likelihood: Array

    @classmethod
    def unseen(cls, mosaic: Mosaic) -> "WidthFit":
        """Return the fit to nothing."""
        return cls(mosaic, np.zeros(len(SPREADS_DEG)))


def fit_width(seen: Seen, expected: Mosaic, falloff: Falloff) -> WidthFit:
    """Return the mosaic model that explains the intensities of a lattice best.

    Parameters
    ----------
    seen : reflections up to about twice the expected width, present or not
    expected : width before they are seen
    falloff : of the partiality
    """
    if not len(seen.intensity):
        return WidthFit.unseen(expected)
    shells = seen.shells()
    middle = _middle_invang(shells)
    start = 2.0 * float(expected.half_width_invang(np.array([middle]))[0])

    def models(width: Array, spread_rad: Array) -> _Models:
        block2 = width**2 - (spread_rad * middle) ** 2
        return _Models(np.maximum(block2, LEAST_BLOCK * width**2), spread_rad**2, falloff)

    def misfit(shells: list[Seen], width: Array, spread_rad: Array) -> Array:
        total = 0.5 * (np.log(width / start) / PRIOR_SPREAD) ** 2
        tried = models(width, spread_rad)
        return np.asarray(sum((_misfit(shell, tried) for shell in shells), start=total))

    widths = start * SCALES
    first = misfit(shells, widths, np.sqrt(FIRST_SHARE) * widths / middle)
    width = widths[np.argmin(first)][None]
    shells = _fall_off(shells, models(width, np.sqrt(FIRST_SHARE) * width / middle))
    widths, spreads = width * FINE_SCALES, np.radians(SPREADS_DEG)
    grid = misfit(shells, np.tile(widths, len(spreads)), np.repeat(spreads, len(widths)))
    best, log_width = _lowest(grid.reshape(len(spreads), len(widths)), np.log(widths))
    log_likelihood = best.min() - best
    return WidthFit(_mean_model(log_likelihood, log_width, middle), log_likelihood)


def _middle_invang(shells: list[Seen]) -> float:
    """Return the rms |q| of what tells the width, where width and spread are least confused."""
    strength = [np.mean(shell.intensity / np.sqrt(shell.variance)) for shell in shells]
    weight = np.clip(strength, FAINT, 1.0)
    mean2 = [np.mean(shell.q_length_invang**2) for shell in shells]
    return float(np.sqrt(np.average(mean2, weights=weight)))


@dataclass(frozen=True)
class _Models:
    """Squared full widths (m,) of blocks [1/Angstrom^2] and spreads [rad^2], and the falloff."""

    block2: Array
    spread2: Array
    falloff: Falloff

    def partiality(self, shell: Seen) -> Array:
        """Return the partialities (m, n) of reflections."""
        width = np.sqrt(self.block2[:, None] + self.spread2[:, None] * shell.q_length_invang**2)
        return falls_to(2.0 * shell.excitation_invang / width, self.falloff)


def _fall_off(shells: list[Seen], model: _Models) -> list[Seen]:
    """Return shells whose strength is interpolated between their mean intensities by one model.

    Within a shell of some width, intensities that fall would otherwise look like a spread less.
    """
    at = [shell.q_length_invang.mean() for shell in shells]
    means = [_mean(model.partiality(shell), shell.intensity, shell.variance) for shell in shells]
    least = [FAINT * np.sqrt(np.median(shell.variance)) for shell in shells]
    strength = np.log(np.maximum(np.ravel(means), least))
    return [
        replace(shell, strength=np.exp(np.interp(shell.q_length_invang, at, strength)))
        for shell in shells
    ]


def _mean_model(log_likelihood: Array, log_width: Array, middle: float) -> Mosaic:
    """Return the model of the mean spread, with the width that goes with it at the middle |q|."""
    weight = np.gradient(SPREADS_DEG) * np.exp(log_likelihood - SPREADS_DEG / EXPECTED_SPREAD_DEG)
    spread_deg = float(weight @ SPREADS_DEG / weight.sum())
    width = float(np.exp(np.interp(spread_deg, SPREADS_DEG, log_width)))
    block2 = max(width**2 - (np.radians(spread_deg) * middle) ** 2, LEAST_BLOCK * width**2)
    return Mosaic(spread_deg, float(SCHERRER / np.sqrt(block2)))


def _lowest(values: Array, places: Array) -> tuple[Array, Array]:
    """Return lowest values (n,) of rows (n, m) at equally spaced places (m,), and where they are.

    A parabola through the lowest and its neighbours is taken.
    """
    row = np.arange(len(values))
    at = np.clip(np.argmin(values, axis=1), 1, len(places) - 2)
    left, middle, right = (values[row, at + step] for step in (-1, 0, 1))
    curvature = np.maximum(left - 2.0 * middle + right, 1e-9)
    step = np.clip(0.5 * (left - right) / curvature, -1.0, 1.0)
    low = middle + 0.5 * step * (right - left) + 0.5 * step**2 * curvature
    return low, places[at] + step * (places[1] - places[0])


def _misfit(shell: Seen, models: _Models) -> Array:
    """Return minus the log likelihood (m,) of a shell for m models."""
    expected = models.partiality(shell) * shell.strength
    intensity, variance = shell.intensity, shell.variance
    mean = _mean(expected, intensity, variance)
    own = _log_density(expected * mean, intensity, variance)
    alien = _log_density(shell.strength * mean, intensity, variance)
    return np.asarray(-np.sum(np.logaddexp(own + np.log1p(-ALIEN), alien + np.log(ALIEN)), axis=1))


def _log_density(expected: Array, intensity: Array, variance: Array) -> Array:
    """Return the log density (m, n) of intensities: exponential of mean `expected`, and noise."""
    sigma = np.sqrt(variance)
    expected = np.maximum(expected, ABSENT * sigma)
    tail = log_ndtr(intensity / sigma - sigma / expected)
    return np.asarray(0.5 * variance / expected**2 - intensity / expected + tail - np.log(expected))


def _mean(partiality: Array, intensity: Array, variance: Array) -> Array:
    """Return the factor (m, 1) that scales what is expected (m, n), by least squares."""
    weight = 1.0 / variance
    mean = np.zeros((len(partiality), 1))
    for _ in range(3):
        top = np.sum(weight * partiality * intensity, axis=1, keepdims=True)
        bottom = np.sum(weight * partiality**2, axis=1, keepdims=True)
        mean = np.maximum(top / np.maximum(bottom, 1e-12), 0.0)
        weight = 1.0 / (variance + (mean * partiality) ** 2)
    return mean
