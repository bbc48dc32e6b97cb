"""How a refinement of structure factors went, and what it made of the merged data."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xfel_apps.containers.factors import FactorsManifest
from xfel_apps.plots.style import BLUE, GREEN, ORANGE, figure, grid, styled


@styled
def progress(manifest: FactorsManifest) -> Figure:
    """Return likelihood, change and correlations by iteration, and correlations by shell."""
    result = figure(10.5, 2.8)
    misfit, agreement, shells = result.subplots(1, 3)
    rows = manifest.iterations
    number = [row["iteration"] for row in rows]
    values = np.array([row["misfit"] for row in rows], dtype=float)
    misfit.plot(number, values - values.min(initial=np.inf), "o-", markersize=2.5, color=BLUE)
    misfit.set_yscale("symlog", linthresh=10.0)
    misfit.set_title("−ln L of all pixels, above its least")
    for key, label, colour in (
        ("cc_start", "CC to start", BLUE),
        ("cc_reference", "CC to reference", GREEN),
    ):
        _line(agreement, number, [row[key] for row in rows], label, colour)
    agreement.set_title("correlation of intensities")
    if agreement.get_legend_handles_labels()[0]:
        agreement.legend()
    for axes in (misfit, agreement):
        axes.set_xlabel("iteration")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        grid(axes)
    _shells(shells, manifest)
    return result


def _shells(axes: Axes, manifest: FactorsManifest) -> None:
    """Draw correlations by shell: with the reference if there is one, else of the halves."""
    pairs = (("merged", ORANGE), ("refined", BLUE))
    if manifest.compared:
        rows = manifest.compared[1:]
        for name, colour in pairs:
            _by_resolution(axes, rows, f"cc_{name}", name, colour)
        axes.set_title("CC to reference, same reflections")
    else:
        old = manifest.merged_statistics.get("shells", ())
        for (name, colour), rows in zip(pairs, (old, manifest.statistics["shells"]), strict=True):
            _by_resolution(axes, rows, "cc_half", name, colour)
        axes.set_title("CC½")
    axes.set_xlabel("d [Å]")
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    grid(axes)


def _by_resolution(
    axes: Axes, rows: Sequence[Mapping[str, Any]], key: str, label: str, colour: str
) -> None:
    middle = np.array([0.5 * (row["d_max_ang"] ** -2 + row["d_min_ang"] ** -2) for row in rows])
    _line(axes, middle.tolist(), [row[key] for row in rows], label, colour)
    ticks = middle[:: max(1, -(-len(middle) // 4))]
    axes.set_xticks(ticks, [f"{tick**-0.5:.2f}" for tick in ticks])


def _line(axes: Axes, x: list[float], y: list[float | None], label: str, colour: str) -> None:
    values = np.array(y, dtype=float)
    if np.isfinite(values).any():
        axes.plot(x, values, "o-", markersize=2.5, color=colour, label=label)
