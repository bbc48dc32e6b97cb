"""How figures look, and how they get into a page that stands alone."""

import base64
import io
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from xfel_apps.errors import ContainerError

P = ParamSpec("P")
T = TypeVar("T")

INK, FAINT, RULE = "#1c1c1c", "#6b6b6b", "#c9c9c9"

# Okabe & Ito (2008), Color Universal Design: told apart with any colour vision.
BLUE, ORANGE, GREEN, RED = "#0072b2", "#e69f00", "#009e73", "#d55e00"
PINK, SKY = "#cc79a7", "#56b4e9"

STAGE_COLOURS = {"ingest": FAINT, "spotfind": SKY, "index": ORANGE, "integrate": GREEN}
LATTICE_COLOURS = (RED, BLUE, GREEN, PINK, ORANGE)

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "regular",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "xfelflow",
}


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Return `draw` with the package's figure style switched on while it runs."""

    @wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        with mpl.rc_context(RC):
            return draw(*args, **kwargs)

    return inner


def figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure of a size in inches."""
    return Figure(figsize=(width_in, height_in))


def grid(axes: Axes) -> None:
    """Draw faint horizontal lines behind the data."""
    axes.grid(axis="y", color=RULE, linewidth=0.4)


@styled
def svg_uri(picture: Figure) -> str:
    """Return a figure as a `data:` address of an SVG drawing (lines stay sharp at any size)."""
    buffer = io.BytesIO()
    picture.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


@styled
def save_svg(picture: Figure, path: Path) -> None:
    """Write a figure to an SVG file whole or not at all; equal figures give equal files."""
    part = path.with_name(f".{path.name}.part")
    try:
        picture.savefig(part, format="svg", metadata={"Date": None})
        part.replace(path)
    except OSError as err:
        raise ContainerError(f"{path}: cannot write ({err})") from err


@styled
def save_png(picture: Figure, path: Path, dpi: int) -> None:
    """Write a figure to a PNG file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.savefig(path, format="png", dpi=dpi, metadata={"Software": "xfelflow"})
    except OSError as err:
        raise ContainerError(f"{path}: cannot write ({err})") from err


@styled
def photo_uri(picture: Figure, dpi: int) -> str:
    """Return a figure with a grey picture as a `data:` address of a PNG of 192 colours."""
    buffer, small = io.BytesIO(), io.BytesIO()
    picture.savefig(buffer, format="png", dpi=dpi)
    with Image.open(buffer) as image:
        image.convert("RGB").quantize(192, dither=Image.Dither.NONE).save(
            small, "png", optimize=True
        )
    return "data:image/png;base64," + base64.b64encode(small.getvalue()).decode()
