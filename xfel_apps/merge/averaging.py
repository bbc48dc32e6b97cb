"""Scaling and averaging on many ranks, in two views of the same observations.

`mine` has the observations of this rank's crystals, `owned` all observations of the slots that
this rank averages (slot modulo the number of ranks). Scales are fitted in the first view, means in
the second. What is exchanged in a cycle is one number a slot and two a crystal. Every sum runs in
the order of (slot, crystal) or of (crystal, row), whatever the number of ranks.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xfel_apps import mpi
from xfel_apps.compute.scaling import (
    ErrorModel,
    Prior,
    Residuals,
    ScalePrior,
    Scales,
    Sums,
    impossible,
    leave_one_out,
    scale_step,
    slot_sums,
    wilson_prior,
    worst_of_slot,
)
from xfel_apps.merge import postrefine
from xfel_apps.merge.asu import UniqueReflections
from xfel_apps.merge.blocks import Block, blocks
from xfel_apps.merge.exchange import of_all_slots, to_owners
from xfel_apps.merge.observations import Observations

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
SD_B_ANG2 = 5.0
"""Standard deviation expected of the crystals' B factors [Angstrom^2]."""
MIN_SD_LOG, MAX_SD_LOG = 0.1, 2.0
SD_TILT_MRAD, MIN_SD_TILT_MRAD, MAX_SD_TILT_MRAD = 0.5, 0.05, 2.0
"""Spread of the crystals' tilts: expected at first, and the limits of what it is found to be."""
REJECTION_PASSES = 3
REFERENCE_SIGMA = 0.1
"""Error of a reference's intensities, as a share of the mean at their resolution."""


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
    sd_log : spread of the crystals' log scales
    sd_tilt_mrad : spread of their tilts
    """

    scales: Scales
    sums: Sums
    weigh_by: Array
    prior: Prior
    model: ErrorModel
    sd_log: float = MAX_SD_LOG
    sd_tilt_mrad: float = SD_TILT_MRAD


class Averager:
    """The observations of a dataset, spread over the ranks.

    Parameters
    ----------
    comm : the ranks
    mine : observations of this rank's crystals, in order of crystal
    unique : the unique reflections
    n_crystals : number of crystals of the dataset
    share : crystals of this rank
    """

    def __init__(
        self,
        comm: mpi.Comm,
        mine: Observations,
        unique: UniqueReflections,
        n_crystals: int,
        share: slice,
    ) -> None:
        self.comm, self.mine, self.share = comm, mine, share
        self.n_crystals = n_crystals
        self.n_slots = unique.n_slots
        self.s2: Array = np.repeat(0.25 / unique.d_ang**2, unique.slots_each)
        self.epsilon: Array = np.repeat(unique.epsilon, unique.slots_each)
        self.centric: Mask = np.repeat(unique.centric, unique.slots_each)
        self.slots_each = unique.slots_each
        self.target: tuple[Sums, Prior] | None = None
        self.owned = to_owners(comm, mine)
        self.rejected = np.zeros(len(self.owned), dtype=bool)
        self._cut()

    def _cut(self) -> None:
        """Cut both views into blocks, so that what is computed of rows takes little memory."""
        n_local = len(range(self.comm.rank, self.n_slots, self.comm.size))
        self._local = self.owned.slot // np.int32(self.comm.size)
        self._by_slot = blocks(self._local, slice(0, n_local))
        self._by_crystal = blocks(self.mine.crystal, self.share)

    def start(self) -> State:
        """Return the state before any scaling: every crystal with scale one."""
        scales, model = Scales.ones(self.n_crystals), ErrorModel()
        nothing = np.zeros(self.n_slots)
        sums = self.average(scales, model, nothing)
        return State(scales, sums, nothing, self.prior_of(sums, sums.weight), model)

    def scale_to(self, reference: Array, like: Prior) -> None:
        """From now on fit scales to `reference` (n_slots,), NaN where unknown, not to the mean.

        It is brought to the level of `like`, since only its shape matters.
        """
        known = np.isfinite(reference)
        level = np.median(like.mean[known]) / max(np.median(reference[known]), 1e-30)
        rough = Sums(np.where(known, reference * level, 0.0), known.astype(float))
        prior = self.prior_of(rough, rough.weight)
        weight = np.where(known, (REFERENCE_SIGMA * prior.mean) ** -2.0, 0.0)
        self.target = Sums(rough.weighted * weight, weight), prior

    def prior_of(self, sums: Sums, quiet: Array) -> Prior:
        """Return Wilson's prior for all slots; `quiet` are weights from background noise alone."""
        return wilson_prior(sums, quiet, self.s2, self.epsilon, self.centric)

    def average(
        self,
        scales: Scales,
        model: ErrorModel,
        weigh_by: Array,
        among: NDArray[np.bool_] | None = None,
    ) -> Sums:
        """Return the sums of all slots, on every rank; `among` (n_crystals,) chooses crystals."""
        parts = []
        for block in self._by_slot:
            obs = self.owned.take(block.rows)
            x, variance = self.expectation(obs, scales, model, weigh_by)
            variance[self.rejected[block.rows]] = np.inf
            if among is not None:
                variance[~among[obs.crystal]] = np.inf
            local = self._local[block.rows] - block.groups.start
            n_local = block.groups.stop - block.groups.start
            parts.append(slot_sums(local, obs.intensity, x, variance, n_local))
        return Sums(
            of_all_slots(self.comm, np.concatenate([part.weighted for part in parts])),
            of_all_slots(self.comm, np.concatenate([part.weight for part in parts])),
        )

    def expectation(
        self, obs: Observations, scales: Scales, model: ErrorModel, mean: Array
    ) -> tuple[Array, Array]:
        """Return x and the variance expected of each observation."""
        factor = scales.factor(obs.crystal, self.s2[obs.slot])
        partiality = obs.partiality.astype(float)
        return factor * partiality, model.variance(obs.noise, factor, partiality, mean[obs.slot])

    def each_residuals(
        self, state: State, target: tuple[Sums, Prior] | None = None
    ) -> Iterator[tuple[Block, Observations, Residuals]]:
        """Yield blocks of this rank's crystals, their observations and how those deviate.

        Each observation is held against what all others of its reflection say, or against
        `target`, the intensities of a reference and their prior.
        """
        for block in self._by_crystal:
            obs = self.mine.take(block.rows)
            yield block, obs, self._residuals(obs, state, target)

    def _residuals(
        self, obs: Observations, state: State, target: tuple[Sums, Prior] | None
    ) -> Residuals:
        """Return the residuals of observations."""
        x, weighed = self.expectation(obs, state.scales, state.model, state.weigh_by)
        if target is None:
            sums = Sums(state.sums.weighted[obs.slot], state.sums.weight[obs.slot])
            prior = Prior(state.prior.mean[obs.slot], state.prior.variance[obs.slot])
            mean, unsure, is_common = leave_one_out(sums, prior, obs.intensity, x, weighed)
        else:
            sums, prior = target
            is_common = sums.weight[obs.slot] > 0
            mean, unsure = (values[obs.slot] for values in prior.posterior(sums))
        partiality = obs.partiality.astype(float)
        return Residuals(
            expected=x * mean,
            residual=obs.intensity - x * mean,
            variance=state.model.variance(obs.noise, x / partiality, partiality, mean),
            ignorance=x * x * unsure,
            is_common=is_common,
        )

    def cycle(
        self, state: State, used: NDArray[np.bool_], *, fit_b: bool, tilt: bool = False
    ) -> State:
        """Return the state after one step of the scales, and of the tilts, and new means."""
        any_used = bool(used.any())
        prior = ScalePrior(
            float(np.mean(state.scales.log_scale[used])) if any_used else 0.0,
            state.sd_log,
            SD_B_ANG2 if fit_b else 1e-6,
            state.sd_tilt_mrad,
        )
        table = np.concatenate(mpi.gather_all(self.comm, self._stepped(state, prior, tilt=tilt)))
        scales, unsure = Scales.of_table(table), table[:, 4:]
        if self.target is None:
            scales = scales.centred(used)
        spread = np.var(scales.log_scale[used]) + unsure[used, 0].mean() if any_used else 1.0
        sd_log = float(np.clip(np.sqrt(spread), MIN_SD_LOG, MAX_SD_LOG))
        if tilt and any_used:
            self._turn(scales.tilt_mrad - state.scales.tilt_mrad)
            square = np.mean(scales.tilt_mrad[used] ** 2 + unsure[used, 2:4])
            sd_tilt = float(np.clip(np.sqrt(square), MIN_SD_TILT_MRAD, MAX_SD_TILT_MRAD))
            state = replace(state, sd_tilt_mrad=sd_tilt)
        return self.renewed(replace(state, scales=scales, sd_log=sd_log))

    def _stepped(self, state: State, prior: ScalePrior, *, tilt: bool) -> Array:
        """Return (n, 8) of this rank's crystals: new log G, B and tilts, and their variances."""
        parts = [np.empty((0, 8))]
        whole = state.scales.table()
        for block, obs, res in self.each_residuals(state, self.target):
            crystal = obs.crystal - block.groups.start
            slopes = np.stack([np.ones(len(obs)), -2.0 * self.s2[obs.slot]], axis=1)
            if tilt:
                turning = postrefine.slopes(obs.partiality, obs.turn_x, obs.turn_y)
                slopes = np.concatenate([slopes, turning], axis=1)
            own = Scales.of_table(whole[block.groups])
            new, unsure = scale_step(own, crystal, slopes, res, prior)
            parts.append(np.concatenate([new.table(), unsure], axis=1))
        return np.concatenate(parts)

    def _turn(self, step_mrad: Array) -> None:
        """Turn all crystals by `step_mrad` (n_crystals, 2), which changes recorded fractions."""
        for view, cuts in ((self.mine, self._by_crystal), (self.owned, self._by_slot)):
            for block in cuts:
                obs = view.take(block.rows)
                postrefine.turn(obs.partiality, obs.turn_x, obs.turn_y, step_mrad[obs.crystal])

    def renewed(self, state: State) -> State:
        """Return the state with means from its scales and error model."""
        self.rejected = self._impossible(state)
        weigh_by = state.prior.posterior(state.sums)[0]
        sums = self.average(state.scales, state.model, weigh_by)
        quiet = self.average(state.scales, ErrorModel(), np.zeros(self.n_slots)).weight
        return replace(state, sums=sums, weigh_by=weigh_by, prior=self.prior_of(sums, quiet))

    def _impossible(self, state: State) -> Mask:
        """Return which observations are stronger than any reflection can be."""
        result = np.zeros(len(self.owned), dtype=bool)
        for block in self._by_slot:
            obs = self.owned.take(block.rows)
            x = obs.partiality * state.scales.factor(obs.crystal, self.s2[obs.slot])
            spread = np.where(self.centric[obs.slot], 2.0, 1.0)
            expected = state.prior.mean[obs.slot]
            result[block.rows] = impossible(obs.intensity, x, obs.noise, expected, spread)
        return result

    def reject(self, state: State, judge: ErrorModel, limit: float) -> State:
        """Return the state without observations too far from the mean of their reflection.

        Too far is more than `limit` sigmas by the error model `judge`.

        Both deviation and variance are taken at the mean with the observation in it: where errors
        grow with the intensity, a strong reflection that others recorded in small part is then
        not taken for an outlier, and what stands out of many still is. In each of some passes the
        worst of each reflection goes.
        """
        for _ in range(REJECTION_PASSES):
            for block in self._by_slot:
                self.rejected[block.rows] |= self._deviating(block.rows, state, judge, limit)
            sums = self.average(state.scales, state.model, state.weigh_by)
            state = replace(state, sums=sums)
        return state

    def _deviating(self, rows: slice, state: State, judge: ErrorModel, limit: float) -> Mask:
        """Return the worst of each slot, where it is worse than `limit` sigmas."""
        obs, mean = self.owned.take(rows), state.sums.mean
        x, variance = self.expectation(obs, state.scales, judge, mean)
        deviation = np.abs(obs.intensity - x * mean[obs.slot]) / np.sqrt(variance)
        deviation[self.rejected[rows]] = 0.0
        return worst_of_slot(obs.slot, deviation, limit)

    def halves(self, state: State, half: NDArray[np.int8]) -> tuple[Sums, Sums]:
        """Return the sums of both halves of the crystals."""
        first, second = (
            self.average(state.scales, state.model, state.weigh_by, half == which)
            for which in (0, 1)
        )
        return first, second

    def information(self, state: State) -> Array:
        """Return the weights (n_slots,) if every reflection had the mean intensity expected.

        They tell which reflections were recorded well enough, without looking at the intensity
        that was found: to choose by that would bias what is chosen.
        """
        return self.average(state.scales, state.model, state.prior.mean).weight

    def counts(self) -> NDArray[np.int64]:
        """Return the number of observations in each slot."""
        used = self._local[~self.rejected]
        n_local = len(range(self.comm.rank, self.n_slots, self.comm.size))
        return of_all_slots(self.comm, np.bincount(used, minlength=n_local))

    def drop(self, refused: NDArray[np.bool_]) -> None:
        """Forget the observations of refused crystals (n_crystals,)."""
        self.mine = self.mine.take(~refused[self.mine.crystal])
        keep = ~refused[self.owned.crystal]
        self.owned = self.owned.take(keep)
        self.rejected = self.rejected[keep]
        self._cut()
