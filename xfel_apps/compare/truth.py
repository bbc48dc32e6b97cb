"""What is known of a simulated run, and how the lattices found compare with it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import gemmi
import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xfel_apps.compare.intensities import by_index
from xfel_apps.compare.orientation import (
    cell_error_percent,
    lattice_rotations,
    orientation_error_deg,
)
from xfel_apps.errors import SourceError

Array = NDArray[np.float64]

SAME_LATTICE_DEG = 1.0
"""A lattice farther than this from every crystal in the beam is false [degrees]."""


@dataclass(frozen=True)
class Truth:
    """The truth of a run.

    Attributes
    ----------
    space_group, cell : of the structure
    kind : (n,) "hit", "weak" or "blank" by shot
    a_matrices : (n, n_crystals, 3, 3) A of the crystals in the beam [1/Angstrom]
    intensities : true |F|^2 by Miller index
    """

    space_group: gemmi.SpaceGroup
    cell: gemmi.UnitCell
    kind: NDArray[np.str_]
    a_matrices: Array
    intensities: "pd.Series[float]"

    @classmethod
    def read(cls, path: Path) -> "Truth":
        """Return the truth in the file that `simulate` writes."""
        try:
            with h5py.File(path) as file:
                group = gemmi.SpaceGroup(str(file.attrs["space_group"]))
                a_matrices = file["A_all"][()] if "A_all" in file else file["A"][()][:, None]
                return cls(
                    group,
                    gemmi.UnitCell(*(float(value) for value in file.attrs["base_cell"])),
                    file["kind"][()].astype(str),
                    a_matrices,
                    by_index(file["F_hkl"][()], file["I_true"][()], group),
                )
        except (OSError, KeyError, ValueError) as err:
            raise SourceError(f"{path}: not a readable truth file ({err})") from err

    @cached_property
    def rotations(self) -> Array:
        """Rotations (n, 3, 3) of the lattice."""
        return lattice_rotations(np.array(self.cell.parameters), self.space_group.centring_type())

    def shots(self, kind: str) -> NDArray[np.int64]:
        """Return the numbers of the shots of one kind."""
        return np.flatnonzero(self.kind == kind)


def lattice_errors(lattices: pd.DataFrame, truth: Truth) -> pd.DataFrame:
    """Return `lattices` with the errors of each against the nearest crystal of its shot.

    Parameters
    ----------
    lattices : one row a lattice: `shot`, and A row by row in `a_matrix_0` to `a_matrix_8`
    truth : of the run

    Returns
    -------
    A frame with `shot`, `kind`, `crystal` (which one is nearest; -1 on blanks), `angle_deg`,
    `cell_a_percent`, `cell_b_percent`, `cell_c_percent` and `is_false`.
    """
    rows = []
    found = lattices[[f"a_matrix_{i}" for i in range(9)]].to_numpy(float).reshape(-1, 3, 3)
    for shot, a_matrix in zip(lattices["shot"].to_numpy(int), found, strict=True):
        rows.append(_errors(int(shot), a_matrix, truth))
    columns = ["shot", "kind", "crystal", "angle_deg"]
    columns += [f"cell_{axis}_percent" for axis in "abc"]
    result = pd.DataFrame(rows, columns=columns)
    return result.assign(is_false=~(result["angle_deg"] <= SAME_LATTICE_DEG))


def _errors(shot: int, a_matrix: Array, truth: Truth) -> tuple[object, ...]:
    kind = str(truth.kind[shot])
    if kind == "blank":
        return (shot, kind, -1, np.nan, np.nan, np.nan, np.nan)
    crystals, rotations = truth.a_matrices[shot], truth.rotations
    angles = [orientation_error_deg(a_matrix, true, rotations) for true in crystals]
    nearest = int(np.argmin(angles))
    cell = cell_error_percent(a_matrix, crystals[nearest], rotations)
    return (shot, kind, nearest, angles[nearest], *cell)


@dataclass(frozen=True)
class LatticeScore:
    """How well the lattices of a run were found.

    Attributes
    ----------
    hits, weak, blanks : shots of each kind
    hits_indexed, weak_indexed, blanks_indexed : of these, how many have a lattice
    false_lattices : lattices that are none of the crystals in the beam
    orientation_deg_median, orientation_deg_p90, orientation_deg_max : over the nearest lattice of
        each indexed hit
    cell_a_percent_median, cell_c_percent_median : the same
    """

    hits: int
    weak: int
    blanks: int
    hits_indexed: int
    weak_indexed: int
    blanks_indexed: int
    false_lattices: int
    orientation_deg_median: float
    orientation_deg_p90: float
    orientation_deg_max: float
    cell_a_percent_median: float
    cell_c_percent_median: float


def score_lattices(lattices: pd.DataFrame, truth: Truth) -> LatticeScore:
    """Return how well `lattices` (see `lattice_errors`) agree with the truth."""
    errors = lattice_errors(lattices, truth)
    best = errors[errors["kind"] == "hit"].sort_values("angle_deg").groupby("shot").first()
    angles = best["angle_deg"].to_numpy(float)
    n_shots = {kind: len(truth.shots(kind)) for kind in ("hit", "weak", "blank")}
    n_indexed = errors.groupby("kind")["shot"].nunique()
    return LatticeScore(
        hits=n_shots["hit"],
        weak=n_shots["weak"],
        blanks=n_shots["blank"],
        hits_indexed=int(n_indexed.get("hit", 0)),
        weak_indexed=int(n_indexed.get("weak", 0)),
        blanks_indexed=int(n_indexed.get("blank", 0)),
        false_lattices=int(errors["is_false"].sum()),
        orientation_deg_median=_percentile(angles, 50),
        orientation_deg_p90=_percentile(angles, 90),
        orientation_deg_max=_percentile(angles, 100),
        cell_a_percent_median=_percentile(best["cell_a_percent"].to_numpy(float), 50),
        cell_c_percent_median=_percentile(best["cell_c_percent"].to_numpy(float), 50),
    )


def _percentile(values: Array, q: float) -> float:
    return float(np.percentile(values, q)) if len(values) else float("nan")
