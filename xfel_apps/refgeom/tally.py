"""Sums of residuals: how far they scatter, and what they are on each panel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.refgeom.model import Found
from xfel_apps.refgeom.normal import Scatter

Array = NDArray[np.float64]

EDGES_PX = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 3001)])
"""Edges of the bins of residuals' sizes: 0.5 % wide [pixel]."""
NORMAL_MEDIAN = 0.6744897501960817
"""Median of the size of normal deviates of unit variance."""
MIN_SIGMA_PX = 0.02


class Histogram:
    """Sizes of radial and transverse residuals, counted so that ranks' counts add up exactly."""

    @staticmethod
    def counts(values: Array) -> Array:
        """Return (2, n_bins) counts of residuals (m, 3)."""
        return np.array(
            [np.histogram(np.clip(np.abs(v), 0, EDGES_PX[-1]), EDGES_PX)[0] for v in values.T[:2]],
            dtype=float,
        )

    @staticmethod
    def sigmas(counts: Array) -> tuple[float, float]:
        """Return standard deviations [pixel] from the medians of the sizes."""
        found = []
        for row in counts:
            middle = int(np.searchsorted(np.cumsum(row), 0.5 * row.sum()))
            median = 0.5 * (EDGES_PX[middle] + EDGES_PX[middle + 1])
            found.append(max(float(median) / NORMAL_MEDIAN, MIN_SIGMA_PX))
        return found[0], found[1]


@dataclass(frozen=True)
class PanelSums:
    """Sums over the spots of each panel that are no outliers.

    Attributes
    ----------
    table : (n_panels, 8) spots, outliers; then sums of radial, transverse, their squares, fast
        and slow residuals [pixel]
    """

    table: Array

    @property
    def n_spots(self) -> NDArray[np.int64]:
        """(n_panels,) spots that count."""
        return np.asarray(self.table[:, 0].astype(np.int64))

    @property
    def n_all(self) -> NDArray[np.int64]:
        """(n_panels,) spots, outliers too."""
        return np.asarray(self.table[:, :2].sum(axis=1).astype(np.int64))

    @property
    def n_outliers(self) -> int:
        """Spots left out."""
        return int(self.table[:, 1].sum())

    @property
    def rms_px(self) -> Array:
        """(n_panels,) root mean square distance of predicted from found spots [pixel]."""
        return np.asarray(np.sqrt((self.table[:, 4] + self.table[:, 5]) / self._count))

    @property
    def mean_px(self) -> Array:
        """(n_panels, 2) mean residual along fast and slow [pixel]."""
        return np.asarray(self.table[:, 6:8] / self._count[:, None])

    @property
    def overall_px(self) -> tuple[float, float, float]:
        """Root mean square of all: distance, radial, transverse [pixel]."""
        total = self.table.sum(axis=0)
        radial, transverse = total[4:6] / max(total[0], 1.0)
        both = (radial + transverse, radial, transverse)
        return tuple(float(np.sqrt(value)) for value in both)  # type: ignore[return-value]  # three

    @property
    def _count(self) -> Array:
        return np.asarray(np.maximum(self.table[:, 0], 1.0))


def panel_sums(
    found: Found, values: Array, n_crystals: int, scatter: Scatter, n_panels: int
) -> Array:
    """Return the table (n_panels, 8) of `PanelSums`.

    Parameters
    ----------
    found, values : spots and their residuals (m, 3)
    n_crystals : crystals they belong to
    scatter : says which are outliers
    n_panels : of the detector
    """
    kept = scatter.weights(values, found.crystal, n_crystals)[:, 0] > 0
    radial, transverse = values[:, 0], values[:, 1]
    across = found.radial[:, ::-1] * [-1.0, 1.0]
    px = radial[:, None] * found.radial + transverse[:, None] * across
    columns = [kept, ~kept, radial, transverse, radial**2, transverse**2, px[:, 0], px[:, 1]]
    weighted = [columns[0], columns[1], *(column * kept for column in columns[2:])]
    return np.column_stack([np.bincount(found.panel, column, n_panels) for column in weighted])
