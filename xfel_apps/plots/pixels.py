"""Pictures of pixels for browsers: grey PNG, and rings of resolution as shapes of a chart."""

import io

import numpy as np
from matplotlib.colors import AsinhNorm
from numpy.typing import NDArray
from PIL import Image

from xfel_apps.geometry.assemble import Plane
from xfel_apps.plots.chart import Chart
from xfel_apps.plots.picture import Region, ring_resolutions
from xfel_apps.plots.style import FAINT

GAP_GREY = 225


def grey_png(picture: NDArray[np.float32], norm: AsinhNorm) -> bytes:
    """Return a picture (rows, columns; lowest first) as a grey PNG, dark where it is bright."""
    shade = np.ma.filled(norm(picture), 0.0)
    grey = (255.0 * (1.0 - np.clip(shade, 0.0, 1.0))).astype(np.uint8)
    grey[~np.isfinite(picture)] = GAP_GREY
    buffer = io.BytesIO()
    Image.fromarray(grey[::-1]).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def ring_shapes(plane: Plane, extent_mm: Region, wavelength_ang: float) -> list[Chart]:
    """Return circles of equal resolution, each with its label."""
    left, right, bottom, top = extent_mm
    reach = max(np.hypot(x, y) for x in (left, right) for y in (bottom, top)) / np.sqrt(2.0)
    line = {"color": FAINT, "width": 1, "dash": "dash"}
    shapes = []
    for d_ang in ring_resolutions(plane, wavelength_ang, float(reach)):
        r = plane.ring_mm(d_ang, wavelength_ang)
        label = {"text": f"{d_ang:g} Å", "textposition": "top center", "font": {"color": FAINT}}
        circle = {"type": "circle", "x0": -r, "x1": r, "y0": -r, "y1": r}
        shapes.append({**circle, "line": line, "label": label})
    return shapes
