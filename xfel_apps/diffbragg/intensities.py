"""What the merged data say of each intensity before a shot's pixels are seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from xfel_apps.errors import ContainerError

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

PER_SHELL = 100
"""Merged reflections a shell, of which the mean intensity is Wilson's."""

LN_WILSON, LN_WILSON_SIGMA = -0.5772, 1.2825
"""Mean and standard deviation of ln(I / mean) where I is exponential: -gamma, pi / sqrt(6)."""

LEAST_SHARE = 0.02
"""Merged intensities are taken as at least this share of the shell's mean."""


@dataclass(frozen=True)
class ExpectedIntensities:
    """Intensities by Miller index, with the spread of their logarithms.

    Attributes
    ----------
    box, sigma_box : (n_h, n_k, n_l) |F|^2 and sigma of the logarithm; NaN where not merged
    lowest : Miller index of the boxes' first element
    cell, space_group : of the merged data
    shell_s2, shell_ln_mean : 1/d^2 of the shells and the logarithm of their mean intensities
    """

    box: Array
    sigma_box: Array
    lowest: IntArray
    cell: gemmi.UnitCell
    space_group: gemmi.SpaceGroup
    shell_s2: Array
    shell_ln_mean: Array

    @classmethod
    def read(cls, path: Path, least_ln_sigma: float) -> "ExpectedIntensities":
        """Return what an MTZ file of merged data tells.

        Parameters
        ----------
        path : with columns IMEAN and SIGIMEAN, as merge writes them
        least_ln_sigma : merged intensities are not trusted further than this
        """
        try:
            mtz = gemmi.read_mtz_file(str(path))
        except (OSError, RuntimeError) as err:
            raise ContainerError(f"{path}: not a readable MTZ file ({err})") from err
        columns = [mtz.column_with_label(name) for name in ("IMEAN", "SIGIMEAN")]
        if None in columns:
            labels = [column.label for column in mtz.columns]
            raise ContainerError(
                f"{path}: no columns IMEAN and SIGIMEAN, only {labels}; give a merged.mtz of merge"
            )
        intensity, sigma = (np.asarray(column.array, dtype=float) for column in columns)
        good = np.isfinite(intensity) & np.isfinite(sigma) & (sigma > 0)
        if good.sum() < PER_SHELL:
            raise ContainerError(
                f"{path}: {good.sum()} merged intensities, at least {PER_SHELL} are needed; "
                "merge more shots"
            )
        hkl = np.asarray(mtz.make_miller_array(), dtype=np.int64)[good]
        return cls._spread(hkl, intensity[good], sigma[good], mtz, least_ln_sigma)

    @classmethod
    def _spread(
        cls, hkl: IntArray, intensity: Array, sigma: Array, mtz: gemmi.Mtz, least: float
    ) -> "ExpectedIntensities":
        """Return the intensities with all their symmetry mates."""
        s2 = mtz.cell.calculate_1_d2_array(hkl.astype(np.int32))
        shell_s2, shell_ln = _shells(s2, intensity)
        mean = np.exp(np.interp(s2, shell_s2, shell_ln))
        value, ln_sigma = _logarithmic(intensity, sigma, mean, least)
        rotations = [np.array(op.rot) // 24 for op in mtz.spacegroup.operations().sym_ops]
        mates = np.concatenate([sign * hkl @ rot for rot in rotations for sign in (-1, 1)])
        reach = np.abs(mates).max(axis=0)
        box, sigma_box = (np.full(2 * reach + 1, np.nan) for _ in range(2))
        where = tuple((mates + reach).T)
        box[where] = np.tile(value, 2 * len(rotations))
        sigma_box[where] = np.tile(ln_sigma, 2 * len(rotations))
        return cls(box, sigma_box, -reach, mtz.cell, mtz.spacegroup, shell_s2, shell_ln)

    def at(self, hkl: IntArray) -> tuple[Array, Array]:
        """Return |F|^2 (n,) of Miller indices (n, 3) and the spread (n,) of its logarithm."""
        s2 = self.cell.calculate_1_d2_array(hkl.astype(np.int32))
        value = np.exp(np.interp(s2, self.shell_s2, self.shell_ln_mean) + LN_WILSON)
        ln_sigma = np.full(len(hkl), LN_WILSON_SIGMA)
        index = hkl - self.lowest
        inside = np.all((index >= 0) & (index < self.box.shape), axis=1)
        known = self.box[tuple(index[inside].T)]
        rows = np.flatnonzero(inside)[np.isfinite(known)]
        value[rows] = known[np.isfinite(known)]
        ln_sigma[rows] = self.sigma_box[tuple(index[rows].T)]
        return value, ln_sigma


def modes(expected: ExpectedIntensities) -> list[IntArray]:
    """Return matrices M of the ways to index that spots alone do not tell apart: ``hkl @ M``.

    The first is the identity; they are the operators of the lattice that the point group lacks.
    """
    laws = gemmi.find_twin_laws(expected.cell, expected.space_group, 0.5, False)
    return [np.eye(3, dtype=np.int64)] + [np.array(op.rot, dtype=np.int64) // 24 for op in laws]


def best_mode(
    expected: ExpectedIntensities,
    operators: Sequence[IntArray],
    hkl: IntArray,
    intensity: NDArray[np.floating],
) -> int:
    """Return the number of the way of indexing that agrees best with the merged intensities.

    Parameters
    ----------
    expected, operators : merged intensities, and the ways
    hkl, intensity : (n, 3), (n,) integrated reflections of a lattice
    """
    if len(operators) == 1 or len(hkl) < 3:
        return 0
    ranks = rankdata(intensity)
    agreement = [
        float(np.corrcoef(rankdata(expected.at(hkl @ operator)[0]), ranks)[0, 1])
        for operator in operators
    ]
    return int(np.argmax(np.nan_to_num(agreement, nan=-1.0)))


def _shells(s2: Array, intensity: Array) -> tuple[Array, Array]:
    """Return 1/d^2 and logarithm of the mean intensity of shells of equally many reflections."""
    order = np.argsort(s2)
    parts = np.array_split(order, max(1, len(order) // PER_SHELL))
    means = np.array([intensity[part].mean() for part in parts])
    floor = 1e-3 * max(means.max(), 1e-30)
    return np.array([s2[part].mean() for part in parts]), np.log(np.maximum(means, floor))


def _logarithmic(intensity: Array, sigma: Array, mean: Array, least: float) -> tuple[Array, Array]:
    """Return value and sigma of the logarithm of merged intensities, never beyond Wilson's."""
    value = np.maximum(intensity, LEAST_SHARE * mean)
    value = np.where(intensity < sigma, np.maximum(value, 0.5 * np.minimum(sigma, mean)), value)
    ln_sigma = np.hypot(np.minimum(sigma / value, LN_WILSON_SIGMA), least)
    return value, np.minimum(ln_sigma, 0.999 * LN_WILSON_SIGMA)
