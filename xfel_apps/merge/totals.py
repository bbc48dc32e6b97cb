"""What all ranks know of scaling and averaging: the state after a cycle, and sums at the end."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.scaling import ErrorModel, Scales
from xfel_apps.compute.sums import Sums
from xfel_apps.compute.wilson import Prior
from xfel_apps.merge import modulation

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
MIN_SD_LOG, MAX_SD_LOG = 0.1, 2.0
SD_TILT_MRAD, MIN_SD_TILT_MRAD, MAX_SD_TILT_MRAD = 0.5, 0.05, 2.0
"""Spread of the crystals' tilts: expected at first, and the limits of what it is found to be."""
SD_WIDTH, MIN_SD_WIDTH, MAX_SD_WIDTH = 0.2, 0.02, 0.4
"""The same of the logarithms of the widths of their reflections."""


@dataclass(frozen=True)
class State:
    """What all ranks agree on after a cycle.

    Attributes
    ----------
    scales : of all crystals
    sums : of all slots, made with variances from `model` and `weigh_by`
    weigh_by : (n_slots,) mean intensities that gave the variances
    prior : expected intensities of all slots
    model : how variances are made
    modulation : (8,) coefficients, see `xfel_apps.merge.modulation`
    sd_log : spread of the crystals' log scales
    sd_tilt_mrad, sd_width : spread of their tilts, and of the logarithms of widths
    """

    scales: Scales
    sums: Sums
    weigh_by: Array
    prior: Prior
    model: ErrorModel
    modulation: Array
    sd_log: float = MAX_SD_LOG
    sd_tilt_mrad: float = SD_TILT_MRAD
    sd_width: float = SD_WIDTH

    @classmethod
    def first(cls, scales: Scales, n_slots: int, model: ErrorModel, **spreads: float) -> "State":
        """Return the state in which nothing has been summed yet, without modulation."""
        nothing = np.zeros(n_slots)
        prior = Prior(nothing, nothing)
        flat = np.zeros(modulation.N_COEFFICIENTS)
        return cls(scales, Sums(nothing, nothing), nothing, prior, model, flat, **spreads)

    @property
    def spreads(self) -> dict[str, float]:
        """Return the spreads by name."""
        names = ("sd_log", "sd_tilt_mrad", "sd_width")
        return {name: getattr(self, name) for name in names}

    def with_spreads(
        self, scales: Scales, unsure: Array, used: Mask, *, post_refine: bool
    ) -> "State":
        """Return the state with the spreads that scales of the crystals in use have.

        Parameters
        ----------
        unsure : (n_crystals, 6) variances of what is in the scales' table
        post_refine : whether tilts and widths are known
        """
        spread = np.var(scales.log_scale[used]) + unsure[used, 0].mean()
        state = replace(self, sd_log=float(np.clip(np.sqrt(spread), MIN_SD_LOG, MAX_SD_LOG)))
        if not post_refine:
            return state
        square = np.mean(scales.table[used] ** 2 + unsure[used], axis=0)
        tilt, width = np.sqrt(square[2:4].mean()), np.sqrt(square[4:6].mean())
        return replace(
            state,
            sd_tilt_mrad=float(np.clip(tilt, MIN_SD_TILT_MRAD, MAX_SD_TILT_MRAD)),
            sd_width=float(np.clip(width, MIN_SD_WIDTH, MAX_SD_WIDTH)),
        )


@dataclass(frozen=True)
class Target:
    """Intensities that scales are fitted to instead of the mean of the other crystals.

    Attributes
    ----------
    mean, variance : (n_slots,)
    is_known : (n_slots,)
    """

    mean: Array
    variance: Array
    is_known: Mask

    @classmethod
    def of(cls, sums: Sums, prior: Prior) -> "Target":
        """Return the intensities that sums and what is expected let expect."""
        return cls(*prior.posterior(sums), sums.weight > 0)


@dataclass(frozen=True)
class Totals:
    """Sums at the end, over the observations that are not rejected.

    Attributes
    ----------
    halves : sums of all slots in each half of the crystals
    counts : (n_slots,) observations
    information : (2, n_slots) weights in each half if every reflection had the mean intensity
        expected. They tell which reflections were recorded well enough, without looking at the
        intensity that was found: to choose by that would bias what is chosen.
    quiet : (n_slots,) weights by background noise alone
    """

    halves: tuple[Sums, Sums]
    counts: NDArray[np.int64]
    information: Array
    quiet: Array

    @classmethod
    def none(cls, n_slots: int) -> "Totals":
        """Return the sums of no observation."""
        zero = np.zeros(n_slots)
        return cls(
            (Sums(zero, zero), Sums(zero, zero)),
            zero.astype(np.int64),
            np.zeros((2, n_slots)),
            zero,
        )

    @property
    def sums(self) -> Sums:
        """Return the sums of both halves."""
        return self.halves[0].plus(self.halves[1])

    def plus(self, other: "Totals") -> "Totals":
        """Return the sums of the observations in either."""
        first, second = (
            mine.plus(others) for mine, others in zip(self.halves, other.halves, strict=True)
        )
        return Totals(
            (first, second),
            self.counts + other.counts,
            self.information + other.information,
            self.quiet + other.quiet,
        )
