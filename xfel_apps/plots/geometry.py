"""A detector before and after its refinement: residuals of each panel, and how panels moved."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xfel_apps.containers.geometry import GeometryManifest
from xfel_apps.geometry import Beam, Detector
from xfel_apps.geometry.assemble import Plane
from xfel_apps.plots.style import BLUE, FAINT, INK, RED, RULE, figure, grid, styled

Array = NDArray[np.float64]

ARROW_SHARE = 0.16
"""Length of the longest arrow, as a share of the detector's width."""
MIN_SPOTS = 10
"""Means over fewer spots are not drawn."""


@styled
def picture(detector: Detector, beam: Beam, manifest: GeometryManifest) -> Figure:
    """Return residuals by panel before and after, as arrows and as a curve."""
    result = figure(10.4, 6.4)
    axes_of = result.subplot_mosaic("AB;CC", height_ratios=[2.1, 1.0])
    left, right = axes_of["A"], axes_of["B"]
    plane = Plane.across(detector, beam)
    longest = max(max(_lengths(manifest, when).max() for when in ("before", "after")), 1e-6)
    for axes, when, rms in (
        (left, "before", manifest.rms_px_before["both"]),
        (right, "after", manifest.rms_px_after["both"]),
    ):
        _arrows(axes, (detector, plane), manifest, when, longest)
        axes.set_title(f"{when}: {rms:.3f} px rms")
    _curve(axes_of["C"], manifest)
    return result


def _lengths(manifest: GeometryManifest, when: str) -> Array:
    enough = [panel for panel in manifest.panels if panel["n_spots"] >= MIN_SPOTS]
    return np.array([0.0, *(np.hypot(*panel[f"mean_px_{when}"]) for panel in enough)])


def _arrows(
    axes: Axes,
    where: tuple[Detector, Plane],
    manifest: GeometryManifest,
    when: str,
    longest_px: float,
) -> None:
    """Draw each panel, with an arrow from where its spots are found to where predicted."""
    detector, plane = where
    outlines, middles, ends = [], [], []
    for i, panel in enumerate(manifest.panels):
        n_fast, n_slow = detector.sizes[i]
        corners = np.array([[0, 0], [n_fast, 0], [n_fast, n_slow], [0, n_slow]], dtype=float)
        middle = detector.sizes[i] / 2.0
        points = np.vstack([corners, middle, middle + panel[f"mean_px_{when}"]])
        xy = plane.xy_mm(detector.lab_mm(np.full(len(points), i), *points.T))
        outlines.append(xy[:4])
        if panel["n_spots"] >= MIN_SPOTS:
            middles.append(xy[4])
            ends.append(xy[5])
    start, pixel_mm = np.reshape(middles, (-1, 2)), detector.panels[0].pixel_mm[0]
    corners = np.concatenate(outlines)
    width = float(np.ptp(corners, axis=0).max())
    factor = ARROW_SHARE * width / (longest_px * pixel_mm)
    along = factor * (np.reshape(ends, (-1, 2)) - start)
    axes.add_collection(
        PolyCollection(outlines, facecolors="none", edgecolors=RULE, linewidths=0.5)
    )
    arrows = axes.quiver(
        *start.T, *along.T, angles="xy", scale_units="xy", scale=1.0, color=RED, width=0.004
    )
    unit_px = _round(longest_px)
    axes.quiverkey(arrows, 0.86, 1.03, factor * unit_px * pixel_mm, f"{unit_px:g} px", labelpos="E")
    axes.plot(0, 0, "+", color=INK, markersize=7, markeredgewidth=0.8)
    axes.set_aspect("equal")
    middle = 0.5 * (corners.min(axis=0) + corners.max(axis=0))
    axes.set_xlim(middle[0] - 0.56 * width, middle[0] + 0.56 * width)
    axes.set_ylim(middle[1] - 0.56 * width, middle[1] + 0.56 * width)
    axes.set_xlabel("mm")


def _round(value: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of ten that is not above `value`."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(max(m for m in (1.0, 2.0, 5.0) if m * power <= value * (1 + 1e-9)) * power)


def _curve(axes: Axes, manifest: GeometryManifest) -> None:
    """Draw the rms of each panel before and after, in order of the panels."""
    panels = [panel for panel in manifest.panels if panel["n_spots"]]
    x = np.arange(len(panels))
    for when, colour in (("before", FAINT), ("after", BLUE)):
        rms = [panel[f"rms_px_{when}"] for panel in panels]
        axes.plot(x, rms, "o", markersize=3, color=colour, label=when)
    kept = [i for i, panel in enumerate(panels) if panel["kept_with"]]
    if kept:
        rms = [panels[i]["rms_px_after"] for i in kept]
        axes.plot(
            kept, rms, "o", markersize=7, fillstyle="none", color=RED, label="moved with its group"
        )
    axes.set_ylim(bottom=0.0)
    axes.set_ylabel("rms [px]")
    step = max(1, len(panels) // 24)
    names: list[Mapping[str, Any]] = panels[::step]
    axes.set_xticks(x[::step], [panel["name"] for panel in names], rotation=60, ha="right")
    axes.tick_params(axis="x", labelsize=6)
    axes.legend(ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0))
    grid(axes)
