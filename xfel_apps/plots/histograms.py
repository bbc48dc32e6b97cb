"""Distributions over shots and lattices."""

from collections.abc import Mapping
from typing import Any

import gemmi
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xfel_apps.containers.outcome import Outcome
from xfel_apps.plots.style import BLUE, FAINT, GREEN, INK, ORANGE, figure, grid, styled

Array = NDArray[np.float64]

OUTCOME_COLOURS: Mapping[str, str] = {
    "lattice": GREEN,
    "hit, no lattice": ORANGE,
    "miss": "#bdbdbd",
}


def _group(outcome: str) -> str:
    """Return which of the three groups of a spot histogram a final outcome belongs to."""
    if outcome in (Outcome.INDEXED, Outcome.INTEGRATED):
        return "lattice"
    return "miss" if outcome == Outcome.MISS else "hit, no lattice"


@styled
def spots_per_shot(shots: pd.DataFrame) -> Figure:
    """Return the histogram of spots a shot, by what became of the shot."""
    result = figure(4.6, 2.6)
    axes = result.subplots()
    n_spots = shots["n_spots"].to_numpy(dtype=float)
    edges = _count_edges(float(n_spots.max(initial=0)))
    groups = shots["final"].map(_group)
    parts = [n_spots[groups == name] for name in OUTCOME_COLOURS]
    labels = [f"{name} ({len(part):,})" for name, part in zip(OUTCOME_COLOURS, parts, strict=True)]
    colours = list(OUTCOME_COLOURS.values())
    axes.hist(parts, bins=edges, stacked=True, color=colours, label=labels)  # type: ignore[arg-type]  # takes lists of arrays and of texts
    if edges[-1] > 120:
        axes.set_xscale("symlog", linthresh=20.0)
        axes.set_xticks([x for x in (0, 10, 20, 50, 100, 200, 500, 1000, 2000) if x <= edges[-1]])
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.minorticks_off()
    axes.set_xlim(0, edges[-1])
    axes.set_xlabel("spots found")
    axes.set_ylabel("shots")
    above(axes)
    grid(axes)
    return result


def _count_edges(highest: float) -> Array:
    """Return edges of bins for counts, wider where counts are higher."""
    if highest <= 120:
        step = max(1, round(highest / 40))
        return np.arange(0, highest + 2 * step, step) - 0.5
    fine = np.arange(0, 20, 2) - 0.5
    return np.concatenate([fine, np.geomspace(19.5, highest + 1, 28)])


def fixed_by_symmetry(space_group: str) -> list[bool]:
    """Return for a, b, c, alpha, beta, gamma whether symmetry fixes it or makes it equal to a.

    >>> fixed_by_symmetry("P 43 21 2")
    [False, True, False, True, True, True]
    """
    group = gemmi.find_spacegroup_by_name(space_group)
    system = group.crystal_system_str() if group else "triclinic"
    equal_a = {
        "tetragonal": [1],
        "trigonal": [1],
        "hexagonal": [1],
        "cubic": [1, 2],
    }.get(system, [])
    if group and group.ext == "R":
        equal_a = [1, 2]
    angles = {"triclinic": [], "monoclinic": [3, 5]}.get(system, [3, 4, 5])
    if system == "monoclinic" and group is not None:
        angles = [3 + "abc".index(axis) for axis in "abc" if axis != group.monoclinic_unique_axis()]
    return [index in (*equal_a, *angles) for index in range(6)]


@styled
def simple(values: Array, label: str, colour: str = BLUE) -> Figure:
    """Return the histogram of any positive quantity with its median."""
    result = figure(4.6, 2.4)
    axes = result.subplots()
    values = values[np.isfinite(values)]
    if not len(values):
        return nothing(result, f"no {label} known")
    if np.ptp(values) == 0.0:
        return nothing(result, f"{label}: {values[0]:g} for all")
    low, high = core(values)
    axes.hist(values, bins=np.linspace(low, high, 40).tolist(), color=colour)
    axes.axvline(float(np.median(values)), color=INK, linewidth=0.9)
    axes.set_title(f"median {np.median(values):.3g}, sd {spread(values):.2g}")
    axes.set_xlabel(label)
    axes.set_ylabel("lattices")
    grid(axes)
    return result


@styled
def whole_numbers(values: NDArray[Any], label: str) -> Figure:
    """Return the bar chart of a small whole number, the count above each bar."""
    result = figure(4.6, 2.4)
    axes = result.subplots()
    numbers, counts = np.unique(values.astype(int), return_counts=True)
    bars = axes.bar(numbers, counts, color=GREEN, width=0.7)
    axes.bar_label(bars, [f"{n:,}" for n in counts], padding=2, color=FAINT)
    axes.set_xticks(numbers)
    axes.set_ylim(0, counts.max(initial=1) * 1.18)
    axes.set_xlabel(label)
    axes.set_ylabel("shots")
    grid(axes)
    return result


def above(axes: Axes, n_columns: int = 3) -> None:
    """Put the legend above the plot, out of the data's way."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=n_columns,
        borderaxespad=0.2,
        handlelength=1.2,
        columnspacing=1.0,
        fontsize=7.5,
    )


def spread(values: Array) -> float:
    """Return the standard deviation as the central two thirds say it: robust to outliers.

    >>> round(spread(np.random.default_rng(0).normal(0, 2, 20000)), 1)
    2.0
    """
    low, high = np.percentile(values, [15.87, 84.13])
    return float(high - low) / 2.0


def core(values: Array) -> tuple[float, float]:
    """Return the range to show: all values, but nothing beyond eight standard deviations."""
    middle, half = float(np.median(values)), 8.0 * spread(values)
    low, high = max(values.min(), middle - half), min(values.max(), middle + half)
    pad = 0.02 * (high - low) or max(abs(middle) * 1e-3, 1e-3)
    return float(low - pad), float(high + pad)


def nothing(result: Figure, text: str) -> Figure:
    """Return a figure that says why it is empty."""
    result.clear()
    result.text(0.5, 0.5, text, ha="center", va="center", color=FAINT)
    return result
