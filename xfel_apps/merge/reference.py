"""Intensities of another data set or of a model, to scale to and compare with."""

from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import SettingsError
from xfel_apps.merge.asu import ABSENT, UniqueReflections

Array = NDArray[np.float64]
INTENSITIES = ("IMEAN", "I", "Imean", "IOBS", "Iobs", "I-obs", "J")
AMPLITUDES = ("FP", "F", "FOBS", "Fobs", "F-obs", "FMEAN", "FC", "FMODEL", "F-model")


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
        if path.suffix.lower() == ".mtz":
            mtz = gemmi.read_mtz_file(str(path))
        else:
            block = gemmi.as_refln_blocks(gemmi.cif.read(str(path)))[0]
            mtz = gemmi.CifToMtz().convert_block_to_mtz(block, [])
    except (OSError, RuntimeError, ValueError, IndexError) as err:
        raise SettingsError(f"merge.reference: {path}: not an MTZ or mmCIF file ({err})") from err
    labels = {column.label: column for column in mtz.columns}
    hkl = np.asarray(mtz.make_miller_array())
    for label in INTENSITIES:
        if label in labels:
            return hkl, np.asarray(labels[label].array, dtype=float)
    for label in AMPLITUDES:
        if label in labels:
            return hkl, np.asarray(labels[label].array, dtype=float) ** 2
    raise SettingsError(
        f"merge.reference: {path}: no column of intensities or amplitudes among "
        f"{', '.join(labels)}; name one IMEAN or F"
    )
