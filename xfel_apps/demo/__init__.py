"""demo: simulate a run, take it through the whole workflow, compare with the truth."""

from xfel_apps.demo.run import run_demo

__all__ = ["run_demo"]
