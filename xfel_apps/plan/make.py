"""Make a plan: simulate each reservation, and print and draw what came of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xfel_apps.plan.request import PlanRequest
from xfel_apps.plan.run import Plan, run_plan, smallest
from xfel_apps.progress import Progress


def make_plan(request: PlanRequest, plot: Path | None = None, as_json: bool = False) -> None:
    """Print the plan that was asked for; draw the smallest reservation that is enough, or the last.

    Raises
    ------
    SettingsError
        Before anything is simulated, if a setting is wrong.
    """
    from rich.console import Console

    from xfel_apps.plan.draw import check_format, draw_plan
    from xfel_apps.plan.show import show_plans

    if plot is not None:
        check_format(plot)
    every = request.settings()
    with Progress("shifts", sum(one.repeats for one in every)) as progress:
        plans = [run_plan(one, progress.report) for one in every]
    if as_json:
        print(json.dumps(as_data(plans)))
    else:
        Console().print(show_plans(plans))
    if plot is not None:
        draw_plan(smallest(plans) or plans[-1], plot)


def as_data(plans: Sequence[Plan]) -> dict[str, Any]:
    """Return plans as plain data: settings, one row a reservation, the smallest that is enough."""
    best = smallest(plans)
    settings = plans[0].settings.model_dump(mode="json")
    del settings["reservation"]["nodes"]
    return {
        "settings": settings,
        "reservations": [plan.outcome.row(plan.settings.result_within_min) for plan in plans],
        "smallest_nodes": best.outcome.nodes if best else None,
    }
