"""Events by stage, and crystals."""

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from xfel_apps.catalog.find import find_run, find_trial
from xfel_apps.catalog.models import Crystal, Event, Run
from xfel_apps.catalog.queries.rows import CrystalInfo, EventInfo
from xfel_apps.containers.outcome import Outcome


def events(
    session: Session,
    experiment: str,
    trial: str,
    run: str,
    *,
    stage: str | None = None,
    outcome: Outcome | None = None,
    first: int = 0,
    limit: int = 1000,
) -> list[EventInfo]:
    """Return events of a run in order of stage and number, from number `first` on.

    Parameters
    ----------
    stage, outcome : only these; None: all
    limit : at most so many
    """
    query = _of_run(session, experiment, trial, run).where(Event.event >= first)
    if stage is not None:
        query = query.where(Event.stage == stage)
    if outcome is not None:
        query = query.where(Event.outcome == outcome.code)
    query = query.order_by(Event.stage, Event.event).limit(limit)
    return [_event(run, row) for row in session.execute(query).tuples()]


def _of_run(
    session: Session, experiment: str, trial: str, run: str
) -> Select[tuple[str, int, int, str, float, float, float, str, int]]:
    columns = (
        Event.stage,
        Event.event,
        Event.outcome,
        Event.error,
        Event.start_s,
        Event.end_s,
        Event.seconds,
        Event.host,
        Event.rank,
    )
    trial_id = find_trial(session, experiment, trial).id
    run_id = find_run(session, experiment, run).id
    return select(*columns).where(Event.trial_id == trial_id, Event.run_id == run_id)


def _event(run: str, row: tuple[str, int, int, str, float, float, float, str, int]) -> EventInfo:
    stage, event, code = row[:3]
    return EventInfo(run, stage, event, Outcome.from_code(code).value, *row[3:])


def crystals(
    session: Session, experiment: str, trial: str, run: str | None = None, limit: int = 100_000
) -> list[CrystalInfo]:
    """Return the lattices of a run, or of all runs, in order of run and event; at most `limit`."""
    query = select(Run.name, Crystal).join(Run, Run.id == Crystal.run_id)
    query = query.where(Crystal.trial_id == find_trial(session, experiment, trial).id)
    if run is not None:
        query = query.where(Crystal.run_id == find_run(session, experiment, run).id)
    query = query.order_by(Crystal.run_id, Crystal.event, Crystal.lattice).limit(limit)
    return [_crystal(name, row) for name, row in session.execute(query)]


def _crystal(run: str, row: Crystal) -> CrystalInfo:
    return CrystalInfo(
        run=run,
        event=row.event,
        lattice=row.lattice,
        space_group=row.space_group,
        cell=(row.a_ang, row.b_ang, row.c_ang, row.alpha_deg, row.beta_deg, row.gamma_deg),
        a_matrix=tuple(getattr(row, f"a{i}{j}_invang") for i in "123" for j in "123"),
        d_min_ang=row.d_min_ang,
        n_indexed=row.n_indexed,
        rmsd_px=row.rmsd_px,
    )
