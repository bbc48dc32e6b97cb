"""factors: structure factors refined against the pixels of all shots, an MTZ and its manifest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xfel_apps import __version__
from xfel_apps.containers.manifest import read_whole, write_whole

VERSION = 1


@dataclass(frozen=True)
class FactorsManifest:
    """Content of `factors.json`, the file target; written last.

    Attributes
    ----------
    digest : of the settings and the inputs' digests
    settings : the factors section as it was used
    inputs : run -> digest of its refined shots, and `merged` -> that of the merged data
    cell, space_group, d_max_ang, d_min_ang : of the reflections
    n_lattices : of all runs
    rejected : lattice -> why it was not used
    iterations : of each: `iteration`, `misfit`, `change_sigma`, `cc_start`, `cc_reference`
    model_error : share by which a spot's photons are not known, on the Ewald sphere, and with how
        it grows with the distance from it, and with the square of that
    statistics : as those of merged data, see `xfel_apps.intensities.statistics`
    merged_statistics : `overall` and `shells` of the merged data that it started from
    compared : overall, then by shell: CC with the reference of the merged and of the refined
        intensities over the same reflections; empty without a reference
    files : what lies beside the manifest: `mtz`, `plot`
    """

    digest: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    cell: tuple[float, ...]
    space_group: str
    d_max_ang: float
    d_min_ang: float
    n_lattices: int
    rejected: Mapping[str, str]
    iterations: Sequence[Mapping[str, Any]]
    model_error: tuple[float, ...]
    statistics: Mapping[str, Any]
    merged_statistics: Mapping[str, Any]
    compared: Sequence[Mapping[str, Any]]
    files: Mapping[str, str]
    product: str = "factors"
    stage: str = "factors"
    version: int = VERSION
    code_version: str = __version__

    def write(self, path: Path) -> None:
        """Write the manifest whole or not at all."""
        write_whole(path, self)

    @classmethod
    def read(cls, path: Path) -> "FactorsManifest":
        """Return the manifest at `path`."""
        return read_whole(
            cls,
            path,
            "no such manifest; run refine-structure-factors",
            "a manifest of structure factors",
            ("cell", "model_error"),
        )
