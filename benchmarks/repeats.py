"""How intensities of single stills agree: between stills, and with structure factors.

Intensities spread over orders of magnitude, so that logarithms are compared. Stills differ
in scale and in how intensities fall with resolution: both are fitted first.
"""

from pathlib import Path

import gemmi
import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]
UNIQUE = ["H", "K", "L"]
SOLVENT_SCALE, SOLVENT_B_ANG2 = 0.35, 46.0
"""Of the flat bulk solvent: means over many structures (Fokine & Urzhumtsev 2002, Acta Cryst. D58,
1387-1392)."""


def with_unique(rows: pd.DataFrame, space_group: str) -> pd.DataFrame:
    """Return reflections with their indices H, K, L in the asymmetric unit."""
    group = gemmi.SpaceGroup(space_group)
    asu, operations = gemmi.ReciprocalAsu(group), group.operations()
    unique = [asu.to_asu(index, operations)[0] for index in rows[["h", "k", "l"]].values.tolist()]
    return rows.assign(**dict(zip(UNIQUE, np.array(unique).reshape(-1, 3).T, strict=True)))


def one_each(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one of the mates on each still: that of which the largest share is recorded."""
    rows = rows.sort_values("partiality", kind="stable")
    return rows.drop_duplicates(["event", *UNIQUE], keep="last").sort_index()


def between_stills(rows: pd.DataFrame) -> tuple[int, float]:
    """Return pairs of equal reflections on different stills, and how their logarithms correlate."""
    rows = rows[rows["full"] > 0]
    pairs = rows.merge(rows, on=UNIQUE, suffixes=("", "_2"))
    pairs = pairs[pairs["event"] < pairs["event_2"]]
    first, second = np.log(pairs["full"].to_numpy()), np.log(pairs["full_2"].to_numpy())
    terms = [
        ((pairs["event_2"] == event).astype(float) - (pairs["event"] == event)) * fall
        for event in np.unique(rows["event"])
        for fall in (1.0, pairs["d_ang"] ** -2.0)
    ]
    second = second - _fitted(np.column_stack(terms), second - first)
    either, other = np.concatenate([first, second]), np.concatenate([second, first])
    return len(pairs), _correlation(either, other)


def with_model(rows: pd.DataFrame, model: "pd.Series[float]") -> tuple[int, float]:
    """Return reflections of which |F|^2 is known, and how their logarithms correlate with it.

    What both have of the fall with resolution does not count.
    """
    rows = rows[rows["full"] > 0].join(model.rename("model"), on=UNIQUE, how="inner")
    parts = []
    for _, still in rows.groupby("event"):
        terms = np.column_stack([np.ones(len(still)), still["d_ang"] ** -2.0])
        both = np.log(still[["full", "model"]].to_numpy())
        parts.append(both - _fitted(terms, both))
    both = np.concatenate(parts)
    return len(both), _correlation(both[:, 0], both[:, 1])


def squared_amplitudes(path: Path, d_min_ang: float) -> "pd.Series[float]":
    """Return |F|^2 of a model with its bulk solvent, by index in the asymmetric unit."""
    structure = gemmi.read_structure(str(path))
    structure.remove_hydrogens()
    density = gemmi.DensityCalculatorX()
    density.d_min = d_min_ang
    density.set_refmac_compatible_blur(structure[0])
    density.set_grid_cell_and_spacegroup(structure)
    density.put_model_density_on_grid(structure[0])
    mask = gemmi.FloatGrid()
    mask.setup_from(structure, spacing=0.5)
    gemmi.SolventMasker(gemmi.AtomicRadiiSet.Cctbx).put_mask_on_float_grid(mask, structure[0])
    atoms, solvent = (
        _by_index(gemmi.transform_map_to_f_phi(grid, half_l=True), d_min_ang, blur)
        for grid, blur in ((density.grid, density.blur), (mask, 0.0))
    )
    d_ang = structure.cell.calculate_d_array(np.array(atoms.index.to_list(), dtype=np.int32))
    solvent = solvent.reindex(atoms.index).fillna(0.0)
    whole = atoms + SOLVENT_SCALE * np.exp(-SOLVENT_B_ANG2 / (4.0 * d_ang**2)) * solvent
    return whole.abs() ** 2


def _by_index(grid: gemmi.ReciprocalComplexGrid, d_min_ang: float, blur: float) -> pd.Series:
    data = grid.prepare_asu_data(dmin=d_min_ang, unblur=blur)
    return pd.Series(data.value_array, pd.MultiIndex.from_arrays(data.miller_array.T, names=UNIQUE))


def _fitted(terms: Array, values: Array) -> Array:
    """Return the least-squares fit to values."""
    return np.asarray(terms @ np.linalg.lstsq(terms, values, rcond=None)[0])


def _correlation(first: Array, second: Array) -> float:
    return float(np.corrcoef(first, second)[0, 1]) if len(first) > 2 else float("nan")
