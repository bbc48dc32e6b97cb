"""What a merge leaves so that crystals can be added later, see `xfel_apps.merge.growth`."""

import numpy as np

from xfel_apps.containers.merge_state import MergedCrystals, MergeState, ScatterSums, SlotSums
from xfel_apps.merge.growth import identities
from xfel_apps.merge.pipeline import Result
from xfel_apps.merge.totals import Totals


def state_of(result: Result) -> MergeState:
    """Return all that was merged, before and now."""
    older, dataset, state = result.older, result.dataset, result.state
    before = older.state if older else None
    runs = list(before.runs if before else ())
    runs += [run for run in dataset.runs if run not in runs]
    own = _crystals(result, runs)
    n_before = len(before.crystals) if before else 0
    wavelengths_ang = [before.wavelength_ang if before else 0.0, dataset.wavelength_ang]
    return MergeState(
        slots=_slots(result.averager.before.plus(result.added)),
        scatter=ScatterSums.make(square=result.scatter.square, count=result.scatter.count),
        crystals=MergedCrystals.concatenate([before.crystals, own]) if before else own,
        runs=tuple(runs),
        cell=tuple(dataset.cell.parameters),
        space_group=str(dataset.space_group.hm),
        wavelength_ang=float(np.average(wavelengths_ang, weights=[n_before, len(dataset)])),
        limits_ang=result.limits_ang,
        friedel_apart=result.unique.friedel_apart,
        error_model=(state.model.counting, state.model.partiality, state.model.relative),
        modulation=tuple(state.modulation.tolist()),
        spreads=state.spreads,
        n_rejected=result.n_rejected + (before.n_rejected if before else 0),
    )


def _crystals(result: Result, runs: list[str]) -> MergedCrystals:
    """Return what became of the crystals of the dataset."""
    number = np.array([runs.index(run) for run in result.dataset.runs])
    scales = result.state.scales
    return MergedCrystals.make(
        identity=identities(result.dataset),
        run=number[result.dataset.crystals["source"]],
        verdict=result.verdict,
        mode=result.mode,
        log_scale=scales.log_scale,
        b_ang2=scales.b_ang2,
        tilt_mrad=scales.tilt_mrad,
        log_width=scales.log_width,
    )


def _slots(totals: Totals) -> SlotSums:
    """Return sums as they are stored."""
    first, second = totals.halves
    return SlotSums.make(
        weighted_first=first.weighted,
        weight_first=first.weight,
        weighted_second=second.weighted,
        weight_second=second.weight,
        count=totals.counts,
        information_first=totals.information[0],
        information_second=totals.information[1],
        quiet=totals.quiet,
    )
