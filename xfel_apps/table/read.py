"""Products as flat tables with one row a shot, spot, lattice or reflection."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.events import EVENTS
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.results import PER_SHOT, RunResults, run_folders
from xfel_apps.containers.spots import SPOTS
from xfel_apps.errors import SettingsError

A_MATRIX = [f"{axis}_star_{x}" for x in "xyz" for axis in "abc"]
"""Names of the elements of A row by row; its columns are a*, b*, c*."""

CELL = ["a", "b", "c", "alpha", "beta", "gamma"]
CRYSTAL_COLUMNS = [
    *["run", "event", "file", "shot", "lattice"],
    *[f"{axis}_star_{x}" for axis in "abc" for x in "xyz"],
    *CELL,
    *["space_group", "n_spots", "n_indexed", "n_reflections", "d_min", "mosaicity"],
    *["rmsd_px", "excitation_rms_invang", "block_size_ang", "wavelength_ang"],
]


def read_table(folder: Path, product: str) -> pd.DataFrame:
    """Return a product of the run at `folder`, or of all runs below it, as one table.

    Parameters
    ----------
    folder : a run, a trial, the `--out` of `xfelflow process`, or a folder of such
    product : `events`, `spots`, `crystals` or `reflections`

    Returns
    -------
    `run`, `event` (its number in the run), `file` and `shot` (frame in the file, from 0) say which
    shot a row belongs to. Cells in Angstrom and degrees, reciprocal vectors in 1/Angstrom without
    2 pi in the lab frame, d_min in Angstrom, mosaicity in degrees, times in s of one core.
    """
    if product not in PRODUCTS:
        raise SettingsError(f"no product {product!r}; choose from {', '.join(PRODUCTS)}")
    tables = []
    for path in run_folders(folder):
        results = RunResults(path)
        try:
            tables.append(PRODUCTS[product](results))
        finally:
            results.close()
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


def _identity(results: RunResults) -> pd.DataFrame:
    """Return run, file and shot of every event, indexed by event."""
    frame = results.events.frame
    names = [str(path) for path in results.events.files]
    file = [names[number] if 0 <= number < len(names) else "" for number in frame["file"]]
    return pd.DataFrame(
        {"run": results.name, "file": file, "shot": frame["frame"].to_numpy()}, index=frame.index
    )


def _with_identity(results: RunResults, rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows that have a column `event` with run, event, file and shot in front."""
    joined = rows.join(_identity(results), on="event")
    front = ["run", "event", "file", "shot"]
    return joined[[*front, *(name for name in joined if name not in front)]]


def events_table(results: RunResults) -> pd.DataFrame:
    """Return one row an event: how it ended and why, spots, seconds by stage."""
    table = _identity(results)
    table["outcome"] = results.outcomes["outcome"]
    table["reason"] = results.outcomes["reason"]
    table["n_spots"] = pd.array([pd.NA] * len(table), dtype="Int64")
    if results.has(SPOTS):
        table["n_spots"] = results.shots(SPOTS)["n_spots"].astype("Int64")
    for product in PER_SHOT.values():
        if product is not EVENTS:
            made = results.has(product)
            cpu_s = results.shots(product)["cpu_s"] if made else pd.Series(dtype="float32")
            table[f"{product.stage}_s"] = cpu_s.reindex(table.index)
    frame = results.events.frame
    for name in ("wavelength_ang", "timestamp_s", "pulse_energy_mj", "laser_on", "shot_id"):
        table[name] = frame[name]
    table["shot_id"] = [_text(value) for value in table["shot_id"]]
    table.insert(1, "event", table.index)
    return table.reset_index(drop=True)


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def spots_table(results: RunResults) -> pd.DataFrame:
    """Return one row a spot, as found."""
    return _with_identity(results, results.reader(SPOTS).frame("spots"))


def crystals_table(results: RunResults) -> pd.DataFrame:
    """Return one row a lattice, as integrated where that is done, else as indexed."""
    keys = ["event", "lattice"]
    rows = results.reader(CRYSTALS).frame("crystals").set_index(keys)
    rows["n_reflections"] = pd.array([pd.NA] * len(rows), dtype="Int64")
    if results.has(REFLECTIONS):
        later = results.reader(REFLECTIONS).frame("crystals").set_index(keys)
        later = later.loc[:, [name for name in rows if name in later]]
        if len(later):
            rows.loc[later.index, later.columns] = later
    names = {f"a_matrix_{i}": name for i, name in enumerate(A_MATRIX)}
    names |= {f"cell_{i}": name for i, name in enumerate(CELL)}
    names |= {"d_min_ang": "d_min", "mosaicity_deg": "mosaicity"}
    table = _with_identity(results, rows.reset_index().rename(columns=names))
    return table.reindex(columns=CRYSTAL_COLUMNS)


def reflections_table(results: RunResults) -> pd.DataFrame:
    """Return one row a reflection, as integrated."""
    return _with_identity(results, results.reader(REFLECTIONS).frame("reflections"))


PRODUCTS: Mapping[str, Callable[[RunResults], pd.DataFrame]] = {
    "events": events_table,
    "spots": spots_table,
    "crystals": crystals_table,
    "reflections": reflections_table,
}
