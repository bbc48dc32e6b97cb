"""A whole experiment file into the catalog."""

from pathlib import Path

from sqlalchemy.orm import Session

from xfel_apps.catalog.edits.datasets import new_dataset
from xfel_apps.catalog.edits.editor import Change, Editor
from xfel_apps.catalog.edits.runs import add_runs, tag
from xfel_apps.catalog.ensure import ensure_experiment, ensure_trial
from xfel_apps.catalog.parameters import Parameters
from xfel_apps.catalog.queries import datasets, runs
from xfel_apps.catalog.selection import Selection
from xfel_apps.errors import CatalogError
from xfel_apps.experiment import Experiment


def put_experiment(editor: Editor, experiment: Experiment) -> None:
    """Put runs, settings and datasets into the catalog; what is there already stays.

    A dataset becomes that of the runs that have a tag of its name.

    Raises
    ------
    CatalogError : the trial is there with other settings, or a run with other files
    """
    put_trial(editor, experiment)
    files = experiment.runs.items()
    add_runs(editor, {run: [str(Path(path).absolute()) for path in paths] for run, paths in files})
    with editor.catalog.reading() as session:
        tags = {run.name: run.tags for run in runs(session, editor.experiment)}
        known = [row.name for row in datasets(session, editor.experiment, experiment.trial)]
    for name, members in experiment.datasets.items():
        for run in members:
            if name not in tags[run]:
                tag(editor, run, name)
        if name not in known:
            new_dataset(editor, experiment.trial, name, Selection(any=(name,)))


def put_trial(editor: Editor, experiment: Experiment) -> bool:
    """Put the trial of an experiment with its settings into the catalog; return whether it is new.

    Raises
    ------
    CatalogError : it is there with other settings
    """
    parameters = Parameters.of(experiment)

    def work(session: Session) -> bool:
        owner = ensure_experiment(session, editor.experiment, experiment.results)
        row = ensure_trial(session, owner, experiment.trial, parameters)
        if row.digest != parameters.digest:
            raise CatalogError(
                f"trial {row.name}: is in the catalog with other settings; choose another name "
                "(`trial: ...`), or `xfelflow trial new --config`"
            )
        if row.actor:
            return False
        row.actor = editor.actor
        after = {"digest": row.digest}
        editor.note(session, owner.id, Change("import", "trial", row.name, after=after))
        return True

    return editor.change(work)
