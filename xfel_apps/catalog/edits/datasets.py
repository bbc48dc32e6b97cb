"""Edits of datasets: make one, or give it other tags."""

import time

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from xfel_apps.catalog.edits.editor import Change, Editor, take
from xfel_apps.catalog.edits.versions import renew_due
from xfel_apps.catalog.ensure import ensure_tag
from xfel_apps.catalog.find import find_dataset, find_trial
from xfel_apps.catalog.models import Dataset, DatasetTag, Trial
from xfel_apps.catalog.names import checked_name
from xfel_apps.catalog.queries.datasets import selection_of
from xfel_apps.catalog.selection import Selection
from xfel_apps.errors import CatalogError, ConflictError


def new_dataset(editor: Editor, trial: str, name: str, selection: Selection) -> None:
    """Make a dataset of a trial; its first version is due if any run fits.

    Raises
    ------
    ConflictError : the trial has a dataset of this name
    """
    checked_name(name, "dataset")
    check_selection(name, selection)

    def work(session: Session) -> None:
        owner = find_trial(session, editor.experiment, trial)
        own = Dataset.trial_id == owner.id
        if session.scalars(select(Dataset).where(own, Dataset.name == name)).one_or_none():
            raise ConflictError(
                f"dataset {name} of trial {owner.name}: is there already; choose another name"
            )
        row = Dataset(trial_id=owner.id, name=name, created_s=time.time())
        session.add(row)
        session.flush()
        _put_tags(session, owner, row, selection)
        change = Change("new", "dataset", f"{owner.name}/{name}", after=dict_of(selection))
        editor.note(session, owner.experiment_id, change)
        renew_due(session, owner.experiment_id, [row.id])

    editor.change(work)


def change_dataset(
    editor: Editor, trial: str, name: str, selection: Selection, revision: int | None = None
) -> int:
    """Give a dataset other tags; a version is due if its runs change. Return its new revision.

    Raises
    ------
    ConflictError : the dataset is not as the editor has seen it (`revision`)
    """
    check_selection(name, selection)

    def work(session: Session) -> int:
        row = find_dataset(session, editor.experiment, trial, name)
        owner = session.get_one(Trial, row.trial_id)
        take(session, row, f"dataset {name} of trial {owner.name}", revision)
        before = selection_of(session, row.id)
        session.execute(delete(DatasetTag).where(DatasetTag.dataset_id == row.id))
        _put_tags(session, owner, row, selection)
        said = dict_of(before), dict_of(selection)
        editor.note(
            session, owner.experiment_id, Change("change", "dataset", f"{owner.name}/{name}", *said)
        )
        renew_due(session, owner.experiment_id, [row.id])
        return row.revision

    return editor.change(work)


def _put_tags(session: Session, trial: Trial, row: Dataset, selection: Selection) -> None:
    for rule, tag in selection.rules:
        tag_id = ensure_tag(session, trial.experiment_id, tag).id
        session.add(DatasetTag(dataset_id=row.id, tag_id=tag_id, rule=rule))
    session.flush()


def check_selection(name: str, selection: Selection) -> None:
    """Refuse names that cannot be tags, and a tag that stands under two rules."""
    tags = [checked_name(tag, "tag") for _, tag in selection.rules]
    if twice := sorted({tag for tag in tags if tags.count(tag) > 1}):
        raise CatalogError(f"dataset {name}: {', '.join(twice)} is given more than once")


def dict_of(selection: Selection) -> dict[str, list[str]]:
    """Return rule -> tags."""
    return {rule: list(getattr(selection, rule)) for rule in ("any", "all", "none")}
