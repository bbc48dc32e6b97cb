"""Curves of merging statistics against resolution."""

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from xfel_apps.merge.statistics import ShellStatistics, Statistics

CURVES: tuple[tuple[str, tuple[str, ...], tuple[float | None, float | None]], ...] = (
    ("correlation", ("cc_half", "cc_star", "cc_reference", "cc_anom"), (None, 1.02)),
    ("completeness", ("completeness",), (0.0, 1.02)),
    ("observations a reflection", ("multiplicity",), (0.0, None)),
    ("<I / sigma>", ("mean_i_over_sigma",), (0.0, None)),
    ("Rsplit", ("r_split",), (0.0, None)),
)
LABELS = {
    "cc_half": "CC1/2",
    "cc_star": "CC*",
    "cc_reference": "CC to reference",
    "cc_anom": "CC anomalous",
}


def draw(path: Path, statistics: Statistics) -> None:
    """Draw the curves of the shells and the Wilson plot, as SVG."""
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3).ravel()
    for axis, (title, names, limits) in zip(axes, CURVES, strict=False):
        _curve(axis, statistics.shells, names)
        axis.set_title(title)
        axis.set_ylim(*limits)
    _wilson(axes[-1], statistics)
    part = path.with_name(f".{path.name}.part")
    with rc_context({"svg.hashsalt": "xfelflow"}):
        figure.savefig(part, format="svg", metadata={"Date": None})
    part.replace(path)


def _curve(axis: Axes, shells: tuple[ShellStatistics, ...], names: tuple[str, ...]) -> None:
    """Draw the named statistics against 1/d^2, with d at the ticks."""
    middle = np.array([0.5 * (s.d_max_ang**-2 + s.d_min_ang**-2) for s in shells])
    for name in names:
        values = np.array([getattr(shell, name) for shell in shells], dtype=float)
        if np.isfinite(values).any():
            axis.plot(middle, values, "o-", ms=3, label=LABELS.get(name, name))
    ticks = np.linspace(middle[0], middle[-1], min(5, len(middle)))
    axis.set_xticks(ticks, [f"{tick**-0.5:.2f}" for tick in ticks])
    axis.set_xlabel("d [Å]")
    axis.grid(alpha=0.3)
    if len(names) > 1 and axis.lines:
        axis.legend()


def _wilson(axis: Axes, statistics: Statistics) -> None:
    """Draw the Wilson plot."""
    axis.plot(statistics.wilson_s2_invang2, statistics.wilson_log_ratio, "o-", ms=3)
    b_ang2 = statistics.wilson_b_ang2
    axis.set_title("Wilson plot" + ("" if b_ang2 is None else f", B = {b_ang2:.1f} Å²"))
    axis.set_xlabel("1/(4 d²) [1/Å²]")
    axis.set_ylabel("ln(<I> / Σf²)")
    axis.grid(alpha=0.3)
