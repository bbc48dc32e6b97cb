"""The verbs `run`, `trial`, `dataset` and `catalog` of the command line."""

from xfel_apps.catalog.commands.catalog import catalog_app
from xfel_apps.catalog.commands.datasets import dataset_app
from xfel_apps.catalog.commands.runs import run_app
from xfel_apps.catalog.commands.trials import trial_app

VERBS = {"run": run_app, "trial": trial_app, "dataset": dataset_app, "catalog": catalog_app}
"""Verb -> what makes its commands."""

__all__ = ["VERBS"]
