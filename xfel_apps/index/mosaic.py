"""Mosaic spread and block size of a crystal from how far its spots lie from the Ewald sphere."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FULL_WIDTH = 2.0 * np.sqrt(2.0 * np.log(2.0))
"""Full width at half height of a Gaussian of unit standard deviation."""
PRIOR_WIDTH_INVANG = 1.4e-3
"""Full width expected before the first look: blocks of 1000 Angstrom, a little mosaic spread."""
PRIOR_SPOTS = 3.0
"""How many spots that expectation counts for."""


@dataclass(frozen=True)
class MosaicModel:
    """How wide reflections are along the radius of the Ewald sphere.

    The full width at half height of a reflection at q is mosaicity * |q| + 1 / block size.

    Attributes
    ----------
    mosaicity_rad : full angular width of the mosaic blocks' orientations [rad]
    inverse_block_invang : one over the size of the blocks [1/Angstrom]
    """

    mosaicity_rad: float
    inverse_block_invang: float

    @property
    def block_size_ang(self) -> float:
        """Size of the mosaic blocks [Angstrom], at most a micrometre: larger ones look alike."""
        return 1.0 / max(self.inverse_block_invang, 1e-4)

    def sigma_invang(self, size: Array) -> Array:
        """Return the standard deviation (n,) of the excitation error at |q| (n,) [1/Angstrom]."""
        width = self.mosaicity_rad * size + self.inverse_block_invang
        return np.asarray(width / FULL_WIDTH)


def fit_mosaic(excitation_invang: Array, size_invang: Array) -> MosaicModel:
    """Return the most likely model given excitation errors (n,) of spots at |q| (n,).

    The likelihood is maximised on a grid of the full width at the mean |q| and of how much of it
    is mosaic spread, with a prior worth three spots, so that a few spots give a sane answer.

    Source: Sauter et al. (2014), Acta Cryst. D70, 3299-3309, section 3.
    """
    if not len(size_invang):
        return MosaicModel(0.0, PRIOR_WIDTH_INVANG)
    middle = float(size_invang.mean())
    widths = PRIOR_WIDTH_INVANG * np.geomspace(0.08, 12.0, 48)[:, None]
    shares = np.linspace(0.0, 1.0, 11)[None, :]
    relative = 1.0 + shares[..., None] * (size_invang / middle - 1.0)
    sigma = widths[..., None] * relative / FULL_WIDTH
    log_likelihood = -np.sum(np.log(sigma) + 0.5 * (excitation_invang / sigma) ** 2, axis=-1)
    prior = widths / PRIOR_WIDTH_INVANG
    log_likelihood -= PRIOR_SPOTS * (np.log(prior) + 0.5 / prior**2)
    row, column = np.unravel_index(np.argmax(log_likelihood), log_likelihood.shape)
    width, share = float(widths[row, 0]), float(shares[0, column])
    return MosaicModel(width * share / middle, width * (1.0 - share))
