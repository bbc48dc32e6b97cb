"""Adding crystals to merged data: the work is that of the new crystals, not of all.

A merge leaves the sums of every slot and what is known of its crystals (`merged.h5`). New crystals
are scaled against the means that these sums make, as against a reference, and their own sums are
added. The crystals merged before stay as they were scaled then, so that all are merged anew when
there are twice as many, or when what is added drifts from what there was.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.scaling import ErrorModel
from xfel_apps.compute.sums import Sums
from xfel_apps.containers.merge_state import MergeState
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.errors import ContainerError, SettingsError
from xfel_apps.intensities.scatter import Scatter
from xfel_apps.merge.crystals import Dataset, read_dataset
from xfel_apps.merge.settings import MergeSettings
from xfel_apps.merge.totals import Totals

Array = NDArray[np.float64]
MAX_GROWTH = 2.0
"""All is merged anew once there are so many times the crystals that were when it was last."""
MAX_DRIFT = 2.0
"""All is merged anew once what was added is so much further off than its errors let expect."""
MIN_COMMON = 50
"""Drift is judged by so many reflections at least."""
NORMAL_MEDIAN = 0.4549
"""Median of the square of a normal deviate."""


@dataclass(frozen=True)
class Older:
    """Merged data that crystals are added to.

    Attributes
    ----------
    path, manifest, state : the manifest, what it says, and what was left beside it
    """

    path: Path
    manifest: MergedManifest
    state: MergeState

    @classmethod
    def read(cls, path: Path, settings: MergeSettings) -> "Older":
        """Return the merged data at the manifest `path`, if they were made with these settings."""
        if settings.write_unmerged:
            raise SettingsError(
                "merge.write_unmerged: the observations merged before are not kept; "
                "merge all runs again to have them"
            )
        manifest = MergedManifest.read(path)
        wanted = settings.model_dump(mode="json")
        other = [name for name in wanted if manifest.settings.get(name) != wanted[name]]
        if other:
            raise SettingsError(
                f"{path}: made with other settings (merge.{', merge.'.join(other)}); "
                "use those, or merge all runs again"
            )
        name = manifest.files.get("state")
        if name is None:
            raise ContainerError(f"{path}: left nothing to add to; merge all runs again")
        return cls(path, manifest, MergeState.read(path.with_name(name)))

    @property
    def totals(self) -> Totals:
        """Return the sums of all slots."""
        slots = self.state.slots
        halves = (
            Sums(slots.weighted_first, slots.weight_first),
            Sums(slots.weighted_second, slots.weight_second),
        )
        information = np.stack([slots.information_first, slots.information_second])
        return Totals(halves, slots.count, information, slots.quiet)

    @property
    def scatter(self) -> Scatter:
        """Return how the observations scatter."""
        return Scatter(self.state.scatter.square, self.state.scatter.count)

    @property
    def error_model(self) -> ErrorModel:
        """Return how variances were made."""
        return ErrorModel(*self.state.error_model)

    @property
    def modulation(self) -> Array:
        """Return the coefficients of the modulation (8,)."""
        return np.array(self.state.modulation)

    def intensities(self) -> Array:
        """Return the means (n_slots,), NaN where nothing was observed."""
        sums = self.totals.sums
        return np.where(sums.weight > 0, sums.mean, np.nan)

    def new_crystals(self, paths: Sequence[Path], settings: MergeSettings) -> Dataset:
        """Return the crystals of runs that have not been merged yet."""
        state = self.state
        target = gemmi.UnitCell(*state.cell), gemmi.SpaceGroup(state.space_group)
        dataset = read_dataset(paths, settings, target)
        names = identities(dataset)
        for number, run in enumerate(state.runs):
            before = state.crystals.identity[state.crystals.run == number]
            if run in dataset.runs and not np.isin(before, names).all():
                raise ContainerError(
                    f"{self.path}: has crystals of run {run} that the run now lacks; "
                    "merge all runs again"
                )
        is_new = ~np.isin(names, state.crystals.identity)
        if not is_new.any():
            raise ContainerError(f"{self.path}: has all crystals of these runs already")
        return replace(dataset, crystals=dataset.crystals[is_new].reset_index(drop=True))

    def growth(self, added: Totals) -> dict[str, Any]:
        """Return `growth` of the manifest of what came of it."""
        return {
            "onto": self.manifest.digest,
            "crystals_before": self.manifest.n_crystals,
            "crystals_anew": crystals_anew(self.manifest),
            "drift": self.drift(added),
        }

    def drift(self, added: Totals) -> float | None:
        """Return how far off the means of what is added are, over what their errors let expect.

        The median of the squared deviations, 1 if they are as the errors say; None if too few
        reflections are common.
        """
        old, new = self.totals.sums, added.sums
        both = (old.weight > 0) & (new.weight > 0)
        if both.sum() < MIN_COMMON:
            return None
        variance = 1.0 / old.weight[both] + 1.0 / new.weight[both]
        square = (old.mean[both] - new.mean[both]) ** 2 / variance
        return float(np.median(square) / NORMAL_MEDIAN)


def is_due_anew(manifest: MergedManifest, n_crystals: int) -> bool:
    """Return whether all crystals should be merged anew, rather than added to merged data.

    Parameters
    ----------
    manifest : of the merged data
    n_crystals : how many there are now
    """
    has_grown = n_crystals > MAX_GROWTH * crystals_anew(manifest)
    drift = manifest.growth.get("drift") or 0.0
    return "state" not in manifest.files or has_grown or drift > MAX_DRIFT


def crystals_anew(manifest: MergedManifest) -> int:
    """Return the number of crystals when all were merged together last."""
    return int(manifest.growth.get("crystals_anew", manifest.n_crystals))


def identities(dataset: Dataset) -> NDArray[np.uint64]:
    """Return a number for each crystal that tells it from all others."""
    crystals = dataset.crystals
    runs = [dataset.runs[number] for number in crystals["source"]]
    names = zip(runs, crystals["shot_id"], crystals["lattice"], strict=True)
    hashed = [
        hashlib.blake2b(f"{run}/{shot}#{lattice}".encode(), digest_size=8).digest()
        for run, shot, lattice in names
    ]
    return np.frombuffer(b"".join(hashed), dtype=np.uint64)
