"""Edits of runs: add one, tag and untag, group."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from xfel_apps.catalog.edits.editor import Change, Editor, take
from xfel_apps.catalog.edits.versions import datasets_with_tags, renew_due
from xfel_apps.catalog.ensure import ensure_experiment, ensure_run, ensure_tag
from xfel_apps.catalog.find import find_experiment, find_run, unknown
from xfel_apps.catalog.models import Run, RunGroup, RunTag, Tag
from xfel_apps.catalog.names import checked_name
from xfel_apps.catalog.queries import groups
from xfel_apps.errors import CatalogError, ConflictError
from xfel_apps.ingest.settings import IngestSettings
from xfel_apps.sources.paths import natural


def add_run(editor: Editor, name: str, paths: Sequence[str], *, replace: bool = False) -> None:
    """Add a run with its raw files; see `add_runs`."""
    add_runs(editor, {name: paths}, replace=replace)


def add_runs(editor: Editor, runs: Mapping[str, Sequence[str]], *, replace: bool = False) -> None:
    """Add runs with their raw files; datasets that take every run have them from now on.

    Parameters
    ----------
    replace : runs that are there with other files have these from now on

    Raises
    ------
    CatalogError : one is there with other files
    """

    def work(session: Session) -> None:
        experiment = ensure_experiment(session, editor.experiment)
        added = [_add_run(session, editor, name, runs[name], replace) for name in sorted(runs)]
        if any(added):
            renew_due(session, experiment.id, datasets_with_tags(session, experiment.id, None))

    editor.change(work)


def _add_run(
    session: Session, editor: Editor, name: str, paths: Sequence[str], replace: bool
) -> bool:
    """Add a run, or give it other files; return whether that was needed."""
    experiment = find_experiment(session, editor.experiment)
    own = Run.experiment_id == experiment.id
    row = session.scalars(select(Run).where(own, Run.name == name)).one_or_none()
    known = json.loads(row.paths) if row is not None else []
    if row is not None and known == list(paths):
        return False
    if row is not None and known and not replace:
        raise CatalogError(
            f"run {name}: is in the catalog with other raw files: {', '.join(known[:3])}"
            "; `xfelflow run add --replace` gives it these"
        )
    if row is not None and known:
        take(session, row, f"run {name}", None)
        row.paths = json.dumps(list(paths))
    else:
        ensure_run(session, experiment, name, paths)
    change = Change("add", "run", name, known or None, list(paths))
    editor.note(session, experiment.id, change)
    return True


def tag(editor: Editor, run: str, name: str, revision: int | None = None) -> int:
    """Put a tag on a run; datasets that include it are due. Return the run's new revision.

    Raises
    ------
    ConflictError : the run is not as the editor has seen it (`revision`)
    """
    checked_name(name, "tag")

    def work(session: Session) -> int:
        row = find_run(session, editor.experiment, run)
        take(session, row, f"run {run}", revision)
        before = _tags(session, row)
        if name in before:
            raise ConflictError(f"run {run}: has the tag {name} already")
        tag_id = ensure_tag(session, row.experiment_id, name).id
        session.add(RunTag(run_id=row.id, tag_id=tag_id))
        _said(session, editor, row, Change("tag", "run", run, before, sorted([*before, name])))
        renew_due(session, row.experiment_id, datasets_with_tags(session, row.experiment_id, name))
        return row.revision

    return editor.change(work)


def untag(editor: Editor, run: str, name: str, revision: int | None = None) -> int:
    """Take a tag off a run; datasets that included it are due. Return its new revision.

    Raises
    ------
    ConflictError : the run is not as the editor has seen it (`revision`)
    """

    def work(session: Session) -> int:
        row = find_run(session, editor.experiment, run)
        take(session, row, f"run {run}", revision)
        before = _tags(session, row)
        if name not in before:
            raise unknown(f"tag of run {run}", name, before)
        own = Tag.experiment_id == row.experiment_id
        tag_id = session.scalars(select(Tag.id).where(own, Tag.name == name)).one()
        session.delete(session.get_one(RunTag, (row.id, tag_id)))
        after = [other for other in before if other != name]
        _said(session, editor, row, Change("untag", "run", run, before, after))
        renew_due(session, row.experiment_id, datasets_with_tags(session, row.experiment_id, name))
        return row.revision

    return editor.change(work)


def _tags(session: Session, run: Run) -> list[str]:
    query = select(Tag.name).join(RunTag, RunTag.tag_id == Tag.id).where(RunTag.run_id == run.id)
    return sorted(session.scalars(query))


def _said(session: Session, editor: Editor, run: Run, change: Change) -> None:
    editor.note(session, run.experiment_id, change)
    session.flush()


def new_group(
    editor: Editor, name: str, runs: tuple[str, str], settings: Mapping[str, Any]
) -> None:
    """Make a group of runs that share geometry and calibration.

    Parameters
    ----------
    runs : the first and the last, in order of their names
    settings : of the section `ingest`, where they differ from the trial's

    Raises
    ------
    ConflictError : there is a group of this name
    SettingsError : a setting is unknown or out of bounds
    """
    checked_name(name, "run group")
    first, last = (checked_name(run, "run") for run in runs)
    if _before(last, first):
        raise CatalogError(f"run group {name}: its first run {first} comes after its last {last}")
    IngestSettings.checked(settings)

    def work(session: Session) -> None:
        experiment = find_experiment(session, editor.experiment)
        for known in groups(session, editor.experiment):
            if known.name == name:
                raise ConflictError(f"run group {name}: is there already; choose another name")
            if not (_before(last, known.first_run) or _before(known.last_run, first)):
                raise CatalogError(
                    f"run group {name}: group {known.name} has runs of it already: "
                    f"{known.first_run} to {known.last_run}"
                )
        row = RunGroup(
            experiment_id=experiment.id,
            name=name,
            first_run=first,
            last_run=last,
            settings=json.dumps(dict(settings), sort_keys=True),
            created_s=time.time(),
        )
        session.add(row)
        after = {"first_run": first, "last_run": last, "settings": dict(settings)}
        editor.note(session, experiment.id, Change("new", "run group", name, after=after))

    editor.change(work)


def _before(run: str, other: str) -> bool:
    """Return whether a run's name comes before another's."""
    return natural(Path(run)) < natural(Path(other))
