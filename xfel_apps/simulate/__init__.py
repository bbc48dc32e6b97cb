"""simulate: a run of stills with the truth beside it, from a model, a data set or from nothing."""

from xfel_apps.simulate.run import simulate
from xfel_apps.simulate.settings import SimulateSettings

__all__ = ["SimulateSettings", "simulate"]
