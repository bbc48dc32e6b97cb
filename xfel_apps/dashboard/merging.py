"""Figures on the versions of a dataset: statistics by resolution, and where more lattices lead."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xfel_apps.catalog.queries import BinInfo, VersionInfo
from xfel_apps.dashboard.forecast import Forecast

Figure = Mapping[str, Any]
PANELS = (
    ("cc_half", "CC½"),
    ("r_split", "Rsplit"),
    ("mean_i_over_sigma", "I/σ"),
    ("completeness", "completeness"),
    ("multiplicity", "multiplicity"),
    ("cc_star", "CC*"),
)
COLOURS = ("#0072b2", "#56b4e9", "#009e73", "#e69f00", "#cc79a7", "#8a929c")
"""Of the newest version, then older ones (Okabe & Ito 2008; grey for the oldest)."""
N_VERSIONS = len(COLOURS)
N_TICKS = 4


def by_resolution(bins: Mapping[str, Sequence[BinInfo]]) -> Figure:
    """Return the figure of all statistics against resolution, a panel each.

    Parameters
    ----------
    bins : name of a version -> its bins, the newest version first
    """
    data: list[dict[str, Any]] = []
    for number, (name, shells) in enumerate(list(bins.items())[:N_VERSIONS]):
        centre = [_centre(shell) for shell in shells]
        for panel, (key, _) in enumerate(PANELS, 1):
            trace = {
                "type": "scatter",
                "mode": "lines+markers" if number == 0 else "lines",
                "name": name,
                "legendgroup": name,
                "showlegend": panel == 1,
                "x": centre,
                "y": [getattr(shell, key) for shell in shells],
                "customdata": [_label(shell) for shell in shells],
                "hovertemplate": "%{y:.3g}<br>%{customdata}<extra>%{fullData.name}</extra>",
                "line": {"color": COLOURS[number], "width": 2.5 if number == 0 else 1.4},
                "marker": {"size": 5},
                "xaxis": _axis("x", panel),
                "yaxis": _axis("y", panel),
            }
            data.append(trace)
    return {"data": data, "layout": _panels(list(bins.values()))}


def _centre(shell: BinInfo) -> float:
    """Return where a bin stands on the axis: the mean of 1/d^2 at its limits [1/Angstrom^2]."""
    return 0.5 * (shell.d_max_ang**-2 + shell.d_min_ang**-2)


def _label(shell: BinInfo) -> str:
    return f"{shell.d_max_ang:.2f} – {shell.d_min_ang:.2f} Å"


def _panels(bins: Sequence[Sequence[BinInfo]]) -> dict[str, Any]:
    """Return the layout: two rows of three panels, their x axes marked in Angstrom."""
    edges = [shell.d_min_ang for shells in bins for shell in shells]
    ticks = _ticks(min(edges)) if edges else []
    layout: dict[str, Any] = {
        "grid": {"rows": 2, "columns": 3, "pattern": "independent", "xgap": 0.16, "ygap": 0.3},
        "annotations": [_heading(panel, title) for panel, (_, title) in enumerate(PANELS, 1)],
        "legend": {"orientation": "h", "x": 0, "y": 1.1, "yanchor": "bottom"},
    }
    for panel in range(1, len(PANELS) + 1):
        layout[_axis("xaxis", panel)] = {
            "tickvals": [d**-2 for d in ticks],
            "ticktext": [f"{d:.2g} Å" for d in ticks],
            "rangemode": "tozero",
            "tickangle": 0,
        }
        layout[_axis("yaxis", panel)] = {"rangemode": "tozero", "nticks": 5}
    return layout


def _heading(panel: int, title: str) -> dict[str, Any]:
    """Return what stands above a panel."""
    return {
        "text": f"<b>{title}</b>",
        "showarrow": False,
        "xref": f"{_axis('x', panel)} domain",
        "yref": f"{_axis('y', panel)} domain",
        "x": 0.0,
        "y": 1.03,
        "xanchor": "left",
        "yanchor": "bottom",
    }


def _axis(name: str, panel: int) -> str:
    """Return what Plotly calls the axis of a panel: the first has no number."""
    return name if panel == 1 else f"{name}{panel}"


def _ticks(d_min_ang: float) -> list[float]:
    """Return resolutions to mark, evenly spaced in 1/d^2, the last the limit."""
    squares = np.linspace(0, d_min_ang**-2, N_TICKS + 1)[1:]
    return [float(f"{value:.3g}") for value in squares**-0.5]


def growth(
    versions: Sequence[VersionInfo], values: Sequence[float | None], found: Forecast | None
) -> Figure:
    """Return the figure of merit of each version against its lattices, carried on to the target.

    Parameters
    ----------
    values : figure of merit of each version
    found : where it goes; None: not known
    """
    n_lattices = [version.n_crystals for version in versions]
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "versions",
            "x": n_lattices,
            "y": list(values),
            "customdata": [version.name for version in versions],
            "hovertemplate": "%{customdata}: %{y:.3g} with %{x:,} lattices<extra></extra>",
            "marker": {"size": 10, "color": COLOURS[0]},
        }
    ]
    axis = {"title": {"text": "lattices"}, "type": "log", "dtick": "D2", "tickformat": "~s"}
    layout: dict[str, Any] = {"xaxis": axis}
    layout["yaxis"] = {"rangemode": "tozero"}
    if found is not None:
        first = min((n for n in n_lattices if n), default=1)
        last = 1.6 * max(found.n_needed, found.n_now, 1)
        n = np.geomspace(0.7 * min(first, found.n_needed), max(last, first + 1), 80)
        data.append(_line("as √n lets expect", n, found.curve(n), COLOURS[3], "dash"))
        low, high = float(n[0]), float(n[-1])
        target = np.full(2, found.target)
        data.append(_line("target", np.array([low, high]), target, COLOURS[2], "dot"))
        data.append(_needed(found))
        layout["yaxis"]["title"] = {"text": found.merit.title}
    return {"data": data, "layout": layout}


def _line(name: str, x: Any, y: Any, colour: str, dash: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x.tolist(),
        "y": y.tolist(),
        "hoverinfo": "skip",
        "line": {"color": colour, "dash": dash, "width": 2},
    }


def _needed(found: Forecast) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{found.n_needed:,} lattices",
        "x": [found.n_needed],
        "y": [found.target],
        "hoverinfo": "name",
        "marker": {"size": 13, "symbol": "diamond", "color": COLOURS[2]},
    }
