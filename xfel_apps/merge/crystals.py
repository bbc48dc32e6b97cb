"""The crystals of a dataset: read from all runs, judged before their reflections are read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import gemmi
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xfel_apps.config import digest
from xfel_apps.containers.manifest import Manifest, open_product
from xfel_apps.containers.reader import ProductReader
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.errors import ContainerError, SettingsError
from xfel_apps.intensities.halves import half_of
from xfel_apps.merge.settings import MergeSettings

CELL = ["cell_0", "cell_1", "cell_2", "cell_3", "cell_4", "cell_5"]
A_MATRIX = [f"a_matrix_{i}" for i in range(9)]
KEPT = [
    "event",
    "lattice",
    *CELL,
    "space_group",
    "n_reflections",
    "d_min_ang",
    "wavelength_ang",
    "shot_id",
    *A_MATRIX,
    "mosaicity_deg",
    "block_size_ang",
]


class Verdict(StrEnum):
    """Whether a crystal was merged, or the reason why not; stored by position."""

    USED = "used"
    SPACE_GROUP = "another space group"
    CELL = "cell too far from the merged cell"
    RESOLUTION = "does not reach the resolution asked for"
    FEW = "too few usable reflections"
    CORRELATION = "does not correlate with the others"
    UNLIKE = "the others explain it worse than chance"
    DELTA = "lowers CC1/2 of the merged data"

    @property
    def code(self) -> int:
        """Number used in arrays."""
        return list(Verdict).index(self)


@dataclass(frozen=True)
class Dataset:
    """The crystals of all runs of a dataset, in order of run, event and lattice.

    Attributes
    ----------
    crystals : one row a crystal: `source` (index into `paths`), event, lattice, cell_0 ... cell_5,
        space_group, n_reflections, d_min_ang, wavelength_ang, shot_id, a_matrix_0 ... a_matrix_8,
        mosaicity_deg, block_size_ang, half (0 or 1), verdict (code)
    paths, runs : manifests of reflections and the runs' names, in order of run
    cell, space_group : of the merged data
    """

    crystals: pd.DataFrame
    paths: tuple[Path, ...]
    runs: tuple[str, ...]
    cell: gemmi.UnitCell
    space_group: gemmi.SpaceGroup

    def __len__(self) -> int:
        return len(self.crystals)

    @property
    def half(self) -> NDArray[np.int8]:
        """Half of the data each crystal belongs to."""
        return self.crystals["half"].to_numpy(dtype=np.int8)

    @property
    def wavelength_ang(self) -> float:
        """Mean wavelength of the crystals [Angstrom]."""
        return float(self.crystals["wavelength_ang"].mean())

    @property
    def verdict(self) -> NDArray[np.int8]:
        """Code of what was decided about each crystal before its reflections were read."""
        return self.crystals["verdict"].to_numpy(dtype=np.int8)


def open_all(paths: Sequence[Path]) -> list[tuple[Path, Manifest, ProductReader]]:
    """Return the manifests and readers of all runs, ordered by the runs' names."""
    opened = [(path, *open_product(path, REFLECTIONS)) for path in paths]
    runs = Counter(manifest.run for _, manifest, _ in opened)
    for run, times in runs.items():
        if times > 1:
            raise ContainerError(f"run {run} is given {times} times; name each run once")
    return sorted(opened, key=lambda item: item[1].run)


def read_dataset(
    paths: Sequence[Path],
    settings: MergeSettings,
    target: tuple[gemmi.UnitCell, gemmi.SpaceGroup] | None = None,
) -> Dataset:
    """Return the crystals of the runs and what is decided about each from its cell alone.

    Cell and space group of the merged data are those of `target`, where they are known already.
    """
    frames = []
    ordered = open_all(paths)
    for number, (_, _, reader) in enumerate(ordered):
        frame = reader.frame("crystals")[KEPT]
        frames.append(frame.sort_values(["event", "lattice"], kind="stable").assign(source=number))
        reader.close()
    crystals = pd.concat(frames, ignore_index=True)
    if crystals.empty:
        names = ", ".join(str(path) for path in paths)
        raise ContainerError(f"{names}: no integrated crystal in any run; nothing to merge")
    crystals["half"] = half_of(crystals["shot_id"], crystals["lattice"])
    space_group = target[1] if target else _space_group(crystals, settings)
    cell = target[0] if target else _cell(crystals, space_group, settings)
    crystals["verdict"] = _judge(crystals, cell, space_group, settings)
    runs = tuple(manifest.run for _, manifest, _ in ordered)
    return Dataset(crystals, tuple(path for path, _, _ in ordered), runs, cell, space_group)


def _space_group(crystals: pd.DataFrame, settings: MergeSettings) -> gemmi.SpaceGroup:
    """Return the space group asked for, else that of most crystals."""
    name = settings.space_group or str(crystals["space_group"].mode().iloc[0])
    group = gemmi.find_spacegroup_by_name(name)
    if group is None:
        raise SettingsError(f"merge.space_group: {name!r} is not a space group; try 'P 43 21 2'")
    return group


def _cell(
    crystals: pd.DataFrame, group: gemmi.SpaceGroup, settings: MergeSettings
) -> gemmi.UnitCell:
    """Return the cell asked for, else the crystals' median, obeying the space group."""
    if settings.cell is not None:
        cell = gemmi.UnitCell(*settings.cell)
        if not cell.is_compatible_with_spacegroup(group):
            raise SettingsError(f"merge.cell: {settings.cell} does not fit space group {group.hm}")
        return cell
    same = crystals["space_group"].map(_number_of) == group.number
    values = crystals.loc[same if same.any() else slice(None), CELL].median().to_numpy()
    return symmetrized(gemmi.UnitCell(*values), group)


def _number_of(name: str) -> int:
    group = gemmi.find_spacegroup_by_name(name)
    return -1 if group is None else int(group.number)


def symmetrized(cell: gemmi.UnitCell, group: gemmi.SpaceGroup) -> gemmi.UnitCell:
    """Return the cell averaged over the operators of the point group, so that it obeys them.

    >>> group = gemmi.SpaceGroup("P 43 21 2")
    >>> symmetrized(gemmi.UnitCell(79.0, 79.4, 38, 90, 90.2, 90), group).parameters[:2]
    (79.2..., 79.2...)
    """
    metric = np.array(cell.metric_tensor().as_mat33().tolist())
    rotations = [np.array(op.rot) / 24 for op in group.operations().sym_ops]
    mean = np.mean([rot.T @ metric @ rot for rot in rotations], axis=0)
    lengths = np.sqrt(np.diag(mean))
    cosines = [mean[i, j] / (lengths[i] * lengths[j]) for i, j in ((1, 2), (0, 2), (0, 1))]
    angles = np.degrees(np.arccos(np.round(cosines, 12)))
    return gemmi.UnitCell(*lengths, *angles)


def _judge(
    crystals: pd.DataFrame,
    cell: gemmi.UnitCell,
    group: gemmi.SpaceGroup,
    settings: MergeSettings,
) -> NDArray[np.int8]:
    """Return the verdict code of each crystal from its cell, space group and resolution."""
    cells = crystals[CELL].to_numpy()
    target = np.array(cell.parameters)
    length_percent = 100 * np.abs(cells[:, :3] / target[:3] - 1).max(axis=1)
    angle_deg = np.abs(cells[:, 3:] - target[3:]).max(axis=1)
    verdict = np.full(len(crystals), Verdict.USED.code, dtype=np.int8)
    if settings.crystal_d_min_ang is not None:
        too_coarse = crystals["d_min_ang"].to_numpy() > settings.crystal_d_min_ang
        verdict[too_coarse] = Verdict.RESOLUTION.code
    far = (length_percent > settings.max_length_deviation_percent) | (
        angle_deg > settings.max_angle_deviation_deg
    )
    verdict[far] = Verdict.CELL.code
    if settings.space_group is None:
        other = crystals["space_group"].map(_number_of).to_numpy() != group.number
        verdict[other] = Verdict.SPACE_GROUP.code
    return verdict


def resolution_limits_ang(dataset: Dataset, settings: MergeSettings) -> tuple[float, float]:
    """Return the resolution range (d_min, d_max) to merge in."""
    d_min_ang = settings.d_min_ang
    if d_min_ang is None:
        used = dataset.crystals["d_min_ang"][dataset.verdict == Verdict.USED.code]
        d_min_ang = float(used.quantile(0.1)) if len(used) else 2.0
    if d_min_ang >= settings.d_max_ang:
        raise SettingsError(f"merge.d_min_ang {d_min_ang} is not below d_max_ang")
    return d_min_ang, settings.d_max_ang


def dataset_digest(inputs: dict[str, str], settings: MergeSettings) -> str:
    """Return the digest of everything that determines the merged data."""
    return digest(settings.canonical(), *(f"{name}={value}" for name, value in inputs.items()))
