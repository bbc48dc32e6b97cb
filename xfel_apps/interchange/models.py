"""Beam, detector and crystal as dxtbx writes them in `.expt` files, and ours.

The lab frame is the same. dxtbx has the beam's direction from the sample to the source, sizes as
(fast, slow), and the crystal by its real-space vectors and a Hall symbol.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import GeometryError
from xfel_apps.geometry import Beam, Detector, Panel
from xfel_apps.geometry.mosaic import Mosaic
from xfel_apps.sources.convert import unit_vector, vector

Array = NDArray[np.float64]
Model = Mapping[str, Any]

NO_MOSAIC = Mosaic(0.0, 1000.0)
"""Of a crystal whose file says nothing."""
IDENTITY_FRAME = {
    "name": "",
    "type": "",
    "fast_axis": [1.0, 0.0, 0.0],
    "slow_axis": [0.0, 1.0, 0.0],
    "origin": [0.0, 0.0, 0.0],
}
NO_PIXELS = {
    "raw_image_offset": [0, 0],
    "image_size": [0, 0],
    "pixel_size": [0.0, 0.0],
    "trusted_range": [0.0, 0.0],
    "thickness": 0.0,
    "material": "",
    "mu": 0.0,
    "identifier": "",
    "mask": [],
    "gain": 1.0,
    "pedestal": 0.0,
    "px_mm_strategy": {"type": "SimplePxMmStrategy"},
}


@dataclass(frozen=True)
class CrystalModel:
    """A lattice in the beam.

    Attributes
    ----------
    a_matrix : (3, 3) columns a*, b*, c* [1/Angstrom], lab frame
    space_group : Hermann-Mauguin symbol
    mosaic : how far from the Ewald sphere it reflects
    """

    a_matrix: Array
    space_group: str
    mosaic: Mosaic


def beam_model(beam: Beam) -> dict[str, Any]:
    """Return the beam as dxtbx writes it."""
    return {
        "direction": [-x + 0.0 for x in unit_vector(beam.direction, "beam")],
        "wavelength": beam.wavelength_ang,
        "divergence": 0.0,
        "sigma_divergence": 0.0,
        "polarization_normal": list(beam.polarization_normal),
        "polarization_fraction": beam.polarization_fraction,
        "flux": 0.0,
        "transmission": 1.0,
    }


def read_beam(model: Model) -> Beam:
    """Return the beam of a dxtbx model."""
    return Beam(
        float(model["wavelength"]),
        vector(-np.asarray(model["direction"], dtype=float)),
        float(model.get("polarization_fraction", 0.999)),
        vector(model.get("polarization_normal", (0.0, 1.0, 0.0))),
    )


def detector_model(detector: Detector, hot_pixels: Sequence[Sequence[int]] = ()) -> dict[str, Any]:
    """Return the detector as dxtbx writes it: flat, each panel in the lab frame.

    `raw_image_offset` is where a panel begins in the slab; `mask` has rectangles (fast, slow, end
    of fast, end of slow) that do not count.

    Parameters
    ----------
    detector : panels
    hot_pixels : (panel, slow, fast)
    """
    children = [{"panel": number} for number in range(len(detector.panels))]
    panels = [_panel_model(panel) for panel in detector.panels]
    for panel, slow, fast in hot_pixels:
        panels[panel]["mask"].append([fast, slow, fast + 1, slow + 1])
    return {
        "panels": panels,
        "hierarchy": {**IDENTITY_FRAME, **NO_PIXELS, "children": children},
    }


def _panel_model(panel: Panel) -> dict[str, Any]:
    thick = panel.mu_invmm > 0 and panel.thickness_mm > 0
    kind = "ParallaxCorrectedPxMmStrategy" if thick else "SimplePxMmStrategy"
    return {
        "name": panel.name,
        "type": "SENSOR_PAD",
        "fast_axis": list(panel.fast),
        "slow_axis": list(panel.slow),
        "origin": list(panel.origin_mm),
        "raw_image_offset": list(panel.slab_start[::-1]),
        "image_size": list(panel.shape[::-1]),
        "pixel_size": list(panel.pixel_mm),
        "trusted_range": list(panel.trusted),
        "thickness": panel.thickness_mm,
        "material": "",
        "mu": panel.mu_invmm,
        "identifier": "",
        "mask": [],
        "gain": panel.gain,
        "pedestal": 0.0,
        "px_mm_strategy": {"type": kind},
    }


def read_detector(model: Model) -> Detector:
    """Return the detector of a dxtbx model, its groups put together.

    Panels that say where they lie in the image keep their places, else they are put one below the
    other.
    """
    frames = dict(_frames(model["hierarchy"], np.eye(4), model["panels"]))
    panels = [_panel(item, frames[i]) for i, item in enumerate(model["panels"])]
    if _overlap(panels):
        panels = list(_stacked(panels))
    ends = np.array([np.add(panel.slab_start, panel.shape) for panel in panels])
    n_slow, n_fast = (int(n) for n in ends.max(axis=0))
    return Detector(tuple(panels), (n_slow, n_fast))


def _frames(
    node: Model, outer: Array, panels: Any, *, is_root: bool = True
) -> Iterator[tuple[int, Array]]:
    """Yield (panel, its frame in the lab) of a group."""
    if "panel" in node:
        yield int(node["panel"]), outer @ _frame(panels[node["panel"]])
        return
    inner = outer @ _frame(node)
    for child in node["children"]:
        yield from _frames(child, inner, panels, is_root=False)


def _frame(item: Model) -> Array:
    """Return the (4, 4) matrix that takes a frame to the one it lies in."""
    fast, slow = np.array(item["fast_axis"]), np.array(item["slow_axis"])
    result = np.eye(4)
    result[:3] = np.column_stack([fast, slow, np.cross(fast, slow), item["origin"]])
    return result


def _panel(item: Model, frame: Array) -> Panel:
    n_fast, n_slow = (int(n) for n in item["image_size"])
    strategy = item.get("px_mm_strategy", {})
    start_fast, start_slow = item.get("raw_image_offset", (0, 0))
    thick = strategy.get("type") == "ParallaxCorrectedPxMmStrategy"
    return Panel(
        name=item["name"],
        origin_mm=vector(frame[:3, 3]),
        fast=vector(frame[:3, 0]),
        slow=vector(frame[:3, 1]),
        pixel_mm=(float(item["pixel_size"][0]), float(item["pixel_size"][1])),
        shape=(n_slow, n_fast),
        slab_start=(int(start_slow), int(start_fast)),
        trusted=(float(item["trusted_range"][0]), float(item["trusted_range"][1])),
        thickness_mm=float(strategy.get("t0", item.get("thickness", 0.0))) if thick else 0.0,
        mu_invmm=float(strategy.get("mu", item.get("mu", 0.0))) if thick else 0.0,
        gain=float(item.get("gain", 1.0)),
    )


def _overlap(panels: list[Panel]) -> bool:
    """Return whether two panels share a pixel of the slab."""
    starts = np.array([panel.slab_start for panel in panels])
    ends = starts + [panel.shape for panel in panels]
    low = np.maximum(starts[:, None], starts[None])
    high = np.minimum(ends[:, None], ends[None])
    return bool(np.all(low < high, axis=2).sum() > len(panels))


def _stacked(panels: list[Panel]) -> Iterator[Panel]:
    start = 0
    for panel in panels:
        yield replace(panel, slab_start=(start, 0))
        start += panel.shape[0]


def crystal_model(crystal: CrystalModel) -> dict[str, Any]:
    """Return the crystal as dxtbx writes a `MosaicCrystalSauter2014`."""
    real = np.linalg.inv(crystal.a_matrix)
    group = gemmi.find_spacegroup_by_name(crystal.space_group)
    if group is None:
        raise GeometryError(f"{crystal.space_group!r} is not a space group")
    return {
        "__id__": "crystal",
        **{f"real_space_{axis}": row.tolist() for axis, row in zip("abc", real, strict=True)},
        "space_group_hall_symbol": f" {group.hall}",
        "ML_half_mosaicity_deg": 0.5 * crystal.mosaic.mosaicity_deg,
        "ML_domain_size_ang": crystal.mosaic.block_size_ang,
    }


def read_crystal(model: Model) -> CrystalModel:
    """Return the lattice of a dxtbx crystal."""
    real = np.array([model[f"real_space_{axis}"] for axis in "abc"], dtype=float)
    group = gemmi.find_spacegroup_by_ops(gemmi.symops_from_hall(model["space_group_hall_symbol"]))
    if group is None:
        raise GeometryError(f"unknown space group {model['space_group_hall_symbol']!r}")
    mosaic = NO_MOSAIC
    if "ML_domain_size_ang" in model:
        half_deg = float(model["ML_half_mosaicity_deg"])
        mosaic = Mosaic(2.0 * half_deg, float(model["ML_domain_size_ang"]))
    return CrystalModel(np.linalg.inv(real), group.hm, mosaic)
