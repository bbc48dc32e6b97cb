"""geometry: a detector refined from the crystals of a dataset, and its manifest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xfel_apps import __version__
from xfel_apps.containers.manifest import read_whole, write_whole
from xfel_apps.errors import ContainerError
from xfel_apps.geometry import Detector

VERSION = 1


@dataclass(frozen=True)
class GeometryManifest:
    """Content of `geometry.json`, the file target; written last.

    Attributes
    ----------
    digest : of the settings and the inputs' digests
    settings : the refgeom section as it was used
    inputs : run -> digest of its crystals
    cell, space_group, distance_refined : what the crystals were restrained to, and whether the
        distance followed it
    n_crystals, n_spots, n_outliers, n_cycles, converged : what took part, and how it ended
    rms_px_before, rms_px_after : distance of predicted from found spots, root mean square [pixel]:
        `both`, `radial`, `transverse`; the crystals at their best in either geometry
    distance_mm_before, distance_mm_after : of the detector's middle along the beam [mm]
    nodes : of the detector, each group and panel that moved by itself: `name`, `parent`,
        `shift_mm` (3) and `rotation_mrad` (3) in the lab frame within its parent, their standard
        errors `shift_sigma_mm` and `rotation_sigma_mrad`
    panels : of each panel: `name`, `n_spots`, `shift_px` of its middle (fast, slow, normal),
        `rotation_mrad` about (fast, slow, normal), `rms_px_before`, `rms_px_after`,
        `mean_px_before`, `mean_px_after` (fast, slow; predicted minus found), and
        `kept_with`: the node that it moved with, for want of spots ("" if by itself)
    drift_mm : run -> shift of the whole detector in it, x, y, z [mm]
    detector : JSON of the refined detector, where the runs' drifts are zero
    detectors : run -> JSON of its detector, drift and all
    files : what lies beside the manifest: `geom`, `nxmx`, `plot`, and `geom:RUN` of each run
    """

    digest: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    cell: tuple[float, ...]
    space_group: str
    distance_refined: bool
    n_crystals: int
    n_spots: int
    n_outliers: int
    n_cycles: int
    converged: bool
    rms_px_before: Mapping[str, float]
    rms_px_after: Mapping[str, float]
    distance_mm_before: float
    distance_mm_after: float
    nodes: Sequence[Mapping[str, Any]]
    panels: Sequence[Mapping[str, Any]]
    drift_mm: Mapping[str, Sequence[float]]
    detector: str
    detectors: Mapping[str, str]
    files: Mapping[str, str]
    product: str = "geometry"
    stage: str = "refgeom"
    version: int = VERSION
    code_version: str = __version__

    def write(self, path: Path) -> None:
        """Write the manifest whole or not at all."""
        write_whole(path, self)

    @classmethod
    def read(cls, path: Path) -> "GeometryManifest":
        """Return the manifest at `path`."""
        manifest = read_whole(
            cls, path, "no such geometry; run `xfelflow refgeom`", "a refined geometry", ("cell",)
        )
        if manifest.version != VERSION:
            raise ContainerError(
                f"{path}: geometry version {manifest.version}, this code reads {VERSION}; "
                "run `xfelflow refgeom` again"
            )
        return manifest

    def detector_of(self, run: str) -> Detector:
        """Return the detector of a run: its own if it was refined with the others."""
        return Detector.from_json(self.detectors.get(run, self.detector))
