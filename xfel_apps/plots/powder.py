"""Powder patterns of a run, assembled as the beam sees them."""

import base64
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xfel_apps.containers.powder import Powder, read_powder
from xfel_apps.containers.results import RunResults
from xfel_apps.containers.spots import SPOTS
from xfel_apps.errors import ContainerError
from xfel_apps.geometry.assemble import Plane, assemble, shrink
from xfel_apps.plots.chart import Chart, grid_of, heading, numbers
from xfel_apps.plots.picture import GAP, contrast, draw_rings
from xfel_apps.plots.pixels import grey_png, ring_shapes
from xfel_apps.plots.style import FAINT, figure, styled

PIXELS, CHART_PIXELS = 700, 1200
"""Most pixels a side of a picture in a figure, and in a chart that can be zoomed."""


@dataclass(frozen=True)
class PowderPictures:
    """Powder patterns of a run as pictures.

    Attributes
    ----------
    run : its name
    titles : of the pictures
    pictures : (rows, columns) of each [ADU], lowest row first, NaN where there is no panel
    extent_mm : left, right, bottom, top edge [mm from the beam]
    plane, wavelength_ang : where the pictures lie, for rings of resolution
    n_all, n_hits : shots in them
    """

    run: str
    titles: tuple[str, str]
    pictures: tuple[NDArray[np.float32], NDArray[np.float32]]
    extent_mm: tuple[float, float, float, float]
    plane: Plane
    wavelength_ang: float
    n_all: int
    n_hits: int

    @property
    def caption(self) -> str:
        """What the pictures show."""
        return f"Powder patterns of run {self.run}, {self.n_hits} hits of {self.n_all} shots."


def of_run(results: RunResults) -> Powder | None:
    """Return the run's powder patterns; None where spotfind has made none."""
    said = results.need(SPOTS).extra.get("powder") if results.has(SPOTS) else None
    return read_powder(results.folder / str(said["file"])) if said else None


def powder(results: RunResults) -> PowderPictures:
    """Return mean and highest value of each pixel over the hits, or all shots without hits."""
    found = of_run(results)
    if found is None:
        raise ContainerError(
            f"{results.folder}: no powder pattern yet; spotfind writes it when it is done"
        )
    events = results.events
    first = int(events.frame.index[events.frame["wavelength_ang"] > 0][0])
    beam = events.beam(first)
    assembly = assemble(events.detector(first), beam)
    whole = found.n_hits == 0
    name, n = ("shots", found.n_all) if whole else ("hits", found.n_hits)
    total, highest = (found.all_sum, found.all_max) if whole else (found.hits_sum, found.hits_max)
    return PowderPictures(
        run=results.name,
        titles=(f"mean of {n:,} {name}", f"highest value in {n:,} {name}"),
        pictures=(assembly.image(total / max(n, 1)), assembly.image(highest)),
        extent_mm=assembly.extent_mm,
        plane=assembly.plane,
        wavelength_ang=beam.wavelength_ang,
        n_all=found.n_all,
        n_hits=found.n_hits,
    )


@styled
def draw(data: PowderPictures) -> Figure:
    """Return the two pictures side by side, with rings of resolution."""
    result = figure(9.0, 4.7)
    for axes, picture, title in zip(result.subplots(1, 2), data.pictures, data.titles, strict=True):
        _show(axes, picture, data)
        draw_rings(axes, data.plane, data.extent_mm, data.wavelength_ang)
        axes.set_title(title, color=FAINT)
    return result


def _show(axes: Axes, picture: NDArray[np.float32], data: PowderPictures) -> None:
    """Draw a picture (rows, columns)."""
    small = shrink(picture, -(-max(picture.shape) // PIXELS))
    axes.imshow(
        small,
        extent=data.extent_mm,
        origin="lower",
        cmap="gray_r",
        norm=contrast(small, 99.9),
        interpolation="nearest",
    )
    axes.set_facecolor(GAP)
    axes.set_xlim(data.extent_mm[:2])
    axes.set_ylim(data.extent_mm[2:])
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def chart(data: PowderPictures) -> Chart:
    """Return the same for a browser: pictures that can be zoomed."""
    left, right, bottom, top = data.extent_mm
    axes, images, rings = grid_of(2, 2, (0.04, 0.1)), [], []
    circles = ring_shapes(data.plane, data.extent_mm, data.wavelength_ang)
    for place, picture in enumerate(data.pictures):
        number = "" if place == 0 else "2"
        where = {"xref": f"x{number}", "yref": f"y{number}"}
        size = {"x": left, "y": top, "sizex": right - left, "sizey": top - bottom}
        images.append({**where, **size, "source": png_uri(picture), "layer": "below"})
        images[-1]["sizing"] = "stretch"
        rings += [{**ring, **where} for ring in circles]
        axes[f"xaxis{number}"] |= {"range": [left, right], "showgrid": False, "zeroline": False}
        axes[f"yaxis{number}"] |= {"range": [bottom, top], "showgrid": False, "zeroline": False}
        axes[f"yaxis{number}"] |= {"constrain": "domain"}
        axes[f"xaxis{number}"] |= {"title": {"text": "mm from the beam"}, "constrain": "domain"}
    axes["yaxis"] |= {"scaleanchor": "x"}
    axes["xaxis2"] |= {"matches": "x"}
    axes["yaxis2"] |= {"matches": "y"}
    corners = numbers([left, right]), numbers([bottom, top])
    traces = [
        {"type": "scatter", "mode": "markers", "x": corners[0], "y": corners[1], "opacity": 0}
        | {"xaxis": f"x{number}", "yaxis": f"y{number}", "showlegend": False, "hoverinfo": "skip"}
        for number in ("", "2")
    ]
    notes = [heading(title, place) for place, title in enumerate(data.titles)]
    layout = {**axes, "images": images, "shapes": rings, "annotations": notes}
    return {"data": traces, "layout": {**layout, "dragmode": "zoom"}}


def png_uri(picture: NDArray[np.float32], percentile: float = 99.9) -> str:
    """Return a picture (rows, columns; lowest first) as a `data:` address of a grey PNG."""
    small = shrink(picture, -(-max(picture.shape) // CHART_PIXELS))
    png = grey_png(small, contrast(small, percentile))
    return "data:image/png;base64," + base64.b64encode(png).decode()
