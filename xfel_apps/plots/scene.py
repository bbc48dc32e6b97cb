"""One shot for a browser: its picture in any part and contrast, its marks, its reflections."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.reflections import ReflectionFlag
from xfel_apps.geometry.assemble import Plane, assemble, shrink
from xfel_apps.plots.chart import Chart, numbers
from xfel_apps.plots.picture import Region, contrast
from xfel_apps.plots.pixels import grey_png, ring_shapes
from xfel_apps.plots.shot import Marks, Shot
from xfel_apps.plots.style import BLUE, FAINT, INK, LATTICE_COLOURS, ORANGE, PINK, RED, SKY

Array = NDArray[np.float64]

PIXELS = 1400
"""Most pixels a side of a picture."""
EVERY = 3
"""The contrast of single pixels is found on every so-manyth row and column."""
HALF_PX = 8
"""A close-up of a reflection reaches so far from its pixel."""
FLAW_COLOURS = {
    ReflectionFlag.OVERLAP: PINK,
    ReflectionFlag.SATURATED: RED,
    ReflectionFlag.MASKED: FAINT,
    ReflectionFlag.EDGE: FAINT,
    ReflectionFlag.BACKGROUND: ORANGE,
}


@dataclass(frozen=True)
class Scene:
    """A shot as the beam sees it.

    Attributes
    ----------
    shot : what is known of it
    plane : what the picture shows
    extent_mm : left, right, bottom, top edge of the picture [mm from the beam]
    picture : (rows, columns) [photon], lowest row first, NaN where there is nothing
    """

    shot: Shot
    plane: Plane
    extent_mm: Region
    picture: NDArray[np.float32]

    @classmethod
    def of(cls, shot: Shot) -> "Scene":
        """Return the scene of a shot; without its frame the panels are blank."""
        assembly = assemble(shot.detector, shot.beam)
        if shot.photons is not None:
            picture = assembly.image(shot.photons)
        else:
            picture = np.where(assembly.source >= 0, np.float32(0.0), np.float32(np.nan))
        return cls(shot, assembly.plane, assembly.extent_mm, picture)

    @cached_property
    def sample(self) -> NDArray[np.float32]:
        """Some of the pixels, for the contrast."""
        return self.picture[::EVERY, ::EVERY]

    def part(self, region_mm: Region | None) -> tuple[NDArray[np.float32], Region]:
        """Return the pixels of a part of the picture, and where exactly they lie."""
        left, right, bottom, _ = self.extent_mm
        n_rows, n_columns = self.picture.shape
        step = (right - left) / n_columns
        x0, x1, y0, y1 = region_mm or self.extent_mm
        low, high = np.clip([int(np.floor((x - left) / step)) for x in (x0, x1)], 0, n_columns)
        below, above = np.clip([int(np.floor((y - bottom) / step)) for y in (y0, y1)], 0, n_rows)
        high, above = min(high + 1, n_columns), min(above + 1, n_rows)
        where = left + low * step, left + high * step, bottom + below * step, bottom + above * step
        return self.picture[below:above, low:high], tuple(map(float, where))  # type: ignore[return-value]  # four of them

    def png(self, region_mm: Region | None, percentile: float) -> tuple[bytes, Region]:
        """Return a part of the picture as PNG, and where exactly it lies [mm].

        Parameters
        ----------
        region_mm : left, right, bottom, top; None for all
        percentile : pixels brighter than this share of all are black
        """
        pixels, where = self.part(region_mm)
        if not pixels.size:
            pixels = np.full((1, 1), np.nan, np.float32)
        factor = -(-max(pixels.shape) // PIXELS)
        whole = self.sample if factor == 1 else shrink(self.picture, factor)
        return grey_png(shrink(pixels, factor), contrast(whole, percentile)), where


def chart(scene: Scene) -> Chart:
    """Return the marks of a shot over where its picture goes; the page puts the picture there."""
    left, right, bottom, top = scene.extent_mm
    traces = [_found(scene, lattice) for lattice in np.unique(scene.shot.spots.lattice).tolist()]
    traces += _predicted(scene)
    hidden = {"showgrid": False, "zeroline": False}
    centre = {"x": [0], "y": [0], "mode": "markers", "hoverinfo": "skip", "showlegend": False}
    plus = {"symbol": "cross-thin-open", "size": 12, "color": INK}
    traces.append({"type": "scatter", **centre, "marker": plus})
    layout = {
        "xaxis": {"range": [left, right], "constrain": "domain", **hidden},
        "yaxis": {"range": [bottom, top], "constrain": "domain", "scaleanchor": "x", **hidden},
        "shapes": ring_shapes(scene.plane, scene.extent_mm, scene.shot.beam.wavelength_ang),
        "hovermode": "closest",
        "dragmode": "pan",
        "margin": {"l": 36, "r": 8, "t": 8, "b": 28},
        "uirevision": f"{scene.shot.run}/{scene.shot.event}",
    }
    return {"data": traces, "layout": layout}


def _points(scene: Scene, marks: Marks) -> Chart:
    lab = scene.shot.detector.lab_mm(marks.panel, marks.fast_px, marks.slow_px)
    x, y = scene.plane.xy_mm(lab).T
    places = np.column_stack([marks.panel, marks.fast_px.round(2), marks.slow_px.round(2)])
    return {
        "type": "scatter",
        "mode": "markers",
        "x": numbers(x),
        "y": numbers(y),
        "customdata": places.tolist(),
        "hoverinfo": "text",
    }


def _colour(lattice: int) -> str:
    return LATTICE_COLOURS[lattice % len(LATTICE_COLOURS)] if lattice >= 0 else SKY


def _found(scene: Scene, lattice: int) -> Chart:
    """Return the found spots of a lattice, or (-1) of none."""
    rows = scene.shot.spots.lattice == lattice
    marks = scene.shot.spots.take(rows)
    several = len(scene.shot.lattices) > 1
    of_lattice = f"spot of lattice {lattice}" if several else "spot, indexed"
    name = "spot, not indexed" if lattice < 0 else of_lattice
    texts = [name] * len(marks)
    if len(scene.shot.found) == len(rows):
        found = scene.shot.found.take(rows)
        texts = [
            f"{name}<br>{i:.0f} ± {s:.0f} photons, {d:.2f} Å"
            for i, s, d in zip(found.intensity, found.sigma, found.d_ang, strict=True)
        ]
    look = {"symbol": "circle-open", "size": 13, "color": _colour(lattice), "line": {"width": 1.6}}
    count = f"{name} ({len(marks):,})"
    return {**_points(scene, marks), "hovertext": texts, "marker": look, "name": count}


def outcomes(shot: Shot) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """Return (name, colour, which predictions) by what became of them.

    A reflection with several flaws counts under the first of them.
    """
    flags = shot.reflections.flags
    if not len(flags):
        return [("predicted", BLUE, np.ones(len(shot.predictions), bool))]
    result = []
    left = flags != 0
    for lattice in np.unique(shot.predictions.lattice).tolist():
        name = "integrated" + (f", lattice {lattice}" if len(shot.lattices) > 1 else "")
        result.append((name, _colour(lattice), ~left & (shot.predictions.lattice == lattice)))
    for flaw, colour in FLAW_COLOURS.items():
        has = left & ((flags & int(flaw)) != 0)
        result.append((f"left out: {(flaw.name or '').lower()}", colour, has))
        left = left & ~has
    return [item for item in result if item[2].any()]


def _predicted(scene: Scene) -> list[Chart]:
    """Return the predictions by what became of them."""
    traces = []
    for name, colour, rows in outcomes(scene.shot):
        marks = scene.shot.predictions.take(rows)
        if not len(marks):
            continue
        symbol = "square-open" if name.startswith(("int", "pre")) else "x-thin-open"
        look = {"symbol": symbol, "size": 7, "color": colour, "line": {"width": 1.2}}
        texts = [name] * len(marks)
        if len(scene.shot.reflections) == len(rows):
            r = scene.shot.reflections.take(rows)
            texts = [
                f"{name}: {index[0]} {index[1]} {index[2]}<br>{i:.0f} ± {s:.0f} photons, "
                f"I/σ {i / max(s, 1e-9):.1f}<br>{d:.2f} Å, {100 * p:.0f} % recorded"
                for *index, i, s, d, p in zip(
                    r.h, r.k, r.l, r.intensity, r.sigma, r.d_ang, r.partiality, strict=True
                )
            ]
        count = f"{name} ({len(marks):,})"
        points = _points(scene, marks)
        traces.append({**points, "hovertext": texts, "marker": look, "name": count})
    return traces


def close_up(shot: Shot, panel: int, fast_px: float, slow_px: float) -> Chart:
    """Return the pixels around a place on a panel, and their sums along the slow direction.

    Parameters
    ----------
    panel : its number
    fast_px, slow_px : the place [pixel]
    """
    n_fast, n_slow = shot.detector.sizes[panel]
    fast = np.arange(int(fast_px) - HALF_PX, int(fast_px) + HALF_PX + 1)
    slow = np.arange(int(slow_px) - HALF_PX, int(slow_px) + HALF_PX + 1)
    fast, slow = fast[(fast >= 0) & (fast < n_fast)], slow[(slow >= 0) & (slow < n_slow)]
    pixels = np.full((len(slow), len(fast)), np.nan, np.float32)
    if shot.photons is not None and pixels.size:
        pixels = shot.photons[shot.detector.panels[panel].slab][slow[0] : slow[-1] + 1][
            :, fast[0] : fast[-1] + 1
        ]
    near = np.abs(slow + 0.5 - slow_px) <= 2.0
    across = np.nansum(pixels[near], axis=0)
    heat: Chart = {
        "type": "heatmap",
        "z": [numbers(row, 4) for row in pixels],
        "colorscale": "Greys",
    }
    heat |= {"x": (fast + 0.5).tolist(), "y": (slow + 0.5).tolist(), "reversescale": True}
    hover = "%{z:.1f} photons<extra></extra>"
    mark = {"symbol": "cross-thin-open", "size": 14, "color": RED, "line": {"width": 1.5}}
    place = {"x": [round(fast_px, 2)], "y": [round(slow_px, 2)], "marker": mark}
    point = {"type": "scatter", "mode": "markers", "hoverinfo": "skip", **place}
    line = {"type": "scatter", "x": (fast + 0.5).tolist(), "y": numbers(across, 4), "yaxis": "y2"}
    steps = {"line": {"shape": "hvh", "color": BLUE, "width": 2}, "hoverinfo": "y"}
    layout = {
        "xaxis": {"title": {"text": "fast [pixel]"}, "anchor": "y2", "constrain": "domain"},
        "yaxis": {"title": {"text": "slow [pixel]"}, "domain": [0.36, 1], "scaleanchor": "x"}
        | {"constrain": "domain"},
        "yaxis2": {"title": {"text": "photons"}, "domain": [0, 0.28], "rangemode": "tozero"},
        "showlegend": False,
        "margin": {"l": 56, "r": 8, "t": 8, "b": 44},
    }
    data = [heat | {"hovertemplate": hover, "showscale": False}, point, line | steps]
    return {"data": data, "layout": layout}
