"""Predicted against measured waits: a shift of minutes, simulated and played on a Slurm cluster.

The test cluster (tests/slurm/cluster.py: four pretend nodes, real Slurm) is timed while empty, for
what it takes to start a job. Then live jobs that sleep come to a reservation full of preemptible
jobs, in one shift that leave at once when told, in another after some seconds. The plan gets the
same arrivals and is not fitted to what comes out. Needs root.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from tests.slurm import packages
from tests.slurm.cluster import Cluster
from tests.slurm.shift import (
    Calibration,
    Comparison,
    calibrate,
    compare,
    play,
    predict,
    small_shift,
    work_of,
)
from xfel_apps.plan.draw import COLOURS
from xfel_apps.plan.history import Activity
from xfel_apps.plots.style import (
    BLUE,
    FAINT,
    RED,
    RULE,
    figure,
    grid,
    save_png,
    save_svg,
    styled,
)

SHOWN = (Activity.LIVE, Activity.REPROCESSING, Activity.PREEMPTIBLE, Activity.LOST)
HUES = (BLUE, RED)


@styled
def draw(found: dict[str, Comparison], path: Path) -> None:
    """Draw waits job by job, their distributions, and the node time."""
    picture = figure(10.0, 3.4)
    jobs, all_jobs, nodes = picture.subplots(1, 3, width_ratios=(1, 1.1, 1))
    _draw_jobs(jobs, found)
    _draw_distributions(all_jobs, found)
    _draw_node_time(nodes, found)
    if path.suffix == ".png":
        save_png(picture, path, 150)
    else:
        save_svg(picture, path)


def _draw_jobs(axes: Axes, found: dict[str, Comparison]) -> None:
    most_s = 1.05 * max(waits.max() for one in found.values() for waits in one.waits_s)
    axes.plot([0, most_s], [0, most_s], color=RULE, linewidth=1)
    for colour, one in zip(HUES, found.values(), strict=True):
        axes.plot(*one.waits_s, "o", color=colour, markersize=4, alpha=0.7, markeredgewidth=0)
    axes.set_xlabel("predicted wait [s]")
    axes.set_ylabel("measured wait [s]")
    axes.set_title("Each job")
    axes.set_aspect("equal")
    axes.set_xlim(0, most_s)
    axes.set_ylim(0, most_s)


def _draw_distributions(axes: Axes, found: dict[str, Comparison]) -> None:
    for colour, (name, one) in zip(HUES, found.items(), strict=True):
        for waits_s, style, what in zip(
            one.waits_s, ("--", "-"), ("predicted", "measured"), strict=True
        ):
            axes.ecdf(waits_s, color=colour, linestyle=style, label=f"{name}, {what}")
    axes.set_xlabel("wait [s]")
    axes.set_ylabel("fraction of the jobs that waited less")
    axes.set_title("All jobs; preemptible ones leave")
    axes.legend(loc="lower right")
    grid(axes)


def _draw_node_time(axes: Axes, found: dict[str, Comparison]) -> None:
    names = [f"{name}\n{what}" for name in found for what in ("predicted", "measured")]
    columns = [times for one in found.values() for times in one.node_time]
    below = np.zeros(len(columns))
    for what in SHOWN:
        heights = np.array([100 * column[what] for column in columns])
        axes.bar(names, heights, bottom=below, color=COLOURS[what], label=str(what), width=0.7)
        below += heights
    axes.set_ylim(0, 100)
    axes.set_ylabel("reserved node time [%]")
    axes.set_title("What the nodes did")
    axes.tick_params(axis="x", labelsize=7, labelcolor=FAINT)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)


def run(shift_s: float, seed: int, give_way_s: float) -> tuple[Calibration, dict[str, Comparison]]:
    """Return what the cluster takes to start jobs, and both shifts compared."""
    found = {}
    with Cluster() as cluster:
        calibration = calibrate(cluster)
        print(f"an empty cluster starts a job in {calibration.schedule_s:.2f} s", flush=True)
        for name, leave_s in (("at once", 0.0), (f"after {give_way_s:g} s", give_way_s)):
            settings = small_shift(shift_s, leave_s, calibration)
            jobs = work_of(settings, seed)
            played = play(cluster, settings, jobs)
            found[name] = compare(settings, jobs, predict(settings, jobs), played)
            print(f"preemptible jobs leave {name}: {found[name]}", flush=True)
    return calibration, found


def main() -> None:
    """Print each shift's figures, draw them, then print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shift-s", type=float, default=150.0, help="length of a shift [s]")
    parser.add_argument("--give-way-s", type=float, default=8.0, help="of the second shift [s]")
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal arrivals")
    parser.add_argument("--plot", type=Path, default=Path("build/plan-cluster.svg"))
    args = parser.parse_args()
    if reason := packages.reason_against():
        sys.exit(f"no Slurm cluster: {reason}")
    calibration, found = run(args.shift_s, args.seed, args.give_way_s)
    args.plot.parent.mkdir(parents=True, exist_ok=True)
    draw(found, args.plot)
    print(f"drew {args.plot}")
    figures = {name.replace(" ", "_"): one.figures() for name, one in found.items()}
    print(json.dumps({"schedule_s": round(calibration.schedule_s, 2), **figures}))


if __name__ == "__main__":
    main()
