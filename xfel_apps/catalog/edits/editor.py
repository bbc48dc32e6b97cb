"""Who edits what: one transaction an edit, with a line in the audit."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from xfel_apps.catalog.engine import Catalog
from xfel_apps.catalog.models import Audit, Dataset, Run, RunGroup
from xfel_apps.catalog.names import checked_name
from xfel_apps.errors import ConflictError

T = TypeVar("T")
Editable = Run | Dataset | RunGroup


@dataclass(frozen=True)
class Editor:
    """Somebody who edits an experiment.

    Attributes
    ----------
    catalog : where
    experiment : name of the experiment
    actor : who, for the audit
    """

    catalog: Catalog
    experiment: str
    actor: str

    def __post_init__(self) -> None:
        checked_name(self.actor, "actor")

    def change(self, work: Callable[[Session], T]) -> T:
        """Return what `work` returns; it is one transaction."""
        return self.catalog.change(work)

    def note(self, session: Session, experiment_id: int, change: "Change") -> None:
        """Put a line into the audit."""
        session.add(
            Audit(
                experiment_id=experiment_id,
                at_s=time.time(),
                actor=self.actor,
                action=change.action,
                kind=change.kind,
                subject=change.subject,
                before=json.dumps(change.before, sort_keys=True),
                after=json.dumps(change.after, sort_keys=True),
            )
        )


@dataclass(frozen=True)
class Change:
    """What is changed: `action` such as `tag`, `kind` such as `run`, and its name."""

    action: str
    kind: str
    subject: str
    before: Any = None
    after: Any = None


def take(session: Session, row: Editable, what: str, revision: int | None) -> None:
    """Lock a row and raise its revision, or say that somebody else has changed it.

    Parameters
    ----------
    what : what it is, for the message
    revision : that the editor has seen; None: whatever it is now
    """
    table = type(row)
    session.scalars(
        select(table)
        .where(table.id == row.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()
    if revision is not None and row.revision != revision:
        raise ConflictError(
            f"{what}: somebody else has changed it meanwhile (revision {row.revision}, yours is "
            f"{revision}); look at it again and repeat your change"
        )
    row.revision += 1
