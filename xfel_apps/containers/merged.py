"""merged: one set of intensities from all crystals of a dataset, an MTZ file and its manifest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xfel_apps import __version__
from xfel_apps.containers.manifest import read_whole, write_whole
from xfel_apps.errors import ContainerError

VERSION = 1


@dataclass(frozen=True)
class MergedManifest:
    """Content of `merged.json`, the file target; written last.

    Attributes
    ----------
    digest : of the settings and the inputs' digests
    settings : the merge section as it was used
    inputs : run -> digest of its reflections
    cell, space_group, d_max_ang, d_min_ang : of the merged data
    n_crystals : crystals of all runs
    crystals : what became of them -> how many; adds up to n_crystals
    modes : way of indexing (operator on h,k,l) -> crystals put into it
    modes_chosen : how they were chosen, in words; empty where there is one way only
    n_observations, n_rejected : merged, and left out as outliers
    error_model : counting, partiality, relative: see `xfel_apps.compute.scaling.ErrorModel`
    modulation : amplitudes at low resolution by axis, `fast` and `slow`, of how much is recorded
        depends on the place in the pixel: see `xfel_apps.merge.modulation`
    statistics : `overall`, `shells` and the Wilson plot: see `xfel_apps.intensities.statistics`
    files : what lies beside the manifest: `mtz`, `plot`, `state`, `unmerged`
    growth : empty where all crystals were merged together. Where some were added to others: `onto`
        (digest of what they were added to), `crystals_before`, `crystals_anew` (crystals when all
        were merged together last) and `drift` (how far off the added ones are: 1 is as their
        errors let expect; None: not known)
    key : digest of the raw files and all stages' settings, which a workflow names versions by
    """

    digest: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    cell: tuple[float, ...]
    space_group: str
    d_max_ang: float
    d_min_ang: float
    n_crystals: int
    crystals: Mapping[str, int]
    modes: Mapping[str, int]
    n_observations: int
    n_rejected: int
    error_model: Mapping[str, float]
    statistics: Mapping[str, Any]
    files: Mapping[str, str]
    key: str = ""
    modes_chosen: str = ""
    growth: Mapping[str, Any] = field(default_factory=dict)
    modulation: Mapping[str, float] = field(default_factory=dict)
    product: str = "merged"
    stage: str = "merge"
    version: int = VERSION
    code_version: str = __version__

    def __post_init__(self) -> None:
        if sum(self.crystals.values()) != self.n_crystals:
            raise ContainerError(
                f"merged: crystals {dict(self.crystals)} do not add up to {self.n_crystals}; "
                "this is a bug, please report it"
            )

    def write(self, path: Path) -> None:
        """Write the manifest whole or not at all."""
        write_whole(path, self)

    @classmethod
    def read(cls, path: Path) -> "MergedManifest":
        """Return the manifest at `path`."""
        return read_whole(
            cls, path, "no such manifest; run merge", "a manifest of merged data", ("cell",)
        )
