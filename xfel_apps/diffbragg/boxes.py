"""Which pixels tell of a lattice: shoeboxes about the spots that are expected to be strong."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from xfel_apps.compute.forward import Rectangles
from xfel_apps.compute.shoebox import pixels_of
from xfel_apps.geometry import Beam, Detector
from xfel_apps.geometry.mosaic import Mosaic
from xfel_apps.geometry.prediction import Lattice, Predictions, predict
from xfel_apps.pixel_model.crystal import PixelCrystal
from xfel_apps.pixel_model.windows import windows_of

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
F4 = NDArray[np.float32]
Mask = NDArray[np.bool_]

TOO_NEAR_PX = 4.0
"""A box is left out where another spot is nearer than this, unless that is far weaker."""

FAR_WEAKER = 0.05
"""Share of a spot's strength below which a neighbour does not matter."""


@dataclass(frozen=True)
class Frame:
    """One frame and how to read it.

    Attributes
    ----------
    pixels : (slow, fast) [ADU]
    good : (slow, fast) pixels that may be used
    detector, beam : the geometry
    photons_per_adu : (n_panels,)
    """

    pixels: NDArray[np.generic]
    good: Mask
    detector: Detector
    beam: Beam
    photons_per_adu: Array


@dataclass(frozen=True)
class Boxes:
    """Shoeboxes of a lattice.

    Attributes
    ----------
    found : (n) the reflections
    start, size : (n, 2) first pixel (fast, slow) on the panel, and pixels along (fast, slow)
    """

    found: Predictions
    start: IntArray
    size: IntArray

    def __len__(self) -> int:
        return len(self.found)

    def take(self, rows: IntArray | Mask) -> "Boxes":
        """Return some of the boxes."""
        return Boxes(self.found.take(rows), self.start[rows], self.size[rows])

    def rectangles(self, detector: Detector) -> Rectangles:
        """Return where the boxes' pixels are: where their rays cross the sensor's surface.

        The parallax of a thick sensor is that of the prediction, the same all over a box.
        """
        return windows_of(detector, self.found.panel, self.start, self.size)


def expected_spots(
    crystal: PixelCrystal, detector: Detector, beam: Beam, d_min_ang: float, reach: float
) -> tuple[Predictions, Array]:
    """Return the reflections of a lattice near the sphere, and how much of each is recorded.

    The share (n,) is the height of the smeared lattice point where the Ewald sphere cuts it.
    """
    a_matrix = crystal.a_matrix
    widest = np.sqrt(np.linalg.eigvalsh(crystal.covariance(np.zeros((1, 3), np.int64)))[0, -1])
    turning = np.degrees(np.hypot(np.radians(crystal.spread_deg), crystal.bandwidth))
    mosaic = Mosaic(2.0 * float(turning), 0.5 / float(widest))
    found = predict(
        Lattice(a_matrix, crystal.space_group, mosaic), detector, beam, d_min_ang, reach
    )
    along = found.s1 * beam.wavelength_ang
    variance = np.einsum("ni,nij,nj->n", along, crystal.covariance(found.hkl), along)
    share = np.exp(-0.5 * found.excitation_invang**2 / variance) / np.sqrt(variance)
    return found, share


def choose_boxes(
    found: Predictions, strength: Array, detector: Detector, max_boxes: int, box_px: int
) -> Boxes:
    """Return boxes about the strongest spots that stand apart from other strong ones.

    Parameters
    ----------
    found : all spots that are expected
    strength : (n,) photons expected, in any unit
    detector : its panels clip the boxes
    max_boxes, box_px : how many, and pixels along a side
    """
    apart = ~_crowded(found, strength)
    order = np.flatnonzero(apart)[np.argsort(-strength[apart], kind="stable")][:max_boxes]
    chosen = found.take(np.sort(order))
    centre = np.floor(np.column_stack([chosen.fast_px, chosen.slow_px])).astype(np.int64)
    start = np.maximum(centre - box_px // 2, 0)
    end = np.minimum(centre + box_px // 2 + 1, detector.sizes[chosen.panel])
    return Boxes(chosen, start, end - start)


def _crowded(found: Predictions, strength: Array) -> Mask:
    """Return which spots have another near that is not far weaker."""
    result = np.zeros(len(found), dtype=bool)
    if len(found) > 1:
        pairs = cKDTree(_places(found)).query_pairs(TOO_NEAR_PX, output_type="ndarray")
        for one, other in (pairs.T, pairs.T[::-1]):
            result[one[strength[other] > FAR_WEAKER * strength[one]]] = True
    return result


def _places(found: Predictions) -> Array:
    """Return (n, 3) where spots are, panels far apart."""
    return np.column_stack([found.fast_px, found.slow_px, found.panel * 1e6])


def cut_pixels(frame: Frame, boxes: Boxes, others: Predictions) -> F4:
    """Return the photons (n_pixels,) of boxes, NaN where a pixel is not to be used.

    A pixel belongs to the nearest spot that is expected.

    Parameters
    ----------
    frame : what was recorded
    boxes : to cut from it
    others : all spots that are expected, those of other lattices too
    """
    detector = frame.detector
    box, fast, slow = pixels_of(Rectangles(np.empty((0, 3)), np.empty((0, 3, 2)), boxes.size))
    panel = boxes.found.panel[box]
    x, y = boxes.start[box, 0] + fast, boxes.start[box, 1] + slow
    corner = detector.slab_starts[panel]
    where = (y + corner[:, 1], x + corner[:, 0])
    raw = frame.pixels[where].astype(np.float64)
    trusted = np.array([item.trusted for item in detector.panels])[panel]
    good = frame.good[where] & (raw >= trusted[:, 0]) & (raw <= trusted[:, 1])
    good &= ~_belong_to_others(boxes, others, box, np.column_stack([x, y]) + 0.5)
    return np.where(good, raw * frame.photons_per_adu[panel], np.nan).astype(np.float32)


def _belong_to_others(boxes: Boxes, others: Predictions, box: IntArray, at: Array) -> Mask:
    """Return which pixels (n_pixels,) at `at` (n_pixels, 2) are nearer to another spot."""
    own = _places(boxes.found)
    result = np.zeros(len(box), dtype=bool)
    if not len(others) or not len(own):
        return result
    all_places = _places(others)
    reach = float(np.hypot(*boxes.size.max(axis=0)))
    near = cKDTree(own).query_ball_tree(cKDTree(all_places), reach)
    counts = boxes.size.prod(axis=1)
    first = np.cumsum(counts) - counts
    for number, neighbours in enumerate(near):
        mine = slice(first[number], first[number] + counts[number])
        places = all_places[neighbours, :2]
        places = places[np.sum((places - own[number, :2]) ** 2, axis=1) > 1e-6]
        if len(places):
            far = np.sum((at[mine] - own[number, :2]) ** 2, axis=1)
            to_others = np.sum((at[mine, None] - places) ** 2, axis=2)
            result[mine] = to_others.min(axis=1) < far
    return result
