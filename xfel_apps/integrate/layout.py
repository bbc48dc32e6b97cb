"""Where the spots of a shot lie and how large they are: the windows of its reflections."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.integration import MAX_HALF_PX, Sums, Windows
from xfel_apps.geometry import Detector
from xfel_apps.integrate.offset import Offsets
from xfel_apps.integrate.predicted import Predicted
from xfel_apps.integrate.settings import IntegrateSettings
from xfel_apps.integrate.shape import N_FOR_GROWTH, SpotShape, measure_shape

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """What the spots of a shot have in common.

    Attributes
    ----------
    offsets : how far spots lie from their predictions
    shape : their size
    """

    offsets: Offsets
    shape: SpotShape

    @classmethod
    def expected(cls, sigma_px: float, mosaicities_deg: Sequence[float]) -> "Layout":
        """Return the layout of spots of `sigma_px` and lattices of some mosaic spreads."""
        shape = SpotShape.expected(sigma_px, float(np.mean(mosaicities_deg)))
        return cls(Offsets.none(len(mosaicities_deg)), shape)

    def windows(
        self, detector: Detector, predicted: Predicted, sigmas: float, settings: IntegrateSettings
    ) -> Windows:
        """Return windows about the spots, with foregrounds of `sigmas` standard deviations."""
        found = predicted.found
        ellipses = self.shape.ellipses(predicted.frames, sigmas, settings.radii_px)
        half_px = 1.0 / np.linalg.svd(ellipses, compute_uv=False)[:, -1]
        reach = np.ceil(half_px * settings.guard) + settings.background_width_px
        centre = np.column_stack(detector.slab_pixels(found.panel, found.fast_px, found.slow_px))
        return Windows(
            found.panel,
            centre + self.offsets.at(predicted.frames, predicted.lattice),
            ellipses @ predicted.frames.directions,
            np.minimum(reach, MAX_HALF_PX).astype(np.int64),
        )

    def corrected(self, predicted: Predicted, windows: Windows, sums: Sums) -> "Layout":
        """Return the layout that strong spots show whose sums were taken in `windows`."""
        frames = predicted.frames
        to_px = np.linalg.inv(windows.to_profile @ np.linalg.inv(frames.directions))
        moves = np.einsum("nij,nj->ni", to_px, np.column_stack([sums.mean_u, sums.mean_v]))
        uv = np.stack([sums.square_uu, sums.square_uv, sums.square_uv, sums.square_vv], axis=1)
        moments = to_px @ uv.reshape(-1, 2, 2) @ np.swapaxes(to_px, 1, 2)
        alone = sums.n_shared == 0
        if alone.sum() < N_FOR_GROWTH:
            alone[:] = True
        return Layout(
            self.offsets.plus(moves, frames, predicted.lattice),
            measure_shape(moments[alone], frames.take(alone), self.shape),
        )
