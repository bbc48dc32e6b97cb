"""A plan's outcome as text for the terminal."""

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from xfel_apps.plan.history import Activity
from xfel_apps.plan.outcome import PERCENTILES, Floats, Outcome, percentiles
from xfel_apps.plan.run import Plan, smallest
from xfel_apps.units import duration

COLUMNS = ("live", "reprocessing", "preemptible", "overhead", "lost", "idle")
HARDLY = 0.1
"""Waits below this fraction of the limit are not what makes results late."""


def show_plans(plans: Sequence[Plan]) -> Group:
    """Return the table of the reservations, and which of them is enough."""
    settings = plans[0].settings
    return Group(
        _heading(plans[0]),
        Text(""),
        _node_time(plans),
        Text(""),
        _waits(plans),
        Text(""),
        _results(plans),
        Text(""),
        _advice(plans, settings.result_within_min, settings.result_share),
    )


def shares(outcome: Outcome) -> dict[str, float]:
    """Return the parts of the node time that are shown, in the order of COLUMNS."""
    time = outcome.node_time
    return {
        "live": time[Activity.LIVE],
        "reprocessing": time[Activity.REPROCESSING],
        "preemptible": time[Activity.PREEMPTIBLE],
        "overhead": time[Activity.WARMING_UP] + time[Activity.KEPT_WARM],
        "lost": time[Activity.LOST],
        "idle": outcome.idle,
    }


def _heading(plan: Plan) -> Text:
    settings = plan.settings
    n = len(plan.shifts)
    runs = len(plan.outcome.results_s) / n
    shots = sum(run.shots for shift in plan.shifts for run in shift.runs) / n
    return Text(
        f"{n} simulated shifts of {settings.beam.shift_h:g} h, each with {runs:.0f} runs and "
        f"{shots:,.0f} shots on average"
    )


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")


def _node_time(plans: Sequence[Plan]) -> Table:
    table = _table("Where the reserved node time goes [%]")
    for name in ("nodes", "used", *COLUMNS):
        table.add_column(name, justify="right")
    for plan in plans:
        values = [plan.outcome.used, *shares(plan.outcome).values()]
        table.add_row(f"{plan.outcome.nodes}", *(f"{100 * value:.1f}" for value in values))
    return table


def _waits(plans: Sequence[Plan]) -> Table:
    table = _table("Waits of live jobs for nodes")
    for name in ("nodes", *PERCENTILES):
        table.add_column(name, justify="right", no_wrap=True)
    for plan in plans:
        table.add_row(f"{plan.outcome.nodes}", *_durations(plan.outcome.waits_s))
    return table


def _results(plans: Sequence[Plan]) -> Table:
    limit_min = plans[0].settings.result_within_min
    table = _table("Results after a run's last shot")
    for name in ("nodes", *PERCENTILES, f"within {limit_min:g} min"):
        table.add_column(name, justify="right", no_wrap=True)
    for plan in plans:
        share = f"{100 * plan.outcome.share_within(limit_min):.1f} %"
        style = "green" if plan.is_enough else "yellow"
        cells = _durations(plan.outcome.results_s)
        table.add_row(f"{plan.outcome.nodes}", *cells, Text(share, style=style))
    return table


def _durations(values: Floats) -> list[str]:
    return ["-" if x is None else duration(x) for x in percentiles(values).values()]


def _advice(plans: Sequence[Plan], limit_min: float, share: float) -> Text:
    wanted = f"{100 * share:g} % of the results within {limit_min:g} min"
    best = smallest(plans)
    if best is not None:
        verb = "is" if best.outcome.nodes == 1 else "are"
        return Text(f"{plural(best.outcome.nodes)} {verb} enough for {wanted}", style="bold green")
    said = f"Not enough for {wanted}"
    last = plans[-1].outcome
    p90_s = percentiles(last.waits_s)["p90"] or 0.0
    if last.load > 1:
        said += f": {plural(last.nodes)} can do {100 / last.load:.0f} % of the live work"
    elif p90_s < HARDLY * 60 * limit_min:
        said += ": jobs hardly wait for nodes; more nodes a job (work.nodes_per_job), chunks "
        said += "(beam.chunk_min) or a faster transfer would help"
    return Text(said, style="bold yellow")


def plural(nodes: int) -> str:
    """Return a number of nodes in words.

    >>> plural(1), plural(4)
    ('1 node', '4 nodes')
    """
    return "1 node" if nodes == 1 else f"{nodes} nodes"
