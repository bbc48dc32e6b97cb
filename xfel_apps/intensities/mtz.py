"""Merged and unmerged data as MTZ files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import ContainerError
from xfel_apps.intensities.table import Mean, Merged

Array = NDArray[np.float64]
Column = tuple[str, str, NDArray[np.generic]]
HISTORY_WIDTH = 80


@dataclass(frozen=True)
class Header:
    """What an MTZ file says of the crystals: cell, space group, mean wavelength [Angstrom]."""

    cell: gemmi.UnitCell
    space_group: gemmi.SpaceGroup
    wavelength_ang: float


def write_merged(
    path: Path,
    merged: Merged,
    header: Header,
    history: Sequence[str],
) -> None:
    """Write the measured unique reflections.

    Columns: IMEAN SIGIMEAN N, F SIGF (French & Wilson), IHALF1 IHALF2 with their sigmas, and where
    Friedel mates are apart I(+) SIGI(+) N(+) I(-) SIGI(-) N(-).
    """
    columns: list[Column] = [
        *_columns(merged.mean, "IMEAN", "J", "Q"),
        ("N", "I", merged.mean.count),
        ("F", "F", merged.amplitude),
        ("SIGF", "Q", merged.amplitude_sigma),
        *_columns(merged.halves[0], "IHALF1", "J", "Q"),
        *_columns(merged.halves[1], "IHALF2", "J", "Q"),
    ]
    for sign, mate in zip("+-", merged.mates or (), strict=False):
        columns += _columns(mate, f"I({sign})", "K", "M")
        columns.append((f"N({sign})", "I", mate.count))
    chosen = merged.is_measured
    kept = [(label, kind, values[chosen]) for label, kind, values in columns]
    write_mtz(path, merged.unique.hkl[chosen], kept, header, history)


def _columns(mean: Mean, label: str, kind: str, sigma_kind: str) -> list[Column]:
    return [(label, kind, mean.intensity), (f"SIG{label}", sigma_kind, mean.sigma)]


def write_mtz(
    path: Path,
    hkl: NDArray[np.integer],
    columns: Sequence[Column],
    header: Header,
    history: Sequence[str],
) -> None:
    """Write an MTZ file whole or not at all; columns are (label, MTZ type, values)."""
    mtz = gemmi.Mtz(with_base=True)
    mtz.title = "xfelflow"
    mtz.spacegroup = header.space_group
    mtz.add_dataset("xfelflow").wavelength = header.wavelength_ang
    mtz.set_cell_for_all(header.cell)
    for label, kind, _ in columns:
        mtz.add_column(label, kind)
    data = np.column_stack([hkl, *(values for _, _, values in columns)]).astype(np.float32)
    mtz.set_data(data)
    _describe_batches(mtz)
    mtz.history = [line[:HISTORY_WIDTH] for line in history]
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mtz.write_to_file(str(part))
        part.replace(path)
    except (OSError, RuntimeError) as err:
        raise ContainerError(f"{path}: cannot write ({err})") from err


def _describe_batches(mtz: gemmi.Mtz) -> None:
    """Add the header of each batch (a crystal), which makes an MTZ an unmerged one."""
    batches = mtz.column_with_label("BATCH")
    if batches is None:
        return
    for number in np.unique(np.asarray(batches.array, int)):
        batch = gemmi.Mtz.Batch()
        batch.number = int(number)
        batch.title = f"crystal {number}"
        batch.cell = mtz.cell
        batch.dataset_id = mtz.datasets[-1].id
        mtz.batches.append(batch)
