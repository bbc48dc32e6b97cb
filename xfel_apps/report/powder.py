"""Powder patterns of a run, assembled as the beam sees them."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xfel_apps.containers.powder import Powder, read_powder
from xfel_apps.containers.results import RunResults
from xfel_apps.containers.spots import SPOTS
from xfel_apps.geometry.assemble import Assembly, assemble, shrink
from xfel_apps.plots.picture import GAP, contrast, draw_rings
from xfel_apps.plots.style import FAINT, figure, styled

PIXELS = 700


def of_run(results: RunResults) -> Powder | None:
    """Return the run's powder patterns; None where spotfind has made none."""
    said = results.need(SPOTS).extra.get("powder") if results.has(SPOTS) else None
    return read_powder(results.folder / str(said["file"])) if said else None


@styled
def draw(results: RunResults, powder: Powder) -> Figure:
    """Return mean and highest value of each pixel over the hits, or all shots without hits."""
    events = results.events
    first = int(events.frame.index[events.frame["wavelength_ang"] > 0][0])
    detector, beam = events.detector(first), events.beam(first)
    assembly = assemble(detector, beam)
    whole = powder.n_hits == 0
    name, n = ("shots", powder.n_all) if whole else ("hits", powder.n_hits)
    total, highest = (
        (powder.all_sum, powder.all_max) if whole else (powder.hits_sum, powder.hits_max)
    )
    result = figure(9.0, 4.7)
    left, right = result.subplots(1, 2)
    for axes, slab, title in (
        (left, total / max(n, 1), f"mean of {n:,} {name}"),
        (right, highest, f"highest value in {n:,} {name}"),
    ):
        _show(axes, slab, assembly)
        draw_rings(axes, assembly, beam.wavelength_ang)
        axes.set_title(title, color=FAINT)
    return result


def _show(axes: Axes, slab: NDArray[Any], assembly: Assembly) -> None:
    """Draw a slab (slow, fast)."""
    picture = assembly.image(slab)
    picture = shrink(picture, -(-max(picture.shape) // PIXELS))
    axes.imshow(
        picture,
        extent=assembly.extent_mm,
        origin="lower",
        cmap="gray_r",
        norm=contrast(picture, 99.9),
        interpolation="nearest",
    )
    axes.set_facecolor(GAP)
    axes.set_xlim(assembly.extent_mm[:2])
    axes.set_ylim(assembly.extent_mm[2:])
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
