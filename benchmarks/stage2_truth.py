"""Merged and refined intensities beside the true ones, reflection by reflection."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import gemmi
import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import least_squares

from xfel_apps.intensities.agreement import correlation
from xfel_apps.intensities.mtz import Header, write_mtz
from xfel_apps.intensities.statistics import shell_edges_ang, shell_of

Array = NDArray[np.float64]
WAYS = {"merge": "_merge", "stage2": ""}
"""Suffix of the columns of either."""

D_MIN_ANG, N_SHELLS = 2.5, 10

FAR_ERROR = 0.03
"""Share by which intensities may be off without moving the fit of scale and B."""


def true_intensities(path: Path) -> pd.DataFrame:
    """Return `true` and, where mates differ, `true_difference` by Miller index."""
    with h5py.File(path) as file:
        columns = {"true": file["I_true"][()]}
        if "F_plus" in file:
            columns["true_difference"] = file["F_plus"][()] ** 2 - file["F_minus"][()] ** 2
        return _by_index(file["F_hkl"][()], columns)


def write_truth(truth: Path, path: Path) -> None:
    """Write the true intensities as an MTZ file."""
    with h5py.File(truth) as file:
        group = gemmi.SpaceGroup(str(file.attrs["space_group"]))
        header = Header(gemmi.UnitCell(*file.attrs["base_cell"]), group, 1.3)
        write_mtz(path, file["F_hkl"][()], [("IMEAN", "J", file["I_true"][()])], header, [])


def all_reflections(merged: Path, refined: Path, truth: Path) -> pd.DataFrame:
    """Return the true intensities beside two MTZ files, the columns of the merge with `_merge`.

    What is not in a file is NaN; `d_ang` is of each reflection.
    """
    mtz = gemmi.read_mtz_file(str(refined))
    table = true_intensities(truth).join(_columns(mtz))
    table = table.join(_columns(gemmi.read_mtz_file(str(merged))).add_suffix(WAYS["merge"]))
    hkl = np.array(table.index.to_list(), dtype=np.int32)
    return table.assign(d_ang=mtz.cell.calculate_d_array(hkl))


def both_ways(merged: Path, refined: Path, truth: Path) -> pd.DataFrame:
    """Return the reflections of `all_reflections` that both files have."""
    table = all_reflections(merged, refined, truth)
    return table[table[[f"IMEAN{end}" for end in WAYS.values()]].notna().all(axis=1)]


def precision(table: pd.DataFrame) -> dict[str, float | None]:
    """Return how well either knows the intensities to `D_MIN_ANG`, from `all_reflections`.

    `merge`, `stage2`: correlation with the truth over the reflections that both measured, in units
    of the mean of their shell. `merge_all`, `stage2_all`: over all that there are; one that was not
    measured counts as the mean of its shell.
    """
    table = table[table["d_ang"] >= D_MIN_ANG]
    d_ang = table["d_ang"].to_numpy()
    shell = shell_of(d_ang, shell_edges_ang(d_ang, N_SHELLS))
    level = table["true"].groupby(shell).transform("mean")
    found = {way: table[f"IMEAN{end}"] / level for way, end in WAYS.items()}
    missing = {way: values.groupby(shell).transform("mean") for way, values in found.items()}
    return _precision(table["true"] / level, found, missing)


def anomalous_precision(table: pd.DataFrame) -> dict[str, float | None]:
    """Return the same of the differences I(+) - I(-); one that was not measured counts as 0."""
    table = table[(table["d_ang"] >= D_MIN_ANG) & (table["true_difference"].abs() > 0.0)]
    found = {way: table[f"I(+){end}"] - table[f"I(-){end}"] for way, end in WAYS.items()}
    none = table["true"] * 0.0
    return _precision(table["true_difference"], found, dict.fromkeys(WAYS, none))


def _precision(
    true: pd.Series, found: dict[str, pd.Series], missing: dict[str, pd.Series]
) -> dict[str, float | None]:
    both = np.logical_and.reduce([values.notna() for values in found.values()])
    result = {
        way: correlation(values[both].to_numpy(), true[both].to_numpy())
        for way, values in found.items()
    }
    for way, values in found.items():
        every = values.fillna(missing[way])
        result[f"{way}_all"] = correlation(every.to_numpy(), true.to_numpy())
    return result


def agreement(table: pd.DataFrame) -> dict[str, float | None]:
    """Return the correlation of either with the truth."""
    return {
        way: correlation(table[f"IMEAN{end}"].to_numpy(), table["true"].to_numpy())
        for way, end in WAYS.items()
    }


def anomalous_agreement(table: pd.DataFrame) -> dict[str, Any]:
    """Return the correlation of either's I(+) - I(-) with the truth, over those both have."""
    found = {way: table[f"I(+){end}"] - table[f"I(-){end}"] for way, end in WAYS.items()}
    both = np.logical_and.reduce([np.isfinite(values) for values in found.values()])
    both &= table["true_difference"].abs() > 0.0
    true = table["true_difference"][both].to_numpy()
    values = {way: correlation(each[both].to_numpy(), true) for way, each in found.items()}
    return {"n": int(both.sum()), **values}


def halves_agreement(table: pd.DataFrame) -> dict[str, Any]:
    """Return CC1/2 of either over the reflections that both measured in both halves."""
    both = np.ones(len(table), dtype=bool)
    for end in WAYS.values():
        both &= table[[f"IHALF1{end}", f"IHALF2{end}"]].notna().all(axis=1)
    halves = table[both]
    return {"n_halves": int(both.sum())} | {
        f"cc_half_{way}": correlation(
            halves[f"IHALF1{end}"].to_numpy(), halves[f"IHALF2{end}"].to_numpy()
        )
        for way, end in WAYS.items()
    }


def by_shell(table: pd.DataFrame, n_shells: int, measure: Any) -> list[dict[str, Any]]:
    """Return what `measure` says of the reflections in each shell of equal volume."""
    d_ang = table["d_ang"].to_numpy()
    edges = shell_edges_ang(d_ang, n_shells)
    number = shell_of(d_ang, edges)
    return [
        {"d_max_ang": round(float(high), 2), "d_min_ang": round(float(low), 2)}
        | {"n": int((number == i).sum())}
        | rounded(measure(table[number == i]))
        for i, (high, low) in enumerate(pairwise(edges))
    ]


def sigma_check(table: pd.DataFrame, way: str, n_bins: int = 5) -> list[float]:
    """Return rms of (I - true) / sigma in bins of true intensity, weak ones first.

    Scale and B, which are arbitrary, are fitted first.
    """
    intensity, sigma = (table[f"{name}{WAYS[way]}"].to_numpy() for name in ("IMEAN", "SIGIMEAN"))
    true, s2 = table["true"].to_numpy(), 0.25 / table["d_ang"].to_numpy() ** 2
    first = float(np.sum(intensity * true) / np.sum(true**2))
    spread = np.hypot(sigma, FAR_ERROR * first * true)

    def off(x: Array) -> Array:
        return np.asarray(intensity - first * np.exp(x[0] - 2.0 * x[1] * s2) * true)

    found = least_squares(lambda x: off(x) / spread, np.zeros(2), loss="soft_l1").x
    z = off(found) / sigma
    order = np.array_split(np.argsort(true), n_bins)
    return [round(float(np.sqrt(np.mean(z[rows] ** 2))), 2) for rows in order]


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Return figures of four digits."""
    return {
        key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()
    }


def _columns(mtz: gemmi.Mtz) -> pd.DataFrame:
    labels = [column.label for column in mtz.columns[3:]]
    values = np.asarray(mtz.array, dtype=float)[:, 3:]
    return _by_index(mtz.make_miller_array(), dict(zip(labels, values.T, strict=True)))


def _by_index(hkl: Any, columns: dict[str, Array]) -> pd.DataFrame:
    index = pd.MultiIndex.from_arrays(list(np.asarray(hkl, dtype=np.int64).T), names=list("hkl"))
    return pd.DataFrame({name: np.asarray(x, float) for name, x in columns.items()}, index=index)
