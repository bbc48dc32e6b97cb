"""Powder patterns of a run: sum and highest value of each pixel over its shots."""

import h5py
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xfel_apps.containers.results import RunResults
from xfel_apps.errors import ContainerError
from xfel_apps.geometry.assemble import assemble, shrink
from xfel_apps.plots.picture import GAP, contrast, draw_rings
from xfel_apps.plots.style import FAINT, figure, styled

PIXELS = 700


def read_powder(results: RunResults) -> dict[str, NDArray[np.float32]]:
    """Return the run's powder patterns, name -> slab (slow, fast) [photon]; empty if not made."""
    path = results.folder / "spots" / "powder.h5"
    if not path.is_file():
        return {}
    try:
        with h5py.File(path, "r") as file:
            return {
                name: item[()].astype(np.float32)
                for name, item in file.items()
                if isinstance(item, h5py.Dataset) and item.ndim == 2
            }
    except OSError as err:
        raise ContainerError(f"{path}: not a readable powder pattern ({err})") from err


@styled
def draw(results: RunResults, patterns: dict[str, NDArray[np.float32]]) -> Figure:
    """Return the patterns side by side, assembled as the beam sees them, with rings."""
    detector, beam = results.events.detectors[0], results.events.beam(_first(results))
    assembly = assemble(detector, beam)
    result = figure(4.4 * len(patterns), 4.6)
    for number, (name, slab) in enumerate(patterns.items()):
        axes = result.add_subplot(1, len(patterns), number + 1)
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
        draw_rings(axes, assembly, beam.wavelength_ang)
        axes.set_title(name.replace("_", " "), color=FAINT)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    return result


def _first(results: RunResults) -> int:
    """Return the first event with a wavelength."""
    return int(results.events.frame.index[results.events.frame["wavelength_ang"] > 0][0])
