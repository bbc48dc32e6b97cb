"""Edits that people make: each is one transaction, and leaves a line in the audit.

The later of two editors of the same thing gets a `ConflictError`.
"""

from xfel_apps.catalog.edits.datasets import change_dataset, new_dataset
from xfel_apps.catalog.edits.editor import Editor
from xfel_apps.catalog.edits.runs import add_run, add_runs, new_group, tag, untag
from xfel_apps.catalog.edits.trials import changed, new_trial

__all__ = [
    "Editor",
    "add_run",
    "add_runs",
    "change_dataset",
    "changed",
    "new_dataset",
    "new_group",
    "new_trial",
    "tag",
    "untag",
]
