"""The merged data as a table of unique reflections."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.french_wilson import french_wilson
from xfel_apps.compute.sums import Sums
from xfel_apps.compute.wilson import Prior
from xfel_apps.intensities.asu import UniqueReflections

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Mean:
    """A mean of each unique reflection: intensity, sigma (NaN where unmeasured), observations."""

    intensity: Array
    sigma: Array
    count: NDArray[np.int64]

    def where(self, chosen: NDArray[np.bool_]) -> "Mean":
        """Return the means of the chosen reflections, the others unmeasured."""
        return Mean(
            np.where(chosen, self.intensity, np.nan),
            np.where(chosen, self.sigma, np.nan),
            np.where(chosen, self.count, 0),
        )


@dataclass(frozen=True)
class Limits:
    """Which reflections count as measured.

    Attributes
    ----------
    min_observations : at least so many
    max_relative_sigma : one of average intensity would have at most a standard error of so many
        times that average
    """

    min_observations: int
    max_relative_sigma: float


@dataclass(frozen=True)
class Merged:
    """What all ranks' observations make together.

    Attributes
    ----------
    unique : the unique reflections
    mean : of all observations of each
    halves : of those of each half of the crystals
    mates : of the reflections in the asymmetric unit and of their Friedel mates; None if together
    mates_of_halves : the same in each half
    expected : (n,) mean intensity expected at the resolution of each (Wilson)
    amplitude, amplitude_sigma : (n,) |F| by French & Wilson, NaN where unmeasured
    """

    unique: UniqueReflections
    mean: Mean
    halves: tuple[Mean, Mean]
    mates: tuple[Mean, Mean] | None
    mates_of_halves: tuple[tuple[Mean, Mean], tuple[Mean, Mean]] | None
    expected: Array
    amplitude: Array
    amplitude_sigma: Array

    @property
    def is_measured(self) -> NDArray[np.bool_]:
        """Return which unique reflections were merged (n,)."""
        return np.isfinite(self.mean.intensity)


@dataclass(frozen=True)
class Half:
    """What half of the data makes.

    Attributes
    ----------
    sums : of all slots
    informing : (n_slots,) weights that the observations of a reflection of average intensity would
        have: the half has those that fulfil the limits by themselves
    """

    sums: Sums
    informing: Array


def build(
    unique: UniqueReflections,
    whole: tuple[Sums, NDArray[np.int64], Array],
    halves: tuple[Half, Half],
    prior: Prior,
    limits: Limits,
) -> Merged:
    """Return the merged data from the sums of slots.

    Parameters
    ----------
    whole : sums, numbers of observations, and weights that the observations of a reflection of
        average intensity would have, of all slots
    halves : of the data
    prior : expected intensities of all slots
    limits : which reflections count as measured
    """
    sums, counts, informing = whole
    each = unique.slots_each
    mean = _mean(sums, counts, each)
    expected = prior.mean[::each]
    limit = limits.max_relative_sigma * expected
    measured = (mean.count >= limits.min_observations) & _informed(informing, limit)
    mean = mean.where(measured)
    amplitude, sigma = np.full((2, len(unique)), np.nan)
    amplitude[measured], sigma[measured] = french_wilson(
        mean.intensity[measured], mean.sigma[measured], expected[measured], unique.centric[measured]
    )
    none = np.zeros_like(counts)
    in_half = [measured & _informed(half.informing, limit) for half in halves]
    first, second = (
        _mean(half.sums, none, each).where(chosen)
        for half, chosen in zip(halves, in_half, strict=True)
    )
    mates, first_mates, second_mates = (
        _mates(part, number, _mates_informed(told, limit) & chosen, unique.centric)
        if unique.friedel_apart
        else None
        for part, number, told, chosen in (
            (sums, counts, informing, measured),
            (halves[0].sums, none, halves[0].informing, in_half[0]),
            (halves[1].sums, none, halves[1].informing, in_half[1]),
        )
    )
    both = (first_mates, second_mates) if first_mates and second_mates else None
    return Merged(unique, mean, (first, second), mates, both, expected, amplitude, sigma)


def _informed(informing: Array, limit: Array) -> NDArray[np.bool_]:
    """Return which reflections (n,) have a standard error within `limit` (n,), mates together."""
    return np.asarray(informing.reshape(len(limit), -1).sum(axis=1) * limit**2 >= 1.0)


def _mates_informed(informing: Array, limit: Array) -> NDArray[np.bool_]:
    """Return which mates (2, n) have a standard error within `limit` (n,), each by itself."""
    return np.stack([_informed(informing[mate::2], limit) for mate in (0, 1)])


def _mean(sums: Sums, counts: NDArray[np.int64], each: int) -> Mean:
    """Return means of unique reflections, mates together: sums add up."""
    weight = sums.weight.reshape(-1, each).sum(axis=1)
    weighted = sums.weighted.reshape(-1, each).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        intensity, sigma = weighted / weight, 1.0 / np.sqrt(weight)
    seen = weight > 0
    return Mean(intensity, sigma, counts.reshape(-1, each).sum(axis=1)).where(seen)


def _mates(
    sums: Sums,
    counts: NDArray[np.int64],
    measured: NDArray[np.bool_],
    centric: NDArray[np.bool_],
) -> tuple[Mean, Mean]:
    """Return means of the mates in the asymmetric unit and of their Friedel mates.

    Parameters
    ----------
    measured : (2, n) which of them count
    """
    plus, minus = (
        _mean(Sums(sums.weighted[i::2], sums.weight[i::2]), counts[i::2], 1) for i in (0, 1)
    )
    return plus.where(measured[0]), minus.where(measured[1] & ~centric)
