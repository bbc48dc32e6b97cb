"""Edits of trials: a changed setting makes a new one."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from xfel_apps.catalog.edits.editor import Change, Editor
from xfel_apps.catalog.ensure import ensure_experiment, next_trial
from xfel_apps.catalog.find import find_trial
from xfel_apps.catalog.models import MESSAGE, Experiment, Trial
from xfel_apps.catalog.names import checked_name
from xfel_apps.catalog.parameters import Parameters
from xfel_apps.config import override
from xfel_apps.errors import CatalogError, ConflictError


def new_trial(
    editor: Editor,
    parameters: Parameters,
    parent: str | None = None,
    comment: str = "",
    number: int | None = None,
) -> str:
    """Make a trial with these parameters and return its name.

    Parameters
    ----------
    parent : trial that it was made from
    number : that the editor was told it would have; None: whichever is next

    Raises
    ------
    CatalogError : a trial has these parameters already
    ConflictError : somebody else has made the trial of that number meanwhile
    """
    if len(comment) > MESSAGE:
        raise CatalogError(f"comment of a trial: {len(comment)} characters, at most {MESSAGE}")

    def work(session: Session) -> str:
        experiment = ensure_experiment(session, editor.experiment)
        _lock(session, experiment.id)
        _refuse_known(session, experiment.id, parameters)
        found = next_trial(session, experiment.id)
        if number is not None and found != number:
            raise ConflictError(
                f"trial {number:03d}: somebody else has made it meanwhile; the next is "
                f"{found:03d}: look at theirs and repeat your change"
            )
        row = Trial(
            experiment_id=experiment.id,
            number=found,
            name=checked_name(f"{found:03d}", "trial"),
            parameters=parameters.text,
            digest=parameters.digest,
            parent_id=find_trial(session, editor.experiment, parent).id if parent else None,
            comment=comment,
            created_s=time.time(),
            actor=editor.actor,
        )
        session.add(row)
        after = {"parent": parent, "digest": row.digest, "comment": comment}
        editor.note(session, experiment.id, Change("new", "trial", row.name, after=after))
        return row.name

    return editor.change(work)


def changed(
    editor: Editor, parent: str, changes: Mapping[str, Any], assignments: Sequence[str] = ()
) -> Parameters:
    """Return the parameters of a trial with changes.

    Parameters
    ----------
    parent : trial to start from
    changes : section -> settings that are to be others
    assignments : `section.key=value`, taken after `changes`
    """
    with editor.catalog.reading() as session:
        sections = json.loads(find_trial(session, editor.experiment, parent).parameters)
    for name, settings in changes.items():
        sections[name] = {**sections.get(name, {}), **settings}
    return Parameters.checked(override(sections, assignments))


def _lock(session: Session, experiment_id: int) -> None:
    """Let one at a time give a trial its number."""
    session.execute(select(Experiment.id).where(Experiment.id == experiment_id).with_for_update())


def _refuse_known(session: Session, experiment_id: int, parameters: Parameters) -> None:
    own = Trial.experiment_id == experiment_id
    query = select(Trial.name).where(own, Trial.digest == parameters.digest).order_by(Trial.number)
    if (name := session.scalars(query).first()) is not None:
        raise CatalogError(f"trial {name} has just these parameters; change one, or use that trial")
