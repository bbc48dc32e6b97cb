"""The picture of a plan: how long live work waits, and what the nodes do during one shift."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from xfel_apps.errors import SettingsError
from xfel_apps.plan.history import Activity
from xfel_apps.plan.outcome import Floats, timeline
from xfel_apps.plan.run import Plan
from xfel_apps.plots.style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    RED,
    SKY,
    figure,
    grid,
    save_png,
    save_svg,
    styled,
)

COLOURS = {
    Activity.LIVE: BLUE,
    Activity.REPROCESSING: SKY,
    Activity.PREEMPTIBLE: GREEN,
    Activity.WARMING_UP: ORANGE,
    Activity.KEPT_WARM: "#f0d9a8",
    Activity.LOST: RED,
}
WAIT_TICKS = {0: "0", 1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h", 36000: "10 h"}
FORMATS = (".png", ".svg")


def check_format(path: Path) -> None:
    """Raise a SettingsError if the file's ending is not one that can be drawn."""
    if path.suffix not in FORMATS:
        raise SettingsError(f"--plot {path}: expected a name that ends in {' or '.join(FORMATS)}")


@styled
def draw_plan(plan: Plan, path: Path) -> None:
    """Draw waits and results of all shifts, and the nodes' time of the first one, to a file."""
    check_format(path)
    picture = figure(8.0, 5.2)
    axes = picture.subplot_mosaic([["waits", "results"], ["nodes", "nodes"]])
    limit_s = 60 * plan.settings.result_within_min
    _histogram(axes["waits"], plan.outcome.waits_s, "Waits of live jobs for nodes", None)
    _histogram(axes["results"], plan.outcome.results_s, "Results after a run's last shot", limit_s)
    _nodes(axes["nodes"], plan)
    if path.suffix == ".svg":
        save_svg(picture, path)
    else:
        save_png(picture, path, 150)


def _histogram(axes: Axes, values_s: Floats, title: str, limit_s: float | None) -> None:
    """Draw the share of the values in bins that are even on the axis, log(1 + t)."""
    longest_s = max(float(values_s.max(initial=0.0)), 60.0)
    edges_s = np.expm1(np.linspace(0, np.log1p(1.01 * longest_s), 41))
    weights = np.full(len(values_s), 100 / max(len(values_s), 1))
    axes.hist(values_s, edges_s.tolist(), weights=weights, color=BLUE)
    axes.set_xscale("function", functions=(np.log1p, np.expm1))
    ticks = {at: name for at, name in WAIT_TICKS.items() if at <= 1.01 * longest_s}
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set_xlim(0, 1.01 * longest_s)
    axes.margins(y=0.15)
    axes.set_title(title)
    axes.set_ylabel("share [%]")
    grid(axes)
    if limit_s is not None:
        share = 100 * float(np.mean(values_s <= limit_s)) if len(values_s) else 100.0
        axes.axvline(limit_s, color=INK, linewidth=0.8, linestyle=":")
        axes.text(limit_s, 1.0, f" {share:.0f} % in time ", color=FAINT, ha="right", va="top",
                  transform=axes.get_xaxis_transform())  # fmt: skip


def _nodes(axes: Axes, plan: Plan) -> None:
    """Draw what the nodes do in the first shift, stacked."""
    shift_h = plan.settings.beam.shift_h
    times_s = np.linspace(0, 3600 * shift_h, 1500)
    nodes = timeline(plan.histories[0].uses, times_s)
    shown = [what for what in Activity if nodes[what].any()]
    axes.stackplot(
        times_s / 3600,
        [nodes[what] for what in shown],
        labels=[str(what) for what in shown],
        colors=[COLOURS[what] for what in shown],
        step="post",
        linewidth=0,
    )
    for run in plan.shifts[0].runs:
        axes.plot(
            [run.start_s / 3600, run.end_s / 3600],
            [-0.03, -0.03],
            color=INK,
            linewidth=2,
            solid_capstyle="butt",
            transform=axes.get_xaxis_transform(),
            clip_on=False,
        )
    axes.tick_params(axis="x", pad=8)
    axes.set_xlim(0, shift_h)
    axes.set_ylim(0, plan.outcome.nodes)
    axes.set_xlabel("time of the first shift [h]; black: runs being taken")
    axes.set_ylabel("nodes")
    axes.set_title(f"{plan.outcome.nodes} nodes, {100 * plan.outcome.used:.0f} % used")
    if shown:
        narrow = {"borderpad": 0, "columnspacing": 1.2, "handlelength": 1.2}
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(shown), **narrow)
