"""What is refined: the runs, the reflections, and the merged intensities to start from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.sums import Sums
from xfel_apps.compute.wilson import wilson_prior
from xfel_apps.config import digest
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.errors import ContainerError, SettingsError
from xfel_apps.factors.lattices import LatticePixels, Run, read_lattices
from xfel_apps.factors.refine import Model
from xfel_apps.factors.settings import FactorsSettings
from xfel_apps.factors.share import share_by_cost
from xfel_apps.intensities.asu import ABSENT, UniqueReflections, unique_reflections
from xfel_apps.intensities.reference import read_reference

Array = NDArray[np.float64]

LEAST_SHARE = 0.02
"""Intensities start from at least this share of the mean at their resolution."""

MOST_D_ANG = 1000.0


@dataclass(frozen=True)
class Dataset:
    """A dataset.

    Attributes
    ----------
    runs : with their shots
    merged : manifest of the merged data
    unique : the reflections that are refined
    start : (n,) merged intensities of them, NaN where there is none
    level : (n_slots,) mean intensity at the resolution of each
    reference : (n,) intensities to compare with; None without one
    settings : how to refine
    """

    runs: list[Run]
    merged: MergedManifest
    unique: UniqueReflections
    start: Array
    level: Array
    reference: Array | None
    settings: FactorsSettings

    @classmethod
    def read(
        cls,
        events: Sequence[Path],
        refined: Sequence[Path],
        merged_path: Path,
        settings: FactorsSettings,
    ) -> "Dataset":
        """Return the dataset of runs whose manifests are given in the same order."""
        if len(events) != len(refined):
            raise SettingsError(
                f"{len(events)} manifests of events and {len(refined)} of refined shots; "
                "give one of each for every run"
            )
        runs = [Run.read(*pair) for pair in zip(events, refined, strict=True)]
        for name, times in Counter(run.manifest.run for run in runs).items():
            if times > 1:
                raise SettingsError(f"run {name} is given {times} times; name each run once")
        merged = MergedManifest.read(merged_path)
        unique = unique_reflections(
            gemmi.UnitCell(*merged.cell),
            gemmi.SpaceGroup(merged.space_group),
            (settings.d_min_ang or merged.d_min_ang, MOST_D_ANG),
            friedel_apart=settings.friedel_apart,
        )
        start, sigma = _merged(merged_path.parent / merged.files["mtz"], unique)
        known = np.isfinite(start) & (sigma > 0.0)
        weight = np.zeros(len(unique))
        weight[known] = sigma[known] ** -2.0
        sums = Sums(np.where(known, start, 0.0) * weight, weight)
        s2 = 0.25 / unique.d_ang**2
        level = wilson_prior(sums, weight, s2, unique.epsilon, unique.centric).mean
        path = settings.reference
        reference = None if path is None else read_reference(path, unique)
        each = unique.slots_each
        return cls(runs, merged, unique, start, np.repeat(level, each), reference, settings)

    @property
    def first_model(self) -> Model:
        """Return the model to start from: merged intensities, the mean where there is none."""
        start = np.repeat(self.start, self.unique.slots_each) / self.level
        relative = np.where(np.isfinite(start), np.maximum(start, LEAST_SHARE), 1.0)
        return Model(relative, np.zeros(len(relative)), self.level)

    @cached_property
    def s2(self) -> Array:
        """1/(4 d^2) of the slots [1/Angstrom^2]."""
        return np.repeat(0.25 / self.unique.d_ang**2, self.unique.slots_each)

    @property
    def n_lattices(self) -> int:
        """Lattices of all runs."""
        return sum(len(run.names) for run in self.runs)

    @property
    def wavelength_ang(self) -> float:
        """Mean wavelength of the lattices [Angstrom]."""
        return float(np.concatenate([run.wavelength_ang for run in self.runs]).mean())

    @property
    def inputs(self) -> dict[str, str]:
        """Digest of every input."""
        found = {run.manifest.run: run.manifest.digest for run in self.runs}
        return {**dict(sorted(found.items())), "merged": self.merged.digest}

    @property
    def digest(self) -> str:
        """Digest of all that determines the result."""
        pairs = (f"{name}={value}" for name, value in self.inputs.items())
        return digest(self.settings.canonical(), *pairs)

    def lattices_of(self, rank: int, size: int) -> list[LatticePixels]:
        """Return the lattices of a rank: no other rank reads their pixels."""
        if not self.n_lattices:
            raise ContainerError("no lattice was refined in any run; run refine-shots first")
        costs = np.concatenate([run.cost() for run in self.runs])
        mine = share_by_cost(costs.tolist(), size)[rank]
        result, first = [], 0
        for run in self.runs:
            rows = mine[(mine >= first) & (mine < first + len(run.names))] - first
            result += read_lattices(run, rows.tolist(), first, self.unique)
            first += len(run.names)
        return result

    def unique_intensities(self, model: Model) -> Array:
        """Return intensities (n,) of both Friedel mates together, NaN where they say nothing."""
        each = self.unique.slots_each
        weight = model.weight.reshape(-1, each)
        total = weight.sum(axis=1)
        relative = (model.relative.reshape(-1, each) * weight).sum(axis=1)
        known = total * self.settings.max_relative_sigma**2 >= 1.0
        share = np.divide(relative, total, out=np.full(len(total), np.nan), where=known)
        return np.asarray(share * self.level[::each])

    def close(self) -> None:
        """Close all containers."""
        for run in self.runs:
            run.reader.close()


def _merged(path: Path, unique: UniqueReflections) -> tuple[Array, Array]:
    """Return merged intensities and sigmas (n,) of the unique reflections, NaN where none."""
    try:
        mtz = gemmi.read_mtz_file(str(path))
        columns = [np.asarray(mtz.column_with_label(x).array, float) for x in ("IMEAN", "SIGIMEAN")]
    except (OSError, RuntimeError, AttributeError) as err:
        raise ContainerError(f"{path}: no MTZ file with IMEAN and SIGIMEAN ({err})") from err
    slot = unique.slots(np.asarray(mtz.make_miller_array()))
    known = slot != ABSENT
    found = np.full((2, len(unique)), np.nan)
    found[:, slot[known] // unique.slots_each] = np.array(columns)[:, known]
    return found[0], found[1]
