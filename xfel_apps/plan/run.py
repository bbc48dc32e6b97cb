"""Simulate the shifts of a plan, over one reservation or several."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from xfel_apps.plan.arrivals import Shift, draw_shift, offered_load
from xfel_apps.plan.history import History
from xfel_apps.plan.outcome import Outcome, outcome
from xfel_apps.plan.settings import PlanSettings
from xfel_apps.plan.simulation import simulate


@dataclass(frozen=True)
class Plan:
    """Simulated shifts over one reservation, and what came of them."""

    settings: PlanSettings
    shifts: tuple[Shift, ...]
    histories: tuple[History, ...]
    outcome: Outcome

    @property
    def is_enough(self) -> bool:
        """Whether results come in time as often as they should."""
        share = self.outcome.share_within(self.settings.result_within_min)
        return share >= self.settings.result_share


def run_plan(settings: PlanSettings, report: Callable[[str], None] = lambda _: None) -> Plan:
    """Return the plan's shifts and what came of them.

    `report` is called after each shift. The shifts' runs depend on the seed and on `beam` only, so
    that reservations are compared with the same runs.
    """
    shift_s = 3600 * settings.beam.shift_h
    shifts, histories = [], []
    for stream in np.random.SeedSequence(settings.seed).spawn(settings.repeats):
        shift = draw_shift(settings, np.random.default_rng(stream))
        shifts.append(shift)
        histories.append(
            simulate(settings.reservation, settings.filling, shift_s, shift.jobs, shift.backlog)
        )
        report("simulated")
    nodes, load = settings.reservation.nodes, offered_load(settings, shifts)
    result = outcome(nodes, load, shift_s, shifts, histories)
    return Plan(settings, tuple(shifts), tuple(histories), result)


def smallest(plans: Sequence[Plan]) -> Plan | None:
    """Return the plan of the smallest reservation that is enough, if there is one."""
    enough = [plan for plan in plans if plan.is_enough]
    return min(enough, key=lambda plan: plan.outcome.nodes, default=None)
