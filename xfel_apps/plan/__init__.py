"""plan: simulate shifts over a reservation of nodes, so that a team can size it."""

from xfel_apps.plan.make import make_plan
from xfel_apps.plan.request import PlanRequest
from xfel_apps.plan.run import Plan, run_plan, smallest
from xfel_apps.plan.settings import PlanSettings

__all__ = ["Plan", "PlanRequest", "PlanSettings", "make_plan", "run_plan", "smallest"]
