"""The steps of merging, in order; every rank runs them together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xfel_apps import mpi
from xfel_apps.compute.scaling import Scales
from xfel_apps.errors import ContainerError, SettingsError, StoppedError
from xfel_apps.intensities.asu import UniqueReflections, ambiguity_operators, unique_reflections
from xfel_apps.intensities.reference import read_reference
from xfel_apps.intensities.scatter import Scatter
from xfel_apps.intensities.table import Half, Limits, Merged, build
from xfel_apps.merge.ambiguity import Ways, indexed, turned_reflections
from xfel_apps.merge.averaging import Averager
from xfel_apps.merge.crystals import Dataset, Verdict, read_dataset, resolution_limits_ang
from xfel_apps.merge.error_model import fit_error_model
from xfel_apps.merge.filter import refuse
from xfel_apps.merge.followers import resolve_all
from xfel_apps.merge.growth import Older
from xfel_apps.merge.observations import (
    Indexer,
    leaves_of,
    read_observations,
)
from xfel_apps.merge.postrefine import first_scales
from xfel_apps.merge.rejection import reject
from xfel_apps.merge.scatter import scatter
from xfel_apps.merge.settings import MergeSettings
from xfel_apps.merge.totals import State, Totals

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """What merging made, on every rank.

    Attributes
    ----------
    dataset, unique, merged : the crystals, the unique reflections, their means
    limits_ang : resolution (d_min, d_max) that the unique reflections were made for
    state : scales, sums and error model at the end
    verdict : (n_crystals,) code of what became of each crystal
    mode : (n_crystals,) way of indexing chosen, as index into `operators`
    operators : ways of indexing
    ways : how they were chosen by how the crystals agree; None if not in that way
    reference : (n,) intensities of the reference, NaN where unknown; None without one
    n_rejected : observations left out as outliers
    scatter : of repeated observations about the means
    averager : this rank's observations
    added : sums of these crystals alone
    older : what they were added to; None if nothing
    """

    dataset: Dataset
    unique: UniqueReflections
    limits_ang: tuple[float, float]
    merged: Merged
    state: State
    verdict: NDArray[np.int8]
    mode: NDArray[np.int8]
    operators: list[NDArray[np.int64]]
    ways: Ways | None
    reference: Array | None
    n_rejected: int
    scatter: Scatter
    averager: Averager
    added: Totals
    older: Older | None


def merge(
    comm: mpi.Comm, paths: Sequence[Path], settings: MergeSettings, onto: Path | None = None
) -> Result:
    """Return the merged data of the runs whose manifests are at `paths`.

    With the manifest of merged data `onto`, their crystals that it lacks are added to it.
    """
    if settings.scaling == "reference" and settings.reference is None:
        raise SettingsError("merge.scaling is 'reference': give merge.reference, an MTZ file")
    with mpi.stop_on_signal() as stop:
        check = _checker(comm, stop)
        older: Older | None = None
        if onto is not None:
            older = mpi.agree(comm, lambda: Older.read(onto, settings))
        read = older.new_crystals if older else read_dataset
        dataset: Dataset = mpi.agree(comm, lambda: read(paths, settings))
        limits = older.state.limits_ang if older else resolution_limits_ang(dataset, settings)
        unique = unique_reflections(
            dataset.cell, dataset.space_group, limits, friedel_apart=settings.friedel_apart
        )
        reference = None
        if settings.reference is not None:
            path = settings.reference
            reference = mpi.agree(comm, lambda: read_reference(path, unique))
        operators = ambiguity_operators(dataset.cell, dataset.space_group)
        if settings.ambiguity == "none":
            operators = operators[:1]
        tells = None if reference is None else np.repeat(reference, unique.slots_each)
        if older and tells is None and settings.ambiguity == "auto":
            tells = older.intensities()
        averager, verdict, mode, ways = _read(
            comm, dataset, Indexer(unique, operators, tells), settings
        )
        check()
        state = _start(
            averager,
            first_scales(dataset, settings),
            older,
            tells if settings.scaling == "reference" else None,
        )
        state = _scale(averager, state, verdict, settings, check)
        state = _reject(averager, state, settings)
        check()
        added = averager.totals(state, dataset.half)
        totals = averager.before.plus(added)
        merged = build(
            unique,
            (state.sums, totals.counts, totals.information.sum(axis=0)),
            (
                Half(totals.halves[0], totals.information[0]),
                Half(totals.halves[1], totals.information[1]),
            ),
            state.prior,
            Limits(settings.min_observations, settings.max_relative_sigma),
        )
        n_rejected = int(comm.allreduce(int(averager.rejected.sum())))
        scattered = scatter(averager, state)
        if older:
            scattered = scattered.plus(older.scatter)
    return Result(
        dataset,
        unique,
        limits,
        merged,
        state,
        verdict,
        mode,
        operators,
        ways,
        reference,
        n_rejected,
        scattered,
        averager,
        added,
        older,
    )


def _checker(comm: mpi.Comm, stop: mpi.StopRequest) -> Callable[[], None]:
    """Return what ranks call between steps to end together when one was asked to stop."""

    def check() -> None:
        if comm.allreduce(int(stop.wanted)):
            raise StoppedError("merge was asked to stop; nothing was written")

    return check


def _read(
    comm: mpi.Comm, dataset: Dataset, indexer: Indexer, settings: MergeSettings
) -> tuple[Averager, NDArray[np.int8], NDArray[np.int8], Ways | None]:
    """Return the observations on their ranks, the crystals' verdicts and ways of indexing.

    Without a reference the ways are chosen by how the crystals agree, which is told too.
    """
    leaves = leaves_of(dataset)
    share = leaves.crystals(leaves.of_rank(comm.rank, comm.size))
    mine, own_mode = read_observations(dataset, share, indexer, settings)
    counts = np.bincount(mine.crystal, minlength=len(dataset))[share]
    verdict = dataset.verdict.copy()
    few = np.concatenate(mpi.gather_all(comm, counts)) < settings.min_reflections
    verdict[few & (verdict == Verdict.USED.code)] = Verdict.FEW.code
    mode = np.concatenate(mpi.gather_all(comm, own_mode))
    mine = mine.only(verdict[mine.crystal] == Verdict.USED.code)
    if not comm.allreduce(len(mine)):
        raise ContainerError(
            f"{dataset.paths[0]}: no usable observation in {len(dataset)} crystals; "
            "look at merge.min_reflections, min_partiality and the cell filters"
        )
    ways = None
    if len(indexer.operators) > 1 and indexer.reference is None and settings.ambiguity == "auto":
        ways = resolve_all(comm, mine, indexer.unique, indexer.operators, leaves)
        mode = ways.mode
        mine = indexed(mine, mode, turned_reflections(indexer.unique, indexer.operators))
    return Averager(comm, mine, indexer.unique, leaves), verdict, mode, ways


def _start(
    averager: Averager, scales: Scales, older: Older | None, reference: Array | None
) -> State:
    """Return the state before any scaling; from here on it is known what scales are fitted to.

    Parameters
    ----------
    reference : (n_slots,) what they are fitted to; None: to the mean
    """
    if older:
        first = State.first(scales, averager.n_slots, older.error_model, **older.state.spreads)
        first = replace(first, modulation=older.modulation)
        return averager.start_onto(older.totals, first)
    state = averager.start(scales)
    if reference is not None:
        averager.scale_to(reference, state.prior)
    return state


def _scale(
    averager: Averager,
    state: State,
    verdict: NDArray[np.int8],
    settings: MergeSettings,
    check: Callable[[], None],
) -> State:
    """Return the state after all cycles; crystals that do not agree are refused on the way.

    Half way and after each of the last two cycles the error model is fitted anew, unless crystals
    are added to others, and crystals are judged by it. From before the first of these on they are
    post-refined.
    """
    partial = settings.partiality == "model"
    judge_at = {settings.n_cycles // 2, settings.n_cycles - 2, settings.n_cycles - 1}
    refine_from = settings.n_cycles // 2 - 1 if partial and settings.post_refinement else np.inf
    for number in range(settings.n_cycles):
        used = verdict == Verdict.USED.code
        if settings.scaling == "none":
            state = averager.renewed(state)
        else:
            fit_b, post_refine = settings.fit_b_factor, number >= refine_from
            state = averager.cycle(state, used, fit_b=fit_b, post_refine=post_refine)
            if number % 2 and settings.fit_modulation and not averager.before.counts.any():
                state = averager.renewed(averager.modulated(state))
        if number in judge_at:
            state = _judge(averager, state, verdict, settings)
        check()
    return state


def _judge(
    averager: Averager, state: State, verdict: NDArray[np.int8], settings: MergeSettings
) -> State:
    """Return the state with a new error model, where it is free, and without refused crystals."""
    model = fit_error_model(averager, state, partial=settings.partiality == "model")
    by_scatter = averager.renewed(replace(state, model=model))
    is_refused = refuse(averager, by_scatter, verdict, settings)
    if settings.error_model == "scatter" and not averager.before.counts.any():
        state = by_scatter
    return averager.renewed(state) if is_refused or state is not by_scatter else state


def _reject(averager: Averager, state: State, settings: MergeSettings) -> State:
    """Return the state without outliers: judged by the scatter, whatever sigmas are wanted."""
    judge = state.model
    if settings.error_model == "none":
        judge = fit_error_model(averager, state, partial=settings.partiality == "model")
    return reject(averager, state, judge, settings.max_deviation_sigma)


def unmerged_columns(result: Result) -> dict[str, NDArray[np.generic]]:
    """Return the scaled observations that were merged, of all ranks, in order of slot."""
    averager, state = result.averager, result.state
    obs = averager.mine
    x, variance = averager.expectation(obs, state.scales, state.model, state.weigh_by)
    kept = ~averager.rejected
    own = {
        "slot": obs.slot,
        "crystal": obs.crystal,
        "intensity": (obs.intensity / x).astype(np.float32),
        "sigma": (np.sqrt(variance) / x).astype(np.float32),
        "partiality": obs.partiality,
    }
    whole = {
        name: np.concatenate(mpi.gather_all(averager.comm, values[kept]))
        for name, values in own.items()
    }
    order = np.lexsort((whole["crystal"], whole["slot"]))
    return {name: values[order] for name, values in whole.items()}
