"""Intensities of another data set or of a model, to scale to and compare with."""

from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import SettingsError
from xfel_apps.intensities.asu import ABSENT, UniqueReflections

Array = NDArray[np.float64]
INTENSITIES = ("IMEAN", "I", "Imean", "IOBS", "Iobs", "I-obs", "J", "intensity_meas")
AMPLITUDES = ("FP", "F", "FOBS", "Fobs", "F-obs", "FMEAN", "FC", "FMODEL", "F-model")
AMPLITUDES_MMCIF = ("F_meas_au", "F_meas", "F_calc_au", "F_calc")


def read_reference(path: Path, unique: UniqueReflections) -> Array:
    """Return the intensities (n,) of the unique reflections in a file, NaN where it has none.

    Parameters
    ----------
    path : MTZ file, or mmCIF file of structure factors; intensities are taken if it has any, else
        squared amplitudes. Friedel mates are averaged.
    """
    hkl, intensity = _read(path)
    slot = unique.slots(hkl)
    known = (slot != ABSENT) & np.isfinite(intensity)
    number = slot[known] // unique.slots_each
    count = np.bincount(number, minlength=len(unique))
    total = np.bincount(number, weights=intensity[known], minlength=len(unique))
    if not known.any():
        raise SettingsError(f"{path}: no reflection in the range of resolution; another crystal?")
    mean = np.full(len(unique), np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def _read(path: Path) -> tuple[NDArray[np.int32], Array]:
    """Return Miller indices (n, 3) and intensities (n,) of a file."""
    try:
        hkl, columns = _read_mtz(path) if path.suffix.lower() == ".mtz" else _read_mmcif(path)
    except (OSError, RuntimeError, ValueError, IndexError) as err:
        raise SettingsError(f"reference {path}: not an MTZ or mmCIF file ({err})") from err
    for label in INTENSITIES:
        if label in columns:
            return hkl, columns[label]
    for label in AMPLITUDES + AMPLITUDES_MMCIF:
        if label in columns:
            return hkl, columns[label] ** 2
    raise SettingsError(
        f"reference {path}: no column of intensities or amplitudes among "
        f"{', '.join(columns)}; name one IMEAN or F"
    )


def _read_mtz(path: Path) -> tuple[NDArray[np.int32], dict[str, Array]]:
    """Return Miller indices and all columns of an MTZ file."""
    mtz = gemmi.read_mtz_file(str(path))
    columns = {column.label: np.asarray(column.array, dtype=float) for column in mtz.columns}
    return np.asarray(mtz.make_miller_array()), columns


def _read_mmcif(path: Path) -> tuple[NDArray[np.int32], dict[str, Array]]:
    """Return Miller indices and the usable columns of the first reflections in an mmCIF file."""
    block = gemmi.as_refln_blocks(gemmi.cif.read(str(path)))[0]
    usable = set(INTENSITIES + AMPLITUDES_MMCIF) & set(block.column_labels())
    columns = {label: np.asarray(block.make_float_array(label)) for label in sorted(usable)}
    return np.asarray(block.make_miller_array()), columns
