"""Curves of merged data against resolution."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xfel_apps.plots.style import BLUE, GREEN, ORANGE, PINK, figure, grid, styled

CURVES = (
    (
        "correlation",
        (
            ("CC½", "cc_half"),
            ("CC*", "cc_star"),
            ("CC to reference", "cc_reference"),
            ("CC anomalous", "cc_anom"),
        ),
    ),
    ("completeness", (("completeness", "completeness"),)),
    ("observations a reflection", (("multiplicity", "multiplicity"),)),
    ("mean I/σ of merged", (("I/σ", "mean_i_over_sigma"),)),
    ("Rsplit", (("Rsplit", "r_split"),)),
    ("scatter of repeats χ²", (("χ²", "chi_square"),)),
)
COLOURS = (BLUE, ORANGE, GREEN, PINK)


@styled
def curves(statistics: Mapping[str, Any]) -> Figure:
    """Return the curves of the shells and the Wilson plot."""
    result = figure(12.4, 5.0)
    panels = result.subplots(2, 4).ravel()
    for axes, (title, lines) in zip(panels, CURVES, strict=False):
        _curve(axes, statistics["shells"], lines)
        axes.set_title(title)
    panels[0].set_ylim(top=1.02)
    _cutoff(panels[0], statistics.get("cutoff") or {})
    panels[1].set_ylim(0.0, 1.03)
    for axes in panels[2:6]:
        axes.set_ylim(bottom=0.0)
    _scatter(panels[6], statistics.get("intensities", ()))
    _wilson(panels[7], statistics)
    return result


def _curve(
    axes: Axes, shells: Sequence[Mapping[str, Any]], lines: Sequence[tuple[str, str]]
) -> None:
    """Draw statistics against 1/d^2 with d at the ticks."""
    middle = np.array([0.5 * (s["d_max_ang"] ** -2 + s["d_min_ang"] ** -2) for s in shells])
    drawn = 0
    for (label, key), colour in zip(lines, COLOURS, strict=False):
        values = np.array([shell.get(key) for shell in shells], dtype=float)
        if np.isfinite(values).any():
            axes.plot(middle, values, "o-", markersize=2.5, color=colour, label=label)
            drawn += 1
    ticks = middle[:: max(1, -(-len(middle) // 4))]
    axes.set_xticks(ticks, [f"{tick**-0.5:.2f}" for tick in ticks])
    axes.set_xlabel("d [Å]")
    if drawn > 1:
        axes.legend()
    grid(axes)


def _cutoff(axes: Axes, cutoff: Mapping[str, Any]) -> None:
    """Mark where the data are taken to end."""
    if cutoff.get("d_min_ang"):
        axes.axvline(cutoff["d_min_ang"] ** -2, color="0.6", linestyle=":")


def _scatter(axes: Axes, bins: Sequence[Mapping[str, Any]]) -> None:
    """Draw the scatter of repeated observations against the merged I/sigma."""
    x = [each["mean_i_over_sigma"] for each in bins]
    axes.plot(x, [each["chi_square"] for each in bins], "o-", markersize=2.5, color=BLUE)
    axes.axhline(1.0, color="0.6", linestyle=":")
    axes.set_ylim(bottom=0.0)
    axes.set_title("χ² by intensity")
    axes.set_xlabel("mean I/σ of merged, weak to strong")
    grid(axes)


def _wilson(axes: Axes, statistics: Mapping[str, Any]) -> None:
    b_ang2 = statistics.get("wilson_b_ang2")
    x, y = statistics.get("wilson_s2_invang2", ()), statistics.get("wilson_log_ratio", ())
    axes.plot(x, y, "o-", markersize=2.5, color=BLUE)
    axes.set_title("Wilson plot" + ("" if b_ang2 is None else f", B = {b_ang2:.1f} Å²"))
    axes.set_xlabel("1/(4d²) [1/Å²]")
    axes.locator_params(axis="x", nbins=4)
    grid(axes)
