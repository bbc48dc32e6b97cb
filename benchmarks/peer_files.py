"""Read what DIALS and CrystFEL made of a run, in the lab frame and tables of this package."""

import json
from pathlib import Path

import gemmi
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xfel_apps.compare.intensities import by_index

Array = NDArray[np.float64]

FROM_CRYSTFEL = np.array([-1.0, 1.0, -1.0])
"""CrystFEL has the beam along +z and the panels' +x to the left of ours: x and z change sign."""


def lattice_table(shots: list[int], a_matrices: list[Array]) -> pd.DataFrame:
    """Return lattices as `xfel_apps.compare.truth.lattice_errors` takes them."""
    flat = np.array(a_matrices).reshape(-1, 9)
    return pd.DataFrame({"shot": shots, **{f"a_matrix_{i}": flat[:, i] for i in range(9)}})


def read_expt(paths: list[Path]) -> pd.DataFrame:
    """Return the crystals of DIALS `.expt` files; they share our lab frame."""
    shots, a_matrices = [], []
    for path in paths:
        models = json.loads(path.read_text())
        for experiment in models["experiment"]:
            crystal = models["crystal"][experiment["crystal"]]
            real = np.array([crystal[f"real_space_{axis}"] for axis in "abc"])
            a_matrices.append(np.linalg.inv(real))
            shots.append(models["imageset"][experiment["imageset"]]["single_file_indices"][0])
    return lattice_table(shots, a_matrices)


def read_stream(path: Path) -> pd.DataFrame:
    """Return the crystals of a CrystFEL stream whose events are numbered `//N`."""
    shots: list[int] = []
    a_matrices: list[Array] = []
    shot, columns = -1, []
    for line in path.read_text().splitlines():
        if line.startswith("Event: //"):
            shot = int(line.removeprefix("Event: //"))
        elif line[:8] in ("astar = ", "bstar = ", "cstar = "):
            columns.append(FROM_CRYSTFEL * np.array(line.split()[2:5], dtype=float) / 10.0)
            if line[0] == "c":
                shots.append(shot)
                a_matrices.append(np.column_stack(columns[-3:]))
    return lattice_table(shots, a_matrices)


def read_hkl(path: Path, space_group: gemmi.SpaceGroup) -> "pd.Series[float]":
    """Return the intensities of a CrystFEL reflection list (version 2.0) by Miller index."""
    lines = path.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.split()[:3] == ["h", "k", "l"])
    stop = next(i for i, line in enumerate(lines) if line.startswith("End of reflections"))
    rows = [line.split() for line in lines[start + 1 : stop]]
    hkl = np.array([row[:3] for row in rows], dtype=np.int64)
    return by_index(hkl, np.array([row[3] for row in rows], dtype=float), space_group)
