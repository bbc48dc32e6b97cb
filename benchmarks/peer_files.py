"""Read what DIALS and CrystFEL made of a run, in the lab frame and tables of this package."""

from pathlib import Path

import gemmi
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xfel_apps.compare.intensities import by_index
from xfel_apps.interchange import expt, stream
from xfel_apps.interchange.from_crystfel import frame_of
from xfel_apps.sources.convert import FROM_MCSTAS

Array = NDArray[np.float64]


def lattice_table(shots: list[int], a_matrices: list[Array]) -> pd.DataFrame:
    """Return lattices as `xfel_apps.compare.truth.lattice_errors` takes them."""
    flat = np.array(a_matrices).reshape(-1, 9)
    return pd.DataFrame({"shot": shots, **{f"a_matrix_{i}": flat[:, i] for i in range(9)}})


def read_expt(paths: list[Path]) -> pd.DataFrame:
    """Return the crystals of DIALS `.expt` files, by frame; they share our lab frame."""
    found = [item for path in paths for item in expt.read_expt(path) if item.crystal is not None]
    a_matrices = [item.crystal.a_matrix for item in found if item.crystal is not None]
    return lattice_table([item.frame for item in found], a_matrices)


def read_stream(path: Path) -> pd.DataFrame:
    """Return the crystals of a CrystFEL stream, by frame, in our lab frame."""
    shots: list[int] = []
    a_matrices: list[Array] = []
    for chunk in stream.read_chunks(path):
        for crystal in chunk.crystals:
            shots.append(frame_of(chunk.event, str(path)))
            a_matrices.append(FROM_MCSTAS @ crystal.a_matrix)
    return lattice_table(shots, a_matrices)


def read_hkl(path: Path, space_group: gemmi.SpaceGroup) -> "pd.Series[float]":
    """Return the intensities of a CrystFEL reflection list (version 2.0) by Miller index."""
    lines = path.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.split()[:3] == ["h", "k", "l"])
    stop = next(i for i, line in enumerate(lines) if line.startswith("End of reflections"))
    rows = [line.split() for line in lines[start + 1 : stop]]
    hkl = np.array([row[:3] for row in rows], dtype=np.int64)
    return by_index(hkl, np.array([row[3] for row in rows], dtype=float), space_group)
