"""Experiments, runs with their tags and rates, run groups."""

import json
from collections import Counter, defaultdict
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from xfel_apps.catalog.find import find_experiment, find_trial
from xfel_apps.catalog.models import Experiment, Part, Run, RunGroup, RunTag, Tag, Trial
from xfel_apps.catalog.queries.rows import ExperimentInfo, GroupInfo, LatticeInfo, RunInfo
from xfel_apps.containers.outcome import Outcome
from xfel_apps.sources.paths import natural

BEFORE = {
    "spotfind": Outcome.PENDING,
    "index": Outcome.HIT_NOT_INDEXED,
    "integrate": Outcome.INDEXED,
}
"""Stage -> outcome with which the stage before leaves it an event."""


def experiments(session: Session) -> list[ExperimentInfo]:
    """Return all experiments in order of their names."""
    n_runs = _number_by_experiment(session, Run)
    n_trials = _number_by_experiment(session, Trial)
    rows = session.scalars(select(Experiment).order_by(Experiment.name))
    return [
        ExperimentInfo(row.id, row.name, row.results, n_runs[row.id], n_trials[row.id])
        for row in rows
    ]


def _number_by_experiment(session: Session, table: type[Run] | type[Trial]) -> Counter[int]:
    query = select(table.experiment_id, func.count()).group_by(table.experiment_id)
    return Counter(dict(session.execute(query).tuples().all()))


def runs(session: Session, experiment: str, trial: str | None = None) -> list[RunInfo]:
    """Return the runs of an experiment in order of their names.

    Parameters
    ----------
    trial : whose outcomes are counted; None: none are
    """
    owner = find_experiment(session, experiment)
    tags, members = tags_of(session, owner.id), groups(session, experiment)
    trial_id = find_trial(session, experiment, trial).id if trial is not None else None
    outcomes = outcome_counts(session, trial_id) if trial_id is not None else {}
    n_lattices = _lattice_counts(session, trial_id) if trial_id is not None else {}
    rows = session.scalars(select(Run).where(Run.experiment_id == owner.id)).all()
    return [
        RunInfo(
            id=row.id,
            name=row.name,
            paths=tuple(json.loads(row.paths)),
            n_events=row.n_events,
            state=row.state,
            created_s=row.created_s,
            revision=row.revision,
            tags=tuple(sorted(tags[row.name])),
            group=group_of(row.name, members),
            outcomes=outcomes.get(row.id, {}),
            n_lattices=n_lattices.get(row.id, 0),
        )
        for row in sorted(rows, key=lambda row: natural(Path(row.name)))
    ]


def tags_of(session: Session, experiment_id: int) -> dict[str, set[str]]:
    """Return every run of an experiment with its tags."""
    found: dict[str, set[str]] = {
        name: set()
        for name in session.scalars(select(Run.name).where(Run.experiment_id == experiment_id))
    }
    query = select(Run.name, Tag.name).select_from(RunTag).join(Run).join(Tag)
    for run, tag in session.execute(query.where(Run.experiment_id == experiment_id)):
        found[run].add(tag)
    return found


def tags(session: Session, experiment: str) -> dict[str, int]:
    """Return every tag of an experiment with the number of runs that have it."""
    owner = find_experiment(session, experiment)
    query = select(Tag.name, func.count(RunTag.run_id)).outerjoin(RunTag)
    query = query.where(Tag.experiment_id == owner.id).group_by(Tag.name).order_by(Tag.name)
    return dict(session.execute(query).tuples().all())


def outcome_counts(session: Session, trial_id: int) -> dict[int, dict[str, int]]:
    """Return run id -> outcome -> events, each event as the last stage that saw it left it."""
    sums = [func.sum(getattr(Part, f"n_{outcome}")) for outcome in Outcome]
    query = select(Part.run_id, Part.stage, *sums).where(Part.trial_id == trial_id)
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for run_id, stage, *numbers in session.execute(query.group_by(Part.run_id, Part.stage)):
        by_outcome = {outcome: int(n) for outcome, n in zip(Outcome, numbers, strict=True)}
        counts[run_id].update(by_outcome)
        if stage in BEFORE:
            counts[run_id][BEFORE[stage]] -= sum(by_outcome.values())
    return {
        run_id: {name: number for name, number in by_outcome.items() if number > 0}
        for run_id, by_outcome in counts.items()
    }


def _lattice_counts(session: Session, trial_id: int) -> dict[int, int]:
    query = select(Part.run_id, func.sum(Part.n_lattices)).where(Part.trial_id == trial_id)
    rows = session.execute(query.group_by(Part.run_id))
    return {run_id: int(number) for run_id, number in rows}


def lattices(session: Session, experiment: str, trial: str) -> dict[str, LatticeInfo]:
    """Return run -> how many lattices it has in a trial, their mean cell and resolution."""
    columns = ("a_ang", "b_ang", "c_ang", "alpha_deg", "beta_deg", "gamma_deg", "d_min_ang")
    sums = [func.sum(getattr(Part, f"sum_{name}")) for name in columns]
    query = select(Run.name, func.sum(Part.n_lattices), *sums).join(Run, Run.id == Part.run_id)
    query = query.where(Part.trial_id == find_trial(session, experiment, trial).id)
    found = {}
    for name, number, *totals in session.execute(query.group_by(Run.name)):
        if number:
            a, b, c, alpha, beta, gamma, d_min = (total / int(number) for total in totals)
            found[name] = LatticeInfo(name, int(number), (a, b, c, alpha, beta, gamma), d_min)
    return found


def groups(session: Session, experiment: str) -> list[GroupInfo]:
    """Return the run groups of an experiment in order of their names."""
    owner = find_experiment(session, experiment)
    query = select(RunGroup).where(RunGroup.experiment_id == owner.id).order_by(RunGroup.name)
    return [
        GroupInfo(
            row.id, row.name, row.first_run, row.last_run, json.loads(row.settings), row.revision
        )
        for row in session.scalars(query)
    ]


def group_of(run: str, known: list[GroupInfo]) -> str:
    """Return the name of the group that a run is in; empty if in none."""
    place = natural(Path(run))
    for group in known:
        if natural(Path(group.first_run)) <= place <= natural(Path(group.last_run)):
            return group.name
    return ""
