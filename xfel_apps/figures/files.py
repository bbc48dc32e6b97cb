"""A figure or a chart to a file, by the file's name: .png, .svg or .html."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from matplotlib.figure import Figure

from xfel_apps.errors import SettingsError
from xfel_apps.plots.chart import Chart, write_html
from xfel_apps.plots.style import save_png, save_svg

D = TypeVar("D")
DPI = 150
SUFFIXES = (".png", ".svg", ".html")


def checked(out: Path) -> Path:
    """Return the file to write, or refuse a name that says no format."""
    if out.suffix.lower() not in SUFFIXES:
        raise SettingsError(
            f"--out {out}: choose a name that ends in .png, .svg or .html (which can be zoomed)"
        )
    return out


def write(
    data: D,
    out: Path,
    drawers: tuple[Callable[[D], Figure], Callable[[D], Chart]],
    title: str,
    notes: Sequence[str] = (),
) -> None:
    """Draw data to a file.

    Parameters
    ----------
    data : what is drawn
    out : file to write; its suffix chooses the format
    drawers : what makes a figure, and what makes a chart for browsers
    title, notes : above and below the chart on its page
    """
    draw, chart = drawers
    suffix = out.suffix.lower()
    if suffix == ".html":
        write_html(chart(data), out, title, notes)
    elif suffix == ".svg":
        out.parent.mkdir(parents=True, exist_ok=True)
        save_svg(draw(data), out)
    else:
        save_png(draw(data), out, DPI)
