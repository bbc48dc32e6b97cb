"""Where the pixels of shoeboxes are."""

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.forward import Rectangles
from xfel_apps.geometry import Detector

IntArray = NDArray[np.int64]


def windows_of(detector: Detector, panel: IntArray, start: IntArray, size: IntArray) -> Rectangles:
    """Return where boxes (n) of panels are in the lab, see `Boxes.rectangles`."""
    whole = Rectangles(detector.origins_mm, detector.axes, detector.sizes)
    windows = whole.windows(panel, start, size)
    middle = start + size / 2.0
    surface = detector.lab_mm(panel, middle[:, 0], middle[:, 1])
    recorded = windows.origins_mm + np.einsum("nij,nj->ni", windows.axes_mm, size / 2.0)
    return Rectangles(windows.origins_mm + surface - recorded, windows.axes_mm, size)
