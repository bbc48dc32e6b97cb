"""Statistics of merged data, by shell of resolution and overall."""

from dataclasses import asdict, dataclass

import gemmi
import numpy as np
from numpy.typing import NDArray

from xfel_apps.intensities.agreement import cc_star, correlation, r_split
from xfel_apps.intensities.cutoff import Cutoff, cutoff
from xfel_apps.intensities.scatter import IntensityBin, Scatter, by_intensity
from xfel_apps.intensities.table import Merged

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
WILSON_D_MAX_ANG = 4.5
"""Low-resolution end of Wilson plots: bulk solvent bends them beyond [Angstrom]."""
PROTEIN_ATOMS = {"C": 5.0, "N": 1.35, "O": 1.5, "H": 8.0, "S": 0.05}
"""Atoms of an average residue of a protein."""


@dataclass(frozen=True)
class ShellStatistics:
    """Statistics of the reflections in one shell.

    Attributes
    ----------
    d_max_ang, d_min_ang : its limits
    n_possible, n_unique : unique reflections there are, and that were merged
    n_observations : observations merged
    completeness : n_unique / n_possible
    multiplicity : observations a merged reflection
    mean_intensity, mean_i_over_sigma : of merged intensities
    cc_half : correlation of the half datasets' means; None if undefined
    cc_star : CC* = sqrt(2 CC1/2 / (1 + CC1/2))
    r_split : Rsplit
    cc_anom : correlation of the halves' Friedel differences; None if mates are together
    chi_square : mean square distance of repeated observations from their means in sigmas, 1 if
        sigmas are right; None if nothing was observed twice
    cc_reference, n_reference : correlation with the reference, over so many; None without one
    """

    d_max_ang: float
    d_min_ang: float
    n_possible: int
    n_unique: int
    n_observations: int
    completeness: float
    multiplicity: float
    mean_intensity: float | None
    mean_i_over_sigma: float | None
    cc_half: float | None
    cc_star: float | None
    r_split: float | None
    cc_anom: float | None
    chi_square: float | None
    cc_reference: float | None
    n_reference: int


@dataclass(frozen=True)
class Statistics:
    """Statistics of merged data: overall, by shell, and the Wilson plot.

    Attributes
    ----------
    overall, shells : shells in order from low to high resolution, of equal volume
    wilson_b_ang2 : B of the Wilson plot; None where it cannot be fitted
    wilson_s2_invang2, wilson_log_ratio : the plot: 1/(4 d^2), ln(<I> / sum f^2)
    cutoff : where the data end; nothing is cut by it
    intensities : scatter of repeated observations in bins of merged intensity
    """

    overall: ShellStatistics
    shells: tuple[ShellStatistics, ...]
    wilson_b_ang2: float | None
    wilson_s2_invang2: tuple[float, ...]
    wilson_log_ratio: tuple[float, ...]
    cutoff: Cutoff
    intensities: tuple[IntensityBin, ...]

    def as_dict(self) -> dict[str, object]:
        """Return plain numbers for JSON, and `resolution_limit`, the cutoff in words."""
        return {**asdict(self), "resolution_limit": self.cutoff.sentence()}


def shell_edges_ang(d_ang: Array, n_shells: int) -> Array:
    """Return limits (n_shells + 1,) of shells of equal volume, from low to high resolution."""
    cubes = np.linspace(d_ang.max() ** -3, d_ang.min() ** -3, n_shells + 1)
    return np.asarray(cubes ** (-1 / 3))


def shell_of(d_ang: Array, edges_ang: Array) -> NDArray[np.int64]:
    """Return the shell (n,) of each reflection, from 0 at low resolution.

    >>> shell_of(np.array([10.0, 3.0, 2.0]), np.array([10.0, 2.5, 2.0])).tolist()
    [0, 0, 1]
    """
    number = np.searchsorted(-edges_ang[1:-1], -d_ang, side="left")
    return np.asarray(number, dtype=np.int64)


def statistics(
    merged: Merged, scattered: Scatter, n_shells: int, reference: Array | None = None
) -> Statistics:
    """Return the statistics of merged data.

    Parameters
    ----------
    scattered : of the repeated observations
    reference : (n,) intensities of the unique reflections to compare with, NaN where unknown
    """
    d_ang = merged.unique.d_ang
    edges = shell_edges_ang(d_ang, n_shells)
    number = shell_of(d_ang, edges)
    shells = tuple(
        _shell(merged, scattered, number == i, (edges[i], edges[i + 1]), reference)
        for i in range(n_shells)
    )
    everything = np.ones(len(d_ang), dtype=bool)
    overall = _shell(merged, scattered, everything, (edges[0], edges[-1]), reference)
    b_ang2, s2, log_ratio = wilson_plot(merged)
    points = tuple(s2.tolist()), tuple(log_ratio.tolist())
    bins = by_intensity(merged, scattered)
    return Statistics(overall, shells, b_ang2, *points, cutoff(merged), bins)


def _shell(
    merged: Merged,
    scattered: Scatter,
    inside: Mask,
    limits_ang: tuple[float, float],
    reference: Array | None,
) -> ShellStatistics:
    """Return the statistics of the reflections `inside`."""
    chosen = inside & merged.is_measured
    n_unique, n_possible = int(chosen.sum()), int(inside.sum())
    n_observations = int(merged.mean.count[chosen].sum())
    intensity, sigma = merged.mean.intensity[chosen], merged.mean.sigma[chosen]
    first, second = (half.intensity[chosen] for half in merged.halves)
    cc_half = correlation(first, second)
    against = np.full(n_unique, np.nan) if reference is None else reference[chosen]
    return ShellStatistics(
        d_max_ang=float(limits_ang[0]),
        d_min_ang=float(limits_ang[1]),
        n_possible=n_possible,
        n_unique=n_unique,
        n_observations=n_observations,
        completeness=n_unique / max(n_possible, 1),
        multiplicity=n_observations / max(n_unique, 1),
        mean_intensity=float(intensity.mean()) if n_unique else None,
        mean_i_over_sigma=float((intensity / sigma).mean()) if n_unique else None,
        cc_half=cc_half,
        cc_star=cc_star(cc_half),
        r_split=r_split(first, second),
        cc_anom=_cc_anom(merged, chosen),
        chi_square=scattered.chi_square(chosen),
        cc_reference=correlation(intensity, against),
        n_reference=int(np.isfinite(against).sum()),
    )


def _cc_anom(merged: Merged, chosen: Mask) -> float | None:
    """Return the correlation of the Friedel differences of the half datasets."""
    if merged.mates_of_halves is None:
        return None
    first, second = (
        (plus.intensity - minus.intensity)[chosen] for plus, minus in merged.mates_of_halves
    )
    return correlation(first, second)


def wilson_plot(merged: Merged) -> tuple[float | None, Array, Array]:
    """Return B [Angstrom^2], and the points 1/(4 d^2), ln(<I> / sum f^2) it is the slope of.

    The composition is an average protein's; ln(<I> / sum f^2) = const - 2 B / (4 d^2).
    Source: Wilson (1942), Nature 150, 152.
    """
    value = merged.mean.intensity / merged.unique.epsilon
    s2 = 0.25 / merged.unique.d_ang**2
    order = np.argsort(s2, kind="stable")
    order = order[np.isfinite(value[order])]
    shells = np.array_split(order, int(np.clip(len(order) // 100, 1, 30))) if len(order) else []
    points = [(s2[i].mean(), value[i].mean()) for i in shells if len(i) and value[i].mean() > 0]
    if not points:
        return None, np.empty(0), np.empty(0)
    centre, mean = np.array(points).T
    log_ratio = np.log(mean / _mean_square_factor(centre))
    fitted = centre > 0.25 / WILSON_D_MAX_ANG**2
    if fitted.sum() < 3:
        return None, centre, log_ratio
    slope = np.polyfit(centre[fitted], log_ratio[fitted], 1)[0]
    return float(-0.5 * slope), centre, log_ratio


def _mean_square_factor(s2: Array) -> Array:
    """Return the sum of squared scattering factors of an average residue."""

    def factor(name: str, s2_invang2: float) -> float:
        return float(gemmi.Element(name).it92.calculate_sf(s2_invang2))

    return np.array(
        [sum(n * factor(name, x) ** 2 for name, n in PROTEIN_ATOMS.items()) for x in s2]
    )
