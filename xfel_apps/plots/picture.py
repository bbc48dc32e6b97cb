"""One shot as a picture: frame, spots, predictions, rings of resolution, and spots close by."""

from dataclasses import dataclass

import matplotlib.patheffects as effects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import AsinhNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from xfel_apps.geometry.assemble import Assembly, Plane, assemble, shrink
from xfel_apps.plots.shot import Marks, Shot
from xfel_apps.plots.style import FAINT, INK, LATTICE_COLOURS, SKY, figure, styled

Array = NDArray[np.float64]
Region = tuple[float, float, float, float]

GAP = "#efece6"
CLOSE_UP_PX = 13.0  # half the width of a close-up [detector pixel]
N_CLOSE_UPS = 3
HALO = [effects.withStroke(linewidth=2.2, foreground="white")]


@dataclass(frozen=True)
class Look:
    """How a shot is drawn.

    Attributes
    ----------
    percentile : pixels brighter than this share of all are black
    region_mm : left, right, bottom, top [mm from the beam]; None: the whole detector
    pixels : most pixels a side of the frame's picture
    marks, predictions, rings : whether to draw found spots, predictions, rings of resolution
    """

    percentile: float = 99.9
    region_mm: Region | None = None
    pixels: int = 1100
    marks: bool = True
    predictions: bool = True
    rings: bool = True


@styled
def draw(shot: Shot, look: Look) -> Figure:
    """Return the picture of a shot."""
    close_ups = [] if look.region_mm else _close_ups(shot)
    result = figure(10.4 if close_ups else 8.0, 8.6)
    rows = [f"AAA{'BCD'[i]}" for i in range(len(close_ups))]
    axes = result.subplot_mosaic("\n".join(rows or ["A"]))
    frame = axes["A"]
    assembly = assemble(shot.detector, shot.beam, look.region_mm)
    _show(frame, shot, assembly, look)
    if look.rings:
        draw_rings(frame, assembly.plane, assembly.extent_mm, shot.beam.wavelength_ang)
    frame.plot(0, 0, "+", color=INK, markersize=8, markeredgewidth=0.8)
    _mark(frame, shot, look, scale=1.0 if look.region_mm is None else 4.0)
    for number, region in enumerate(close_ups):
        _close_up(axes["BCD"[number]], shot, look, region)
    frame.set_xlabel("mm from the beam (seen along the beam)", color=FAINT, loc="left")
    result.suptitle(_title(shot), x=0.01, ha="left", fontsize=9.5, linespacing=1.45)
    _legend(result, shot, look)
    return result


def _title(shot: Shot) -> str:
    """Return the lines above the picture."""
    n_indexed = int(np.count_nonzero(shot.spots.lattice >= 0))
    ending = shot.outcome.replace("_", " ") + (f": {shot.reason}" if shot.reason else "")
    lines = [
        f"{shot.run}, shot {shot.event} ({shot.place})",
        f"{ending[:110]}. {len(shot.spots)} spots, {n_indexed} indexed, "
        f"{len(shot.predictions)} reflections predicted",
    ]
    rows = shot.crystals
    for i in range(min(len(rows), 3)):
        a, b, c, alpha, beta, gamma = rows.cell[i]
        lines.append(
            f"lattice {rows.lattice[i]}: {rows.space_group[i].decode()}, "
            f"{a:.2f} {b:.2f} {c:.2f} Å {alpha:.2f} {beta:.2f} {gamma:.2f}°, "
            f"rmsd {rows.rmsd_px[i]:.2f} px, mosaicity {rows.mosaicity_deg[i]:.3f}°"
        )
    if len(rows) > 3:
        lines.append(f"and {len(rows) - 3} more lattices")
    return "\n".join(lines)


def _show(axes: Axes, shot: Shot, assembly: Assembly, look: Look) -> None:
    """Draw the frame, or its panels and why it cannot be read."""
    left, right, bottom, top = assembly.extent_mm
    axes.set_facecolor(GAP)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_aspect("equal")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=2, labelsize=7, labelcolor=FAINT)
    if shot.photons is None:
        panels = np.where(assembly.source >= 0, 0.12, np.nan)
        _image(axes, panels, assembly, AsinhNorm(vmin=0, vmax=1))
        text = f"this frame cannot be read:\n{shot.problem}"
        axes.text(0.5, 0.55, text, transform=axes.transAxes, ha="center", wrap=True)
        return
    picture = assembly.image(shot.photons)
    picture = shrink(picture, -(-max(picture.shape) // look.pixels))
    _image(axes, picture, assembly, contrast(picture, look.percentile))


def _image(axes: Axes, picture: NDArray[np.floating], assembly: Assembly, norm: AsinhNorm) -> None:
    axes.imshow(
        picture,
        extent=assembly.extent_mm,
        origin="lower",
        cmap="gray_r",
        norm=norm,
        interpolation="nearest",
    )


def contrast(picture: NDArray[np.floating], percentile: float) -> AsinhNorm:
    """Return a contrast linear within the noise and logarithmic above it.

    Parameters
    ----------
    picture : pixel values, NaN where there are none
    percentile : of the pixels, below which the scale ends
    """
    values = picture[np.isfinite(picture)]
    if not values.size:
        return AsinhNorm(vmin=0.0, vmax=1.0)
    low, middle, high = np.percentile(values, [15.9, 50.0, 84.1])
    noise = max(float(high - low) / 2.0, 1e-3)
    top = max(float(np.percentile(values, percentile)), float(middle) + 8.0 * noise)
    return AsinhNorm(linear_width=4.0 * noise, vmin=float(middle) - noise, vmax=top)


def draw_rings(axes: Axes, plane: Plane, extent_mm: Region, wavelength_ang: float) -> None:
    """Draw circles of equal resolution and say which."""
    left, right, bottom, top = extent_mm
    reach = max(np.hypot(x, y) for x in (left, right) for y in (bottom, top)) / np.sqrt(2.0)
    for d_ang in ring_resolutions(plane, wavelength_ang, float(reach)):
        radius = plane.ring_mm(d_ang, wavelength_ang)
        turn_rad = np.linspace(0.0, 2.0 * np.pi, 361)
        axes.plot(
            radius * np.cos(turn_rad),
            radius * np.sin(turn_rad),
            color=FAINT,
            linewidth=0.5,
            linestyle=(0, (4, 4)),
        )
        x, y = radius * np.cos(np.pi / 4), radius * np.sin(np.pi / 4)
        if left < x < right and bottom < y < top:
            text = f"{d_ang:g} Å"
            axes.text(x, y, text, ha="center", va="center", fontsize=7.5, path_effects=HALO)


def ring_resolutions(plane: Plane, wavelength_ang: float, reach_mm: float) -> list[float]:
    """Return resolutions [Angstrom] of about four evenly spaced rings, two digits each."""
    radii = reach_mm * np.array([0.25, 0.5, 0.75, 1.0])
    d_ang = wavelength_ang / (2.0 * np.sin(np.arctan(radii / plane.distance_mm) / 2.0))
    rounded = [float(f"{d:.2g}") for d in d_ang]
    return [d for d in dict.fromkeys(rounded) if np.isfinite(plane.ring_mm(d, wavelength_ang))]


def _colour(lattice: int) -> str:
    return LATTICE_COLOURS[lattice % len(LATTICE_COLOURS)] if lattice >= 0 else SKY


def _mark(axes: Axes, shot: Shot, look: Look, scale: float) -> None:
    """Draw circles around found spots and squares at predictions, coloured by lattice."""
    plane = Plane.across(shot.detector, shot.beam)
    for marks, shape, size, wanted in (
        (shot.spots, "o", 34.0, look.marks),
        (shot.predictions, "s", 7.0, look.predictions),
    ):
        for lattice in np.unique(marks.lattice) if wanted else ():
            x, y = _xy_mm(shot, marks.take(marks.lattice == lattice), plane).T
            axes.scatter(
                x,
                y,
                s=size * scale**2,
                marker=shape,
                facecolors="none",
                edgecolors=_colour(int(lattice)),
                linewidths=0.35 + 0.25 * scale if lattice >= 0 else 0.6,
            )


def _xy_mm(shot: Shot, marks: Marks, plane: Plane) -> Array:
    lab = shot.detector.lab_mm(marks.panel, marks.fast_px, marks.slow_px)
    return plane.xy_mm(lab)


def _close_ups(shot: Shot) -> list[Region]:
    """Return the regions of a few close-ups: the brightest spot at low, middle, high resolution.

    Indexed spots where there are any.
    """
    of_lattice = shot.spots.take(shot.spots.lattice >= 0)
    marks = of_lattice if len(of_lattice) else shot.spots
    if not len(marks) or shot.photons is None:
        return []
    xy = _xy_mm(shot, marks, Plane.across(shot.detector, shot.beam))
    fast, slow = shot.detector.slab_pixels(marks.panel, marks.fast_px, marks.slow_px)
    bright = np.nan_to_num(shot.photons[slow.astype(np.int64), fast.astype(np.int64)])
    half = CLOSE_UP_PX * float(np.median([panel.pixel_mm for panel in shot.detector.panels]))
    order = np.argsort(np.hypot(*xy.T))
    regions = []
    for rows in np.array_split(order, min(N_CLOSE_UPS, len(order))):
        x, y = xy[rows[np.argmax(bright[rows])]]
        regions.append((float(x - half), float(x + half), float(y - half), float(y + half)))
    return regions


def _close_up(axes: Axes, shot: Shot, look: Look, region: Region) -> None:
    """Draw a few pixels around a spot, each pixel to be seen."""
    assembly = assemble(shot.detector, shot.beam, region, pixel_mm=(region[1] - region[0]) / 200)
    if shot.photons is not None:
        picture = assembly.image(shot.photons)
        _image(axes, picture, assembly, contrast(picture, look.percentile))
    axes.set_facecolor(GAP)
    _mark(axes, shot, look, scale=4.0)
    axes.set_xlim(region[0], region[1])
    axes.set_ylim(region[2], region[3])
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    radius_mm = np.hypot((region[0] + region[1]) / 2, (region[2] + region[3]) / 2)
    angle_rad = np.arctan(radius_mm / assembly.plane.distance_mm)
    d_ang = shot.beam.wavelength_ang / (2.0 * np.sin(angle_rad / 2.0))
    axes.set_title(f"{d_ang:.2f} Å, {2 * CLOSE_UP_PX:.0f} pixels wide", color=FAINT, fontsize=8)


def _legend(result: Figure, shot: Shot, look: Look) -> None:
    """Say what the marks are, in one line below the frame."""
    entries = []
    if look.marks and np.any(shot.spots.lattice < 0):
        entries.append(_entry("o", _colour(-1), "spot, not indexed"))
    for lattice in shot.lattices[:4]:
        name = "indexed" if len(shot.lattices) == 1 else f"lattice {lattice}"
        if look.marks:
            entries.append(_entry("o", _colour(lattice), f"spot, {name}"))
        if look.predictions:
            entries.append(_entry("s", _colour(lattice), "predicted"))
    if entries:
        result.legend(
            handles=entries,
            loc="outside lower left",
            ncols=len(entries),
            handletextpad=0.1,
            columnspacing=1.2,
        )


def _entry(marker: str, colour: str, label: str) -> Line2D:
    size = 6.0 if marker == "o" else 3.0
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=marker,
        markersize=size,
        markerfacecolor="none",
        markeredgecolor=colour,
        label=label,
    )
