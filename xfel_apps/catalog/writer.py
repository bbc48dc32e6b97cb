"""Rows of containers into the catalog: many parts in one transaction, each row once.

Ranks hold no connection: they write containers, and one writer reads what is new in them (see
`xfel_apps.catalog.follow`). Nothing is counted in rows that writers share. A part's row says how
many of its rows are in; a writer that finds another number there was overtaken and adds nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from time import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Table, and_, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from xfel_apps.catalog.bulk import insert_rows
from xfel_apps.catalog.engine import Catalog
from xfel_apps.catalog.models import Crystal, Event, Part
from xfel_apps.catalog.parts import COUNTS, SUMMED, NewRows, StageKey
from xfel_apps.containers.crystals import CRYSTALS as LATTICES
from xfel_apps.containers.manifest import Manifest
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.results import DECIDED

EVENTS: Any = Event.__table__
CRYSTALS: Any = Crystal.__table__
PARTS: Any = Part.__table__
ADD_TO_PART = (
    update(PARTS)
    .where(PARTS.c.id == bindparam("part"))
    .values(
        n_rows=bindparam("last"),
        written_s=bindparam("now"),
        **{name: PARTS.c[name] + bindparam(f"more_{name}") for name in SUMMED},
    )
)

EVENTS_ASKED = 500
"""Events that one statement names."""

Place = tuple[StageKey, str]
"""Stage and name of a part."""


@dataclass(frozen=True)
class KnownPart:
    """A part as the catalog has it: its number, what it was made with, its rows."""

    id: int
    made_with: str
    n_rows: int


Known = dict[str, KnownPart]


def known_parts(catalog: Catalog, key: StageKey) -> Known:
    """Return name -> part of all parts of a stage that the catalog has."""
    columns = (PARTS.c.name, PARTS.c.id, PARTS.c.made_with, PARTS.c.n_rows)
    with catalog.reading() as session:
        rows = session.execute(select(*columns).where(_is_of(PARTS, key))).all()
    return {name: KnownPart(number, made_with, n) for name, number, made_with, n in rows}


def write_rows(catalog: Catalog, new: Sequence[NewRows]) -> dict[Place, int]:
    """Insert rows of several parts in one transaction; return how many of each were new.

    Parts that another writer has gone on with meanwhile are left out; events that another part of
    the stage has brought do not count. A part comes once.
    """
    return catalog.change(lambda session: _insert(session.connection(), new))


def forget_stage(catalog: Catalog, key: StageKey) -> None:
    """Remove all rows of a stage of a run: they stand for files that are no longer there."""

    def forget(session: Session) -> None:
        session.execute(delete(PARTS).where(_is_of(PARTS, key)))
        session.execute(delete(EVENTS).where(_is_of(EVENTS, key)))
        if key.stage == LATTICES.stage:
            session.execute(
                delete(CRYSTALS).where(
                    CRYSTALS.c.trial_id == key.trial_id, CRYSTALS.c.run_id == key.run_id
                )
            )

    catalog.change(forget)


def write_decided(catalog: Catalog, key: StageKey, manifest: Manifest) -> None:
    """Give the events their outcomes that only the whole run could decide (see `RunResults`).

    The rows of the stage's containers have to be in. The manifest becomes a part of the catalog.
    """
    name = f"{manifest.product}.json"
    decided = {int(event): Outcome(text) for event, text in manifest.extra["decided"].items()}

    def decide(session: Session) -> None:
        connection = session.connection()
        if (key, name) in _locked(connection, [(key, name)]):
            return
        sums = dict.fromkeys(COUNTS, 0)
        for start in range(0, len(decided), EVENTS_ASKED):
            some = dict(list(decided.items())[start : start + EVENTS_ASKED])
            for outcome, changed in _change_outcomes(connection, key, some).items():
                sums[f"n_{outcome}"] += changed
        part = {**asdict(key), "name": name, "made_with": manifest.digest, "written_s": time()}
        connection.execute(insert(PARTS), [{**part, "n_rows": len(decided), **sums}])

    catalog.change(decide)


def _change_outcomes(
    connection: Connection, key: StageKey, decided: Mapping[int, Outcome]
) -> Counter[Outcome]:
    """Set outcomes; return how many more events have each of them than before."""
    more: Counter[Outcome] = Counter()
    own = and_(_is_of(EVENTS, key), EVENTS.c.event.in_(list(decided)))
    changes: dict[Outcome, list[int]] = {}
    for event, code in connection.execute(select(EVENTS.c.event, EVENTS.c.outcome).where(own)):
        if code != decided[event].code:
            changes.setdefault(decided[event], []).append(event)
            more[Outcome.from_code(code)] -= 1
            more[decided[event]] += 1
    for outcome, events in changes.items():
        to = update(EVENTS).where(_is_of(EVENTS, key), EVENTS.c.event.in_(events))
        connection.execute(to.values(outcome=outcome.code, error=DECIDED))
    return more


def _is_of(table: Table, key: StageKey) -> Any:
    c = table.c
    return and_(c.trial_id == key.trial_id, c.run_id == key.run_id, c.stage == key.stage)


def _insert(connection: Connection, new: Sequence[NewRows]) -> dict[Place, int]:
    """Insert rows and say so at their parts; return how many of each were new."""
    numbers = _lock_parts(connection, new)
    fresh = [rows for rows in new if rows.place in numbers]
    attempt = connection.begin_nested()
    try:
        _insert_events(connection, fresh)
    except IntegrityError:
        attempt.rollback()
        added = _without_known(connection, fresh)
        _insert_events(connection, added)
    else:
        attempt.commit()
        added = fresh
    changes = [
        {"part": numbers[rows.place], "last": rows.last, "now": time(), **_more(kept)}
        for rows, kept in zip(fresh, added, strict=True)
    ]
    if changes:
        connection.execute(ADD_TO_PART, changes)
    return {rows.place: len(rows) for rows in added}


def _more(rows: NewRows) -> dict[str, float]:
    return {f"more_{name}": value for name, value in rows.sums.items()}


def _lock_parts(connection: Connection, new: Sequence[NewRows]) -> dict[Place, int]:
    """Return place -> number of the parts that nobody else has gone on with, and lock those.

    Parts that the catalog does not know are made known.
    """
    wanted = {rows.place: rows for rows in new}
    found = _locked(connection, wanted)
    missing = [rows for place, rows in wanted.items() if place not in found]
    if missing:
        attempt = connection.begin_nested()
        try:
            connection.execute(insert(PARTS), [_part(rows) for rows in missing])
        except IntegrityError:  # another writer was faster
            attempt.rollback()
        else:
            attempt.commit()
        found = _locked(connection, wanted)
    return {
        place: part.id
        for place, part in found.items()
        if (part.made_with, part.n_rows) == (wanted[place].made_with, wanted[place].first)
    }


def _part(rows: NewRows) -> dict[str, Any]:
    """Return the row of a part of which the catalog has nothing yet."""
    own = {"name": rows.name, "made_with": rows.made_with, "n_rows": 0, "written_s": time()}
    return {**asdict(rows.key), **own}


def _locked(connection: Connection, places: Iterable[Place]) -> dict[Place, KnownPart]:
    """Return the parts that the catalog knows; they stay as they are until the transaction ends."""
    names: dict[StageKey, list[str]] = {}
    for key, name in sorted(places, key=lambda place: (astuple(place[0]), place[1])):
        names.setdefault(key, []).append(name)
    found = {}
    for key, own in names.items():
        columns = (PARTS.c.name, PARTS.c.id, PARTS.c.made_with, PARTS.c.n_rows)
        query = select(*columns).where(_is_of(PARTS, key), PARTS.c.name.in_(own))
        for name, *values in connection.execute(query.order_by(PARTS.c.id).with_for_update()):
            found[key, name] = KnownPart(*values)
    return found


def _insert_events(connection: Connection, new: Sequence[NewRows]) -> None:
    insert_rows(connection, EVENTS, [row for rows in new for row in rows.event_rows()])
    insert_rows(connection, CRYSTALS, [row for rows in new for row in rows.crystal_rows()])


def _without_known(connection: Connection, new: Sequence[NewRows]) -> list[NewRows]:
    """Return the rows without events that the catalog, or another part of them, has already."""
    seen: dict[StageKey, NDArray[np.int64]] = {}
    kept = []
    for rows in new:
        events = rows.shots["event"]
        if rows.key not in seen:
            seen[rows.key] = np.empty(0, np.int64)
        span = EVENTS.c.event.between(int(events.min()), int(events.max()))
        query = select(EVENTS.c.event).where(_is_of(EVENTS, rows.key), span)
        known = np.array(connection.scalars(query).all(), dtype=np.int64)
        left = rows.without(np.concatenate([known, seen[rows.key]]))
        seen[rows.key] = np.concatenate([seen[rows.key], left.shots["event"]])
        kept.append(left)
    return kept
