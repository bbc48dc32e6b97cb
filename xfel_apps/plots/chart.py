"""Figures for a browser: Plotly's JSON, and a page that stands alone with the library inside.

Colours of text and lines are left to the page that shows a figure: light or dark.
"""

import html
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.manifest import write_text

Chart = dict[str, Any]
"""A figure as Plotly takes it: `data`, a list of traces, and `layout`."""

FONT = "system-ui, 'DejaVu Sans', sans-serif"
LAYOUT: dict[str, Any] = {
    "paper_bgcolor": "#fff",
    "plot_bgcolor": "#fff",
    "font": {"family": FONT, "size": 13, "color": "#1c1c1c"},
    "margin": {"l": 70, "r": 30, "t": 60, "b": 60},
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
}
AXIS: dict[str, Any] = {"gridcolor": "#e4e4e4", "zerolinecolor": "#c9c9c9", "automargin": True}


def numbers(values: NDArray[Any] | Sequence[float], digits: int = 6) -> list[float | None]:
    """Return values as JSON has them: rounded to significant digits, None where not finite.

    >>> numbers(np.array([1.23456789, np.nan, 1200000.4]))
    [1.23457, None, 1200000.0]
    """
    array = np.asarray(values, dtype=float)
    known = np.isfinite(array) & (array != 0)
    power = np.floor(np.log10(np.abs(array, where=known, out=np.ones_like(array))))
    factor = 10.0 ** (digits - 1 - power)
    rounded = np.where(known, np.round(array * factor) / factor, array)
    return [value if np.isfinite(value) else None for value in rounded.tolist()]


def grid_of(n: int, n_columns: int, gap: tuple[float, float] = (0.09, 0.2)) -> dict[str, Any]:
    """Return the axes of `n` small plots in a grid, row by row, as parts of a layout.

    Parameters
    ----------
    n, n_columns : plots, and how many stand side by side
    gap : between columns and between rows, as shares of the whole
    """
    n_rows = -(-n // n_columns)
    width = (1.0 - gap[0] * (n_columns - 1)) / n_columns
    height = (1.0 - gap[1] * (n_rows - 1)) / n_rows
    axes: dict[str, Any] = {}
    for place in range(n):
        row, column = divmod(place, n_columns)
        left, top = column * (width + gap[0]), 1.0 - row * (height + gap[1])
        number = "" if place == 0 else str(place + 1)
        axes[f"xaxis{number}"] = {"domain": [left, left + width], "anchor": f"y{number}"}
        bottom = max(top - height, 0.0)
        axes[f"yaxis{number}"] = {"domain": [bottom, top], "anchor": f"x{number}"}
    return axes


def heading(text: str, place: int) -> dict[str, Any]:
    """Return the title of the plot at a place of a grid, as an annotation."""
    number = "" if place == 0 else str(place + 1)
    return {
        "text": text,
        "xref": f"x{number} domain",
        "yref": f"y{number} domain",
        "x": 0,
        "y": 1.0,
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 4,
        "showarrow": False,
    }


def write_html(chart: Chart, path: Path, title: str, notes: Sequence[str] = ()) -> None:
    """Write a page with the figure, notes below it and the plotting library, nothing outside it."""
    layout = {**LAYOUT, **chart["layout"]}
    for name in {"xaxis", "yaxis", *(key for key in layout if key[1:5] == "axis")}:
        layout[name] = {**AXIS, **layout.get(name, {})}
    data = json.dumps({"data": chart["data"], "layout": layout}, allow_nan=False)
    data = data.replace("</", r"<\/")
    library = resources.files("plotly").joinpath("package_data", "plotly.min.js").read_text()
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    write_text(
        path,
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title>\n"
        f"<style>body {{ font: 15px/1.45 {FONT}; margin: 1.2rem 1.6rem; color: #1c1c1c }}"
        "h1 { font-size: 1.25rem; margin: 0 0 .6rem } ul { list-style: none; padding: 0 }</style>"
        f"<script>{library}</script></head>\n<body><h1>{html.escape(title)}</h1>"
        f'<div id="figure" style="height: max(420px, 76vh)"></div><ul>{items}</ul>\n'
        f"<script>const figure = {data};\n"
        'Plotly.newPlot("figure", figure.data, figure.layout, {responsive: true});</script>\n'
        "</body></html>\n",
    )
