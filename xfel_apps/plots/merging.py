"""Curves of merged data against resolution."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

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
KEYS = tuple(key for _, lines in CURVES for _, key in lines)


@dataclass(frozen=True)
class Shells:
    """Statistics of merged data by shell.

    Attributes
    ----------
    middle_invang2 : (n,) middles of the shells in 1/d^2 [1/Angstrom^2]
    values : statistic, of `KEYS` -> (n,), NaN where there is none
    """

    middle_invang2: NDArray[np.float64]
    values: Mapping[str, NDArray[np.float64]]

    @property
    def ticks(self) -> tuple[list[float], list[str]]:
        """Where an axis of 1/d^2 has its ticks, and the d that they say."""
        places = self.middle_invang2[:: max(1, -(-len(self.middle_invang2) // 4))]
        return places.tolist(), [f"{place**-0.5:.2f}" for place in places]


def shells(statistics: Mapping[str, Any]) -> Shells:
    """Return the shells of a manifest's statistics."""
    rows: Sequence[Mapping[str, Any]] = statistics["shells"]
    middle = np.array([0.5 * (s["d_max_ang"] ** -2 + s["d_min_ang"] ** -2) for s in rows])
    values = {key: np.array([row.get(key) for row in rows], dtype=float) for key in KEYS}
    return Shells(middle, values)


@styled
def curves(statistics: Mapping[str, Any]) -> Figure:
    """Return the curves of the shells and the Wilson plot."""
    result = figure(12.4, 5.0)
    panels = result.subplots(2, 4).ravel()
    found = shells(statistics)
    for axes, (title, lines) in zip(panels, CURVES, strict=False):
        _curve(axes, found, lines)
        axes.set_title(title)
    panels[0].set_ylim(top=1.02)
    _cutoff(panels[0], statistics.get("cutoff") or {})
    panels[1].set_ylim(0.0, 1.03)
    for axes in panels[2:6]:
        axes.set_ylim(bottom=0.0)
    _scatter(panels[6], statistics.get("intensities", ()))
    _wilson(panels[7], statistics)
    return result


def _curve(axes: Axes, found: Shells, lines: Sequence[tuple[str, str]]) -> None:
    """Draw statistics against 1/d^2 with d at the ticks."""
    drawn = 0
    for (label, key), colour in zip(lines, COLOURS, strict=False):
        if np.isfinite(found.values[key]).any():
            style = {"markersize": 2.5, "color": colour, "label": label}
            axes.plot(found.middle_invang2, found.values[key], "o-", **style)  # type: ignore[arg-type]  # mixed
            drawn += 1
    axes.set_xticks(*found.ticks)
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
