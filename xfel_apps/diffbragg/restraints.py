"""What is known of a crystal before its pixels are seen: restraints and bounds."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xfel_apps.pixel_model.cell import free_parameters
from xfel_apps.pixel_model.crystal import Parameters, PixelCrystal

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Restraints:
    """Normal priors and bounds of a crystal's parameters.

    Attributes
    ----------
    cell, cell_sigma : (6,) mean of the dataset's cells and their spread; a spread of 0: none
    n_cells, ln_n_sigma : (3,) cells of a block, and the spread of their logarithm; 0: none
    spread_deg, ln_spread_sigma : the same of the mosaic spread
    bandwidth, ln_bandwidth_sigma : the same of the bandwidth
    n_bounds : least and most cells of a block along an axis
    spread_bounds_deg : least and most mosaic spread
    """

    cell: Array | None = None
    cell_sigma: Array | None = None
    n_cells: Array | None = None
    ln_n_sigma: float = 0.0
    spread_deg: float = 0.02
    ln_spread_sigma: float = 0.0
    bandwidth: float = 0.0
    ln_bandwidth_sigma: float = 0.0
    n_bounds: tuple[float, float] = (2.0, 1000.0)
    spread_bounds_deg: tuple[float, float] = (1e-4, 2.0)

    def _terms(self, crystal: PixelCrystal) -> list[tuple[str, float, float]]:
        """Return (parameter, distance in sigmas, its derivative) of each restraint."""
        terms = []
        if self.cell is not None and self.cell_sigma is not None:
            free = free_parameters(crystal.space_group)
            for i, column in enumerate(free.T):
                first = int(np.argmax(column))
                sigma = float(self.cell_sigma[first])
                if sigma > 0.0:
                    off = (crystal.cell[first] - self.cell[first]) / sigma
                    terms.append((f"cell_{i}", off, 1.0 / sigma))
        if self.n_cells is not None and self.ln_n_sigma > 0.0:
            for axis, n, mean in zip("abc", crystal.n_cells, self.n_cells, strict=True):
                terms.append(
                    (f"ln_n_{axis}", float(np.log(n / mean)) / self.ln_n_sigma, 1 / self.ln_n_sigma)
                )
        if self.ln_spread_sigma > 0.0:
            off = float(np.log(crystal.spread_deg / self.spread_deg)) / self.ln_spread_sigma
            terms.append(("ln_spread", off, 1.0 / self.ln_spread_sigma))
        if self.bandwidth > 0.0 and self.ln_bandwidth_sigma > 0.0:
            off = float(np.log(crystal.bandwidth / self.bandwidth)) / self.ln_bandwidth_sigma
            terms.append(("ln_bandwidth", off, 1.0 / self.ln_bandwidth_sigma))
        return terms

    def cost(self, crystal: PixelCrystal) -> float:
        """Return half the sum of squared distances in sigmas."""
        return 0.5 * sum(off**2 for _, off, _ in self._terms(crystal))

    def derivatives(self, crystal: PixelCrystal, parameters: Parameters) -> tuple[Array, Array]:
        """Return gradient (p,) and curvature (p, p) of `cost`."""
        names = parameters.names(crystal)
        slope, bend = np.zeros(len(names)), np.zeros((len(names), len(names)))
        for name, off, by in self._terms(crystal):
            name = name if name in names or not name.startswith("ln_n_") else "ln_n"
            if name not in names:
                continue
            row = names.index(name)
            slope[row] += off * by
            bend[row, row] += by**2
        return slope, bend

    def bounded(self, crystal: PixelCrystal) -> PixelCrystal:
        """Return the crystal within the bounds."""
        return replace(
            crystal,
            n_cells=np.clip(crystal.n_cells, *self.n_bounds),
            spread_deg=float(np.clip(crystal.spread_deg, *self.spread_bounds_deg)),
        )
