"""Write what came out: geometry files and the plot, then the manifest."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from xfel_apps import __version__
from xfel_apps.config import digest
from xfel_apps.containers.geometry import VERSION, GeometryManifest
from xfel_apps.containers.manifest import write_text
from xfel_apps.errors import ContainerError
from xfel_apps.geometry import Detector
from xfel_apps.refgeom.dataset import Dataset, Run
from xfel_apps.refgeom.model import Poses
from xfel_apps.refgeom.refine import Refined
from xfel_apps.refgeom.settings import RefgeomSettings
from xfel_apps.sources.convert import vector
from xfel_apps.sources.geom_write import moved_geom, new_geom
from xfel_apps.sources.nxmx_write import write_geometry

Array = NDArray[np.float64]


def moved_detector(detector: Detector, poses: Poses, run: int, shift_mm: Array) -> Detector:
    """Return the detector with the panels as they lie in a run, all moved by `shift_mm` (3,)."""
    panels = []
    for number, panel in enumerate(detector.panels):
        fast, slow = poses.axes_mm[run, number].T
        panels.append(
            replace(
                panel,
                origin_mm=vector(poses.origins_mm[run, number] + shift_mm),
                fast=vector(fast / np.linalg.norm(fast)),
                slow=vector(slow / np.linalg.norm(slow)),
            )
        )
    return replace(detector, panels=tuple(panels))


def describe(dataset: Dataset, refined: Refined, settings: RefgeomSettings) -> GeometryManifest:
    """Return the manifest, but for the files."""
    runs = dataset.runs
    drifts = _drifts(refined, len(runs))
    detectors = [
        moved_detector(run.detector, refined.after, i, np.zeros(3)) for i, run in enumerate(runs)
    ]
    whole = moved_detector(runs[0].detector, refined.after, 0, -drifts[0])
    inputs = {run.name: run.crystals[0].digest for run in runs}
    parts = [f"{name}={value}" for name, value in inputs.items()]
    along = runs[0].beam.s0 * runs[0].beam.wavelength_ang
    middles = [refined.before.middles_mm[0], refined.after.middles_mm[0] - drifts[0]]
    return GeometryManifest(
        digest=digest("geometry", str(VERSION), settings.canonical(), *parts),
        settings=settings.model_dump(mode="json"),
        inputs=inputs,
        cell=tuple(map(float, dataset.target.cell)),
        space_group=dataset.target.space_group,
        distance_refined=refined.hierarchy.with_distance,
        n_crystals=refined.n_crystals,
        n_spots=int(refined.sums_after.n_spots.sum()),
        n_outliers=refined.sums_after.n_outliers,
        n_cycles=refined.n_cycles,
        converged=refined.converged,
        rms_px_before=_rms(refined.sums_before.overall_px),
        rms_px_after=_rms(refined.sums_after.overall_px),
        distance_mm_before=float(np.median(middles[0] @ along)),
        distance_mm_after=float(np.median(middles[1] @ along)),
        nodes=_nodes(refined),
        panels=_panels(runs[0].detector, refined, drifts[0]),
        drift_mm={run.name: drift.tolist() for run, drift in zip(runs, drifts, strict=True)},
        detector=whole.to_json(),
        detectors={
            run.name: detector.to_json() for run, detector in zip(runs, detectors, strict=True)
        },
        files={},
    )


def _rms(overall: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip(("both", "radial", "transverse"), overall, strict=True))


def _drifts(refined: Refined, n_runs: int) -> Array:
    """Return the shift (n_runs, 3) of the whole detector in each run [mm]."""
    if not refined.hierarchy.n_runs:
        return np.zeros((n_runs, 3))
    return np.asarray(refined.motion[6 * len(refined.hierarchy.free) :].reshape(-1, 3))


def _nodes(refined: Refined) -> list[dict[str, Any]]:
    """Return what each node that moves by itself did."""
    nodes = refined.hierarchy.nodes
    result = []
    for row, number in enumerate(refined.hierarchy.free):
        part = slice(6 * row, 6 * row + 6)
        motion, sigma = refined.motion[part], refined.sigma[part]
        parent = nodes[number].parent
        result.append(
            {
                "name": nodes[number].name,
                "parent": nodes[parent].name if parent >= 0 else "",
                "shift_mm": motion[:3].tolist(),
                "rotation_mrad": (1e3 * motion[3:]).tolist(),
                "shift_sigma_mm": sigma[:3].tolist(),
                "rotation_sigma_mrad": (1e3 * sigma[3:]).tolist(),
            }
        )
    return result


def _panels(detector: Detector, refined: Refined, drift_mm: Array) -> list[dict[str, Any]]:
    """Return how each panel moved and what its residuals are."""
    before, after = refined.before, refined.after
    shift_mm = after.middles_mm[0] - drift_mm - before.middles_mm[0]
    own, new = _frames(before), _frames(after)
    turns = Rotation.from_matrix(new @ np.swapaxes(own, 1, 2)).as_rotvec()
    pixel_mm = np.array([[*p.pixel_mm, p.pixel_mm[0]] for p in detector.panels])
    kept = _kept_with(refined, len(detector.panels))
    one, two = refined.sums_before, refined.sums_after
    return [
        {
            "name": panel.name,
            "n_spots": int(two.n_spots[i]),
            "shift_px": (shift_mm[i] @ own[i] / pixel_mm[i]).tolist(),
            "rotation_mrad": (1e3 * turns[i] @ own[i]).tolist(),
            "rms_px_before": float(one.rms_px[i]),
            "rms_px_after": float(two.rms_px[i]),
            "mean_px_before": one.mean_px[i].tolist(),
            "mean_px_after": two.mean_px[i].tolist(),
            "kept_with": kept[i],
        }
        for i, panel in enumerate(detector.panels)
    ]


def _frames(poses: Poses) -> Array:
    """Return (n_panels, 3, 3) unit columns fast, slow and normal of the first run's panels."""
    fast, slow = np.moveaxis(poses.axes_mm[0], 2, 0)
    fast = fast / np.linalg.norm(fast, axis=1, keepdims=True)
    normal = np.cross(fast, slow)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return np.stack([fast, np.cross(normal, fast), normal], axis=2)


def _kept_with(refined: Refined, n_panels: int) -> list[str]:
    """Return the name of the node that each panel moved with; "" where it moved by itself."""
    result = [""] * n_panels
    nodes = refined.hierarchy.nodes
    for number in refined.kept:
        node = nodes[number]
        if node.is_panel:
            parent = node.parent
            while parent in refined.kept:
                parent = nodes[parent].parent
            result[node.panels[0]] = nodes[parent].name
    return result


def write_all(
    path: Path, manifest: GeometryManifest, dataset: Dataset, refined: Refined
) -> GeometryManifest:
    """Write all files beside the manifest at `path`, and the manifest last; return it whole."""
    from xfel_apps.plots.geometry import picture  # loads matplotlib, which only one rank needs
    from xfel_apps.plots.style import save_svg

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
    except OSError as err:
        raise ContainerError(f"{path}: cannot write here ({err})") from err
    runs, files = dataset.runs, {"geom": "geometry.geom"}
    comment = f"refined by xfelflow {__version__} refgeom, digest {manifest.digest}"
    whole = Detector.from_json(manifest.detector)
    write_text(path.with_name(files["geom"]), _geom(runs[0], whole, comment))
    if refined.hierarchy.n_runs:
        files.update(_write_each_run(path, manifest, runs, comment))
    if len({(panel.thickness_mm, panel.gain, panel.trusted) for panel in whole.panels}) == 1:
        files["nxmx"] = "geometry.nxs"
        write_geometry(path.with_name(files["nxmx"]), whole, runs[0].beam)
    files["plot"] = "geometry.svg"
    save_svg(picture(runs[0].detector, runs[0].beam, manifest), path.with_name(files["plot"]))
    manifest = replace(manifest, files=files)
    manifest.write(path)
    return manifest


def _write_each_run(
    path: Path, manifest: GeometryManifest, runs: Sequence[Run], comment: str
) -> dict[str, str]:
    """Write the geometry of each run and return the files' names."""
    files = {}
    for run in runs:
        name = files[f"geom:{run.name}"] = f"geometry-{run.name}.geom"
        write_text(path.with_name(name), _geom(run, manifest.detector_of(run.name), comment))
    return files


def _geom(run: Run, detector: Detector, comment: str) -> str:
    """Return a CrystFEL geometry: the file that the run was read with, panels moved, or a new one.

    What has no such file gets one that says where its panels lie in the slab.
    """
    original = run.events.geometry_file
    if original is not None:
        return moved_geom(original, run.detector, detector, comment)
    return new_geom(detector, run.beam.wavelength_ang, comment)
