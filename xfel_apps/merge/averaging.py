"""Scaling and averaging on many ranks, which have the crystals shared out among them.

Scales are fitted crystal by crystal; means come from sums over all crystals, built up from leaves
(`xfel_apps.merge.blocks`), so that what comes out does not depend on the number of ranks. Between
ranks go a few numbers a slot and a crystal in a cycle, never observations.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from xfel_apps import mpi
from xfel_apps.compute.scaling import (
    ErrorModel,
    Residuals,
    ScalePrior,
    Scales,
    leave_one_out,
    scale_step,
)
from xfel_apps.compute.sums import Sums, slot_sums, total_by
from xfel_apps.compute.wilson import Prior, impossible, wilson_prior
from xfel_apps.intensities.asu import UniqueReflections
from xfel_apps.merge import modulation, postrefine
from xfel_apps.merge.blocks import Block, LeafSums, Leaves
from xfel_apps.merge.observations import Observations
from xfel_apps.merge.totals import State, Target, Totals

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
SD_B_ANG2 = 5.0
"""Standard deviation expected of the crystals' B factors [Angstrom^2]."""
REFERENCE_SIGMA = 0.1
"""Error of a reference's intensities, as a share of the mean at their resolution."""


class Averager:
    """The observations of a dataset, spread over the ranks.

    Parameters
    ----------
    comm : the ranks
    mine : observations of this rank's crystals, in order of crystal
    unique : the unique reflections
    leaves : how the crystals are cut
    """

    def __init__(
        self, comm: mpi.Comm, mine: Observations, unique: UniqueReflections, leaves: Leaves
    ) -> None:
        self.comm, self.mine, self.leaves = comm, mine, leaves
        self.n_crystals = int(leaves.edges[-1])
        self.n_slots = unique.n_slots
        self.s2: Array = np.repeat(0.25 / unique.d_ang**2, unique.slots_each)
        self.epsilon: Array = np.repeat(unique.epsilon, unique.slots_each)
        self.centric: Mask = np.repeat(unique.centric, unique.slots_each)
        self.spread: Array = np.where(self.centric, 2.0, 1.0)
        self.slots_each = unique.slots_each
        self.target: Target | None = None
        self.before = Totals.none(self.n_slots)
        self.rejected = np.zeros(len(mine), dtype=bool)
        self._cut()

    def _cut(self) -> None:
        own = self.leaves.of_rank(self.comm.rank, self.comm.size)
        self.blocks = self.leaves.blocks(self.mine.crystal, own)

    def start(self, scales: Scales) -> State:
        """Return the state before any scaling."""
        state = State.first(scales, self.n_slots, ErrorModel())
        sums = self.sums(state)
        return replace(state, sums=sums, prior=self.prior_of(sums, sums.weight))

    def start_onto(self, before: Totals, state: State) -> State:
        """Return the state in which crystals are added to what was merged before.

        Scales are fitted to the means of that (of both Friedel mates), all sums have it in them.

        Parameters
        ----------
        before : sums of what was merged
        state : scales to begin with, error model and spreads
        """
        self.before = before
        self.modulate(state.modulation)
        prior = self.prior_of(before.sums, before.quiet)
        self.target = Target.of(before.sums.pooled(self.slots_each), prior)
        return replace(state, sums=before.sums, prior=prior)

    def scale_to(self, reference: Array, like: Prior) -> None:
        """From now on fit scales to `reference` (n_slots,), NaN where unknown, not to the mean.

        It is brought to the level of `like`, since only its shape matters.
        """
        known = np.isfinite(reference)
        level = np.median(like.mean[known]) / max(np.median(reference[known]), 1e-30)
        rough = Sums(np.where(known, reference * level, 0.0), known.astype(float))
        prior = self.prior_of(rough, rough.weight)
        weight = np.where(known, (REFERENCE_SIGMA * prior.mean) ** -2.0, 0.0)
        self.target = Target.of(Sums(rough.weighted * weight, weight), prior)

    def prior_of(self, sums: Sums, quiet: Array) -> Prior:
        """Return Wilson's prior for all slots; `quiet` are weights from background noise alone."""
        return wilson_prior(sums, quiet, self.s2, self.epsilon, self.centric)

    def total(self, of_block: Callable[[Block], Array], n_sums: int, n_each: int = 1) -> Array:
        """Return the sums (n_sums, n_slots n_each) of what `of_block` gives, over all ranks."""
        sums = LeafSums()
        for block in self.blocks:
            sums.push(block.number, of_block(block))
        return sums.total(self.comm, (n_sums, self.n_slots * n_each))

    def sums(self, state: State) -> Sums:
        """Return the sums of all slots, without what is rejected and what was merged before."""
        return Sums(*self.total(partial(self._sums, state), 2))

    def _sums(self, state: State, block: Block) -> Array:
        """Return (2, n_slots) of a block: the weighted sums and the weights."""
        obs = self.wide(block)
        x, variance = self.expectation(obs, state.scales, state.model, state.weigh_by)
        variance[self.rejected[block.rows]] = np.inf
        sums = slot_sums(obs.slot, obs.intensity, x, variance, self.n_slots)
        return np.stack([sums.weighted, sums.weight])

    def wide(self, block: Block) -> Observations:
        """Return the observations of a block, those columns wide that index others."""
        obs = self.mine.take(block.rows)
        return replace(obs, slot=obs.slot.astype(np.intp), crystal=obs.crystal.astype(np.intp))

    def expectation(
        self, obs: Observations, scales: Scales, model: ErrorModel, mean: Array
    ) -> tuple[Array, Array]:
        """Return x and the variance expected of each observation."""
        factor = scales.factor(obs.crystal, self.s2[obs.slot]) * obs.modulation
        partiality = obs.partiality.astype(float)
        return factor * partiality, model.variance(obs.noise, factor, partiality, mean[obs.slot])

    def each_residuals(
        self, state: State, target: Target | None = None
    ) -> Iterator[tuple[Block, Observations, Residuals]]:
        """Yield blocks of this rank's crystals, their observations and how those deviate.

        Each observation is held against what all others of its reflection say, or against
        `target`, the intensities of a reference and their prior.
        """
        for block in self.blocks:
            obs = self.wide(block)
            yield block, obs, self._residuals(obs, state, target)

    def _residuals(self, obs: Observations, state: State, target: Target | None) -> Residuals:
        """Return the residuals of observations."""
        x, weighed = self.expectation(obs, state.scales, state.model, state.weigh_by)
        if target is None:
            sums = Sums(state.sums.weighted[obs.slot], state.sums.weight[obs.slot])
            prior = Prior(state.prior.mean[obs.slot], state.prior.variance[obs.slot])
            mean, unsure, is_common = leave_one_out(sums, prior, obs.intensity, x, weighed)
        else:
            mean, unsure = target.mean[obs.slot], target.variance[obs.slot]
            is_common = target.is_known[obs.slot]
        partiality = obs.partiality.astype(float)
        return Residuals(
            expected=x * mean,
            residual=obs.intensity - x * mean,
            variance=state.model.variance(obs.noise, x / partiality, partiality, mean),
            ignorance=x * x * unsure,
            is_common=is_common,
        )

    def cycle(
        self, state: State, used: NDArray[np.bool_], *, fit_b: bool, post_refine: bool = False
    ) -> State:
        """Return the state after one step of the scales, of tilts and widths, and new means."""
        stands_alone = bool(used.any()) and not self.before.counts.any()
        prior = ScalePrior(
            float(np.mean(state.scales.log_scale[used])) if stands_alone else 0.0,
            state.sd_log,
            SD_B_ANG2 if fit_b else 1e-6,
            state.sd_tilt_mrad,
            state.sd_width,
        )
        stepped = self._stepped(state, prior, post_refine=post_refine)
        table, unsure = np.concatenate(mpi.gather_all(self.comm, stepped)).transpose(1, 0, 2)
        scales = replace(state.scales, table=table.copy())
        if self.target is None:
            scales = scales.centred(used)
        if post_refine:
            self._move(scales.table - state.scales.table)
        if stands_alone:
            state = state.with_spreads(scales, unsure, used, post_refine=post_refine)
        return self.renewed(replace(state, scales=scales))

    def _stepped(self, state: State, prior: ScalePrior, *, post_refine: bool) -> Array:
        """Return (n, 2, 6) of this rank's crystals: new values and variances.

        Friedel mates are held against the mean of both: what a fit to each by itself takes over of
        its errors would look like an anomalous difference.
        """
        state = replace(state, sums=state.sums.pooled(self.slots_each))
        parts = [np.empty((0, 2, 6))]
        for block, obs, res in self.each_residuals(state, self.target):
            crystal, s2 = obs.crystal - block.groups.start, self.s2[obs.slot]
            slopes = np.stack([np.ones(len(obs)), -2.0 * s2])
            if post_refine:
                more = postrefine.slopes(obs.partiality, obs.turn_x, obs.turn_y, s2)
                slopes = np.concatenate([slopes, more])
            whole = state.scales
            own = Scales(whole.table[block.groups], whole.growth[block.groups])
            new, unsure = scale_step(own, crystal, slopes, res, prior)
            parts.append(np.stack([new.table, unsure], axis=1))
        return np.concatenate(parts)

    def _move(self, step: Array) -> None:
        """Change recorded fractions as changes (n_crystals, 6) of the scales' table ask for."""
        for block in self.blocks:
            obs = self.wide(block)
            own = step.take(obs.crystal, axis=0)
            s2, moves = self.s2[obs.slot], (own[:, 2:4], own[:, 4:6])
            postrefine.move(obs.partiality, obs.turn_x, obs.turn_y, s2, moves)

    def modulated(self, state: State) -> State:
        """Return the state with the modulation fitted anew, and apply it to all observations."""
        sums = LeafSums()
        for block, obs, res in self.each_residuals(state, self.target):
            sums.push(block.number, self._modulation(state, obs, res))
        found = sums.total(self.comm, (modulation.N_COEFFICIENTS + 1, modulation.N_COEFFICIENTS))
        state = replace(state, modulation=modulation.step(state.modulation, found[1:], found[0]))
        self.modulate(state.modulation)
        return state

    def _modulation(self, state: State, obs: Observations, res: Residuals) -> Array:
        """Return the gradient (8,) and the normal matrix (8, 8) of observations, stacked."""
        places = obs.place_fast, obs.place_slow
        by = modulation.slopes(state.modulation, places, self.s2[obs.slot]) * res.expected
        weighted = by * res.weight
        gradient = np.einsum("in,n->i", weighted, res.residual)
        return np.concatenate([gradient[None], np.einsum("in,jn->ij", weighted, by)])

    def modulate(self, coefficients: Array) -> None:
        """Apply a modulation to all observations."""
        for block in self.blocks:
            obs = self.wide(block)
            places = obs.place_fast, obs.place_slow
            obs.modulation[:] = modulation.factor(coefficients, places, self.s2[obs.slot])

    def renewed(self, state: State) -> State:
        """Return the state with means from its scales and error model.

        Observations stronger than any reflection can be are left out.
        """
        state = replace(state, weigh_by=state.prior.posterior(state.sums)[0])
        weighted, weight, quiet = self.total(partial(self._renewed, state), 3)
        sums = self.before.sums.plus(Sums(weighted, weight))
        return replace(state, sums=sums, prior=self.prior_of(sums, self.before.quiet + quiet))

    def _renewed(self, state: State, block: Block) -> Array:
        """Return (3, n_slots) of a block: weighted sums, weights, those from noise alone."""
        obs = self.wide(block)
        x, variance = self.expectation(obs, state.scales, state.model, state.weigh_by)
        expected, spread = state.prior.mean[obs.slot], self.spread[obs.slot]
        bad = impossible(obs.intensity, x, obs.noise, expected, spread)
        self.rejected[block.rows] = bad
        variance[bad] = np.inf
        sums = slot_sums(obs.slot, obs.intensity, x, variance, self.n_slots)
        quiet = total_by(obs.slot, ~bad * x * x / obs.noise, self.n_slots)
        return np.stack([sums.weighted, sums.weight, quiet])

    def totals(self, state: State, half: NDArray[np.int8]) -> Totals:
        """Return the sums that merged data are made of; `half` (n_crystals,) of each crystal.

        Without what was merged before.
        """
        found = self.total(partial(self._totals, state, half), 5, 2)
        weighted, weight, counts, informing, quiet = found.reshape(5, self.n_slots, 2)
        first, second = (Sums(weighted[:, i].copy(), weight[:, i].copy()) for i in (0, 1))
        n_each = counts.sum(axis=1).astype(np.int64)
        return Totals((first, second), n_each, informing.T.copy(), quiet.sum(axis=1))

    def _totals(self, state: State, half: NDArray[np.int8], block: Block) -> Array:
        """Return (5, 2 n_slots) of a block, halves apart, in the order of `Totals`."""
        obs = self.wide(block)
        kept = (~self.rejected[block.rows]).astype(float)
        x, variance = self.expectation(obs, state.scales, state.model, state.weigh_by)
        _, expected = self.expectation(obs, state.scales, state.model, state.prior.mean)
        place, n_places = 2 * obs.slot + half[obs.crystal], 2 * self.n_slots
        sums = slot_sums(place, obs.intensity, x, np.where(kept > 0, variance, np.inf), n_places)
        others = (kept, kept * x * x / expected, kept * x * x / obs.noise)
        return np.stack(
            [sums.weighted, sums.weight, *(total_by(place, c, n_places) for c in others)]
        )

    def drop(self, refused: NDArray[np.bool_]) -> None:
        """Forget the observations of refused crystals (n_crystals,)."""
        if not refused.any():
            return
        keep = ~refused[self.mine.crystal]
        self.mine, self.rejected = self.mine.only(keep), self.rejected[keep]
        self._cut()
