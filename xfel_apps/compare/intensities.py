"""Agreement of merged intensities with known ones, reflection by reflection."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xfel_apps.errors import SourceError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """How a set of intensities agrees with the truth.

    Attributes
    ----------
    d_max_ang, d_min_ang : resolution of the shell [Angstrom]
    n_unique : reflections that the truth has
    n_merged : of these, how many are in the set
    cc : Pearson's correlation over them; NaN for fewer than 3
    """

    d_max_ang: float
    d_min_ang: float
    n_unique: int
    n_merged: int
    cc: float

    @property
    def fraction(self) -> float:
        """Fraction of the unique reflections that is in the set."""
        return self.n_merged / self.n_unique if self.n_unique else 0.0


def by_index(
    hkl: NDArray[np.int64], intensities: Array, space_group: gemmi.SpaceGroup
) -> "pd.Series[float]":
    """Return intensities by Miller index in gemmi's asymmetric unit; mates are averaged.

    Parameters
    ----------
    hkl : (n, 3) in any asymmetric unit
    intensities : (n,); those that are not finite are left out
    space_group : of the crystal; Friedel mates count as equal

    >>> by_index(np.array([[0, 1, 0], [1, 0, 0]]), np.array([2.0, 4.0]), gemmi.SpaceGroup("P4"))
    h  k  l
    0  1  0    3.0
    dtype: float64
    """
    asu, operations = gemmi.ReciprocalAsu(space_group), space_group.operations()
    known = np.isfinite(intensities)
    reduced = [asu.to_asu(index, operations)[0] for index in hkl[known].tolist()]
    columns = np.array(reduced, dtype=np.int64).reshape(-1, 3).T
    index = pd.MultiIndex.from_arrays(list(columns), names=["h", "k", "l"])
    return pd.Series(intensities[known], index=index).groupby(level=[0, 1, 2]).mean()


def read_mtz(path: Path) -> "pd.Series[float]":
    """Return the merged intensities of an MTZ (IMEAN, else the first of type J) by index."""
    try:
        mtz = gemmi.read_mtz_file(str(path))
    except (RuntimeError, OSError) as err:
        raise SourceError(f"{path}: not a readable MTZ ({err})") from err
    named = mtz.column_with_label("IMEAN")
    columns = [named] if named is not None else list(mtz.columns_with_type("J"))
    if not columns:
        raise SourceError(f"{path}: no column of merged intensities (type J)")
    hkl = np.array(mtz.make_miller_array(), dtype=np.int64)
    return by_index(hkl, np.array(columns[0].array, dtype=float), mtz.spacegroup)


def resolution(index: "pd.Index[Any]", cell: gemmi.UnitCell) -> Array:
    """Return the resolution of Miller indices (n,) [Angstrom]."""
    hkl = np.column_stack([index.get_level_values(i).to_numpy() for i in range(3)])
    return np.asarray(cell.calculate_d_array(hkl.astype(np.int32)), dtype=float)


def agreement(
    merged: "pd.Series[float]",
    truth: "pd.Series[float]",
    cell: gemmi.UnitCell,
    limits_ang: Sequence[float],
) -> Agreement:
    """Return the agreement of `merged` with `truth` between two resolutions.

    Parameters
    ----------
    merged, truth : intensities by Miller index in the same asymmetric unit
    cell : for the resolution
    limits_ang : (highest d, lowest d) [Angstrom]
    """
    d_max, d_min = limits_ang
    d_ang = resolution(truth.index, cell)
    wanted = truth[(d_ang <= d_max) & (d_ang >= d_min)]
    common = merged.index.intersection(wanted.index)
    return Agreement(
        d_max, d_min, len(wanted), len(common), correlation(merged[common], wanted[common])
    )


def correlation(first: "pd.Series[float]", second: "pd.Series[float]") -> float:
    """Return Pearson's correlation; NaN where there are too few values or no variation."""
    if len(first) < 3 or first.std() == 0 or second.std() == 0:
        return float("nan")
    return float(np.corrcoef(first.to_numpy(), second.to_numpy())[0, 1])


def shell_limits(
    truth: "pd.Series[float]", cell: gemmi.UnitCell, d_min_ang: float, n_shells: int
) -> list[tuple[float, float]]:
    """Return (d_max, d_min) of shells with equal numbers of reflections, low resolution first."""
    d_ang = np.sort(resolution(truth.index, cell))[::-1]
    edges = np.interp(
        np.linspace(0, 1, n_shells + 1),
        np.linspace(0, 1, int(np.sum(d_ang >= d_min_ang))),
        d_ang[d_ang >= d_min_ang],
    )
    edges[-1] = d_min_ang
    return [(float(high), float(low)) for high, low in pairwise(edges)]
