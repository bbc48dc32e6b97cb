"""merged.h5: what a merge leaves beside its manifest, so that crystals can be added later."""

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.rows import Rows, column
from xfel_apps.errors import ContainerError

F8 = NDArray[np.float64]
FORMAT, VERSION = "xfelflow-merged", 2


@dataclass(frozen=True)
class SlotSums(Rows):
    """One row a slot: a unique reflection, or a Friedel mate where they are apart.

    weighted is the sum of x I / v, weight that of x^2 / v over the observations of one half of the
    crystals: see `xfel_apps.compute.scaling`.
    """

    weighted_first: F8 = column("f8", "1/photon", "weighted sum, first half of the crystals")
    weight_first: F8 = column("f8", "1/photon^2", "weight, first half of the crystals")
    weighted_second: F8 = column("f8", "1/photon", "weighted sum, second half")
    weight_second: F8 = column("f8", "1/photon^2", "weight, second half")
    count: NDArray[np.int64] = column("i8", "", "observations")
    information_first: F8 = column("f8", "1/photon^2", "weight of an intensity as expected, first")
    information_second: F8 = column("f8", "1/photon^2", "the same, second half")
    quiet: F8 = column("f8", "1/photon^2", "weight by background noise alone")


@dataclass(frozen=True)
class ScatterSums(Rows):
    """One row a unique reflection: how its observations scatter about their mean."""

    square: F8 = column("f8", "", "sum of squared distances in sigmas, each over its expectation")
    count: F8 = column("f8", "", "observations that are repeated")


@dataclass(frozen=True)
class MergedCrystals(Rows):
    """One row a crystal that was looked at."""

    identity: NDArray[np.uint64] = column("u8", "", "hash of run, shot and lattice")
    run: NDArray[np.int32] = column("i4", "", "index into the runs")
    verdict: NDArray[np.int8] = column("i1", "", "code of what became of it")
    mode: NDArray[np.int8] = column("i1", "", "way of indexing")
    log_scale: F8 = column("f8", "", "logarithm of its scale")
    b_ang2: F8 = column("f8", "angstrom^2", "its fall-off")
    tilt_mrad: F8 = column("f8", "mrad", "its turn about lab x and y", (2,))
    log_width: F8 = column("f8", "", "change of its width, at low resolution and at 2 A", (2,))


TABLES: dict[str, type[Rows]] = {
    "slots": SlotSums,
    "scatter": ScatterSums,
    "crystals": MergedCrystals,
}


@dataclass(frozen=True)
class MergeState:
    """What was merged, ready for more.

    Attributes
    ----------
    slots, scatter, crystals : tables
    runs : names of the runs
    cell, space_group, wavelength_ang : of the merged data
    limits_ang : resolution (d_min, d_max) that the slots were made for
    friedel_apart : whether mates have slots of their own
    error_model : counting, partiality, relative
    modulation : coefficients of `xfel_apps.merge.modulation`
    spreads : of the crystals' log scales, tilts and widths, by name
    n_rejected : observations left out as outliers
    """

    slots: SlotSums
    scatter: ScatterSums
    crystals: MergedCrystals
    runs: tuple[str, ...]
    cell: tuple[float, ...]
    space_group: str
    wavelength_ang: float
    limits_ang: tuple[float, float]
    friedel_apart: bool
    error_model: tuple[float, ...]
    modulation: tuple[float, ...]
    spreads: dict[str, float]
    n_rejected: int

    def write(self, path: Path) -> None:
        """Write the file whole or not at all."""
        part = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(part, "w", libver="latest") as file:
                file.attrs.update({"format": FORMAT, "schema_version": VERSION})
                file.attrs["about"] = json.dumps({name: getattr(self, name) for name in _ABOUT})
                for name in TABLES:
                    _write_table(file.create_group(name), getattr(self, name))
            with part.open("rb") as written:
                os.fsync(written.fileno())
            part.replace(path)
        except OSError as err:
            raise ContainerError(f"{path}: cannot write ({err})") from err

    @classmethod
    def read(cls, path: Path) -> "MergeState":
        """Return the state at `path`."""
        try:
            with h5py.File(path, "r") as file:
                found = (file.attrs.get("format"), file.attrs.get("schema_version"))
                if found != (FORMAT, VERSION):
                    raise ContainerError(
                        f"{path}: {found[0]} version {found[1]}, this code reads {FORMAT} "
                        f"{VERSION}; merge all runs again"
                    )
                about = json.loads(file.attrs["about"])
                tables: dict[str, Any] = {
                    name: kind(**{key: file[name][key][:] for key in kind.schema()})
                    for name, kind in TABLES.items()
                }
        except (OSError, KeyError, ValueError) as err:
            raise ContainerError(
                f"{path}: cannot be added to ({err}); merge all runs again"
            ) from err
        return cls(**tables, **{name: _as_tuple(about[name]) for name in _ABOUT})


_ABOUT = tuple(item.name for item in fields(MergeState) if item.name not in TABLES)


def _write_table(group: h5py.Group, rows: Rows) -> None:
    for name, meta in rows.schema().items():
        dataset = group.create_dataset(name, data=getattr(rows, name).astype(meta["dtype"]))
        dataset.attrs["units"] = meta["unit"]
        dataset.attrs["description"] = meta["doc"]


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
