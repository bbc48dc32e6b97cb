"""Columns of DIALS' reflection tables from rows of our containers, many shots at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.interchange.flags import (
    INTEGRATED,
    REFLECTION_BITS,
    SPOT_BITS,
    DialsFlag,
    to_dials,
)
from xfel_apps.interchange.rays import angle_to_sphere_rad, millimetres, unit_rays
from xfel_apps.interchange.runs import Block, Run

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Columns = dict[str, NDArray[Any]]

SPOT_TYPES = {
    "background.mean": "double",
    "bbox": "int6",
    "d": "double",
    "flags": "std::size_t",
    "id": "int",
    "imageset_id": "int",
    "intensity.sum.value": "double",
    "intensity.sum.variance": "double",
    "n_signal": "int",
    "panel": "std::size_t",
    "peak": "double",
    "peak.fast": "int",
    "peak.slow": "int",
    "xyzobs.px.value": "vec3<double>",
    "xyzobs.px.variance": "vec3<double>",
}
"""Columns of spots; `peak` (height) and its pixel are columns that DIALS does not know."""

CALCULATED_TYPES = {
    "delpsical.rad": "double",
    "entering": "bool",
    "miller_index": "cctbx::miller::index<>",
    "s1": "vec3<double>",
    "xyzcal.mm": "vec3<double>",
    "xyzcal.px": "vec3<double>",
    "xyzobs.mm.value": "vec3<double>",
    "xyzobs.mm.variance": "vec3<double>",
}
INDEXED_TYPES = {**SPOT_TYPES, **CALCULATED_TYPES, "rlp": "vec3<double>"}
INTEGRATED_TYPES = {
    **CALCULATED_TYPES,
    "background.mean": "double",
    "bbox": "int6",
    "d": "double",
    "flags": "std::size_t",
    "id": "int",
    "imageset_id": "int",
    "intensity.prf.value": "double",
    "intensity.prf.variance": "double",
    "intensity.sum.value": "double",
    "intensity.sum.variance": "double",
    "lp": "double",
    "panel": "std::size_t",
    "partial_id": "std::size_t",
    "partiality": "double",
    "qe": "double",
    "xyzobs.px.value": "vec3<double>",
    "xyzobs.px.variance": "vec3<double>",
}
MID_FRAME = 0.5
"""Third coordinate of what is found on a still, in frames."""
CENTROID_VARIANCE_PX2 = 1.0 / 12.0
"""Of a position that is predicted, not found: of a pixel."""


def spot_columns(block: Block) -> Columns:
    """Return the columns of spots, but for the experiment."""
    spots = block.columns
    n = len(block)
    position = np.column_stack([spots["fast_px"], spots["slow_px"], np.full(n, MID_FRAME)])
    variance = np.column_stack(
        [spots["fast_var_px2"], spots["slow_var_px2"], np.full(n, CENTROID_VARIANCE_PX2)]
    )
    flags = to_dials(spots["flags"], SPOT_BITS) | np.uint64(int(DialsFlag.STRONG))
    return {
        "background.mean": spots["background"],
        "bbox": _box(spots["peak_fast"], spots["peak_slow"], np.sqrt(spots["n_pixels"])),
        "d": spots["d_ang"],
        "flags": flags,
        "intensity.sum.value": spots["intensity"],
        "intensity.sum.variance": spots["sigma"].astype(float) ** 2,
        "n_signal": spots["n_pixels"],
        "panel": spots["panel"],
        "peak": spots["peak"],
        "peak.fast": spots["peak_fast"],
        "peak.slow": spots["peak_slow"],
        "xyzobs.px.value": position,
        "xyzobs.px.variance": variance,
    }


def _box(fast: NDArray[Any], slow: NDArray[Any], width: NDArray[Any]) -> NDArray[np.int32]:
    """Return a box (n, 6) about a pixel that holds a square as wide as that."""
    half = np.ceil(np.maximum(width - 1.0, 0.0) / 2.0).astype(np.int32)
    low_f, low_s = fast.astype(np.int32) - half, slow.astype(np.int32) - half
    zero = np.zeros(len(fast), dtype=np.int32)
    return np.column_stack(
        [low_f, low_f + 2 * half + 1, low_s, low_s + 2 * half + 1, zero, zero + 1]
    )


@dataclass(frozen=True)
class Rays:
    """Incident wave vectors, lattice points and rays (n, 3) [1/Angstrom] of rows."""

    s0: Array
    q: Array
    s1: Array


def _rays(run: Run, crystals: Block, lattice: IntArray, hkl: IntArray) -> Rays:
    columns = crystals.columns
    q = np.einsum("nij,nj->ni", columns["a_matrix"][lattice], hkl)
    which = run.event_column("detector")[crystals.event]
    directions = np.array([fields["direction"] for fields in run.events.manifest.extra["beams"]])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    s0 = (directions[which] / columns["wavelength_ang"][:, None])[lattice]
    s1 = s0 + q
    s1 *= (np.linalg.norm(s0, axis=1) / np.linalg.norm(s1, axis=1))[:, None]
    return Rays(s0, q, s1)


def _calculated(rays: Rays, hkl: IntArray) -> Columns:
    return {
        "delpsical.rad": np.nan_to_num(angle_to_sphere_rad(rays.q, rays.s0)),
        "entering": np.zeros(len(hkl), dtype=bool),
        "miller_index": hkl,
    }


def _hkl(columns: Mapping[str, NDArray[Any]]) -> IntArray:
    return np.column_stack([columns[axis] for axis in "hkl"]).astype(np.int64)


def _places(run: Run, event: IntArray, panel: IntArray, fast: Array, slow: Array) -> Columns:
    """Return pixels and millimetres (n, 3) of places on panels."""
    which = run.event_column("detector")[event]
    millimetre = millimetres(run.detectors, which, panel, fast, slow)
    pixel = np.column_stack([fast, slow, np.zeros(len(fast))])
    return {"px": pixel, "mm": millimetre}


def indexed_columns(
    run: Run, spots: Block, indexed: Block, lattice: IntArray, first: int
) -> Columns:
    """Return the columns of spots on lattices.

    Parameters
    ----------
    run : that they are of
    spots, indexed : (n,) each spot, and which reflection it is
    lattice : (n,) row of its lattice in the run's crystals
    first : number of the experiment of the run's first lattice
    """
    crystals = run.crystals[CRYSTALS.name]
    columns, hkl = spot_columns(spots), _hkl(indexed.columns)
    rays = _rays(run, crystals, lattice, hkl)
    panel = spots.columns["panel"].astype(np.int64)
    fast, slow = (spots.columns[f"{axis}_px"].astype(float) for axis in ("fast", "slow"))
    off = [indexed.columns[f"delta_{axis}_px"].astype(float) for axis in ("fast", "slow")]
    observed = _places(run, spots.event, panel, fast, slow)
    predicted = _places(run, spots.event, panel, fast + off[0], slow + off[1])
    which = run.event_column("detector")[spots.event]
    length = np.linalg.norm(rays.s0, axis=1)[:, None]
    s1 = length * unit_rays(run.detectors, which, panel, fast, slow)
    used = DialsFlag.PREDICTED | DialsFlag.INDEXED | DialsFlag.USED_IN_REFINEMENT
    return {
        **columns,
        **_calculated(rays, hkl),
        "flags": columns["flags"] | np.uint64(int(used)),
        "id": first + lattice,
        "rlp": s1 - rays.s0,
        "s1": s1,
        "xyzcal.mm": predicted["mm"],
        "xyzcal.px": predicted["px"],
        "xyzobs.mm.value": observed["mm"],
        "xyzobs.mm.variance": _mm2(run, which, panel, columns["xyzobs.px.variance"]),
    }


def _mm2(run: Run, which: IntArray, panel: IntArray, variance_px2: Array) -> Array:
    """Return variances (n, 3) in mm^2 of those in pixel^2."""
    sizes = [np.array([panel.pixel_mm for panel in detector.panels]) for detector in run.detectors]
    result = np.zeros((len(panel), 3))
    for number in np.unique(which):
        rows = which == number
        result[rows, :2] = variance_px2[rows, :2] * sizes[number][panel[rows]] ** 2
    return result


def integrated_columns(run: Run, block: Block, lattice: IntArray, first: int) -> Columns:
    """Return the columns of integrated reflections; see `indexed_columns`."""
    rows, hkl = block.columns, _hkl(block.columns)
    rays = _rays(run, run.crystals[REFLECTIONS.name], lattice, hkl)
    panel = rows["panel"].astype(np.int64)
    fast, slow = (rows[f"{axis}_px"].astype(float) for axis in ("fast", "slow"))
    places = _places(run, block.event, panel, fast, slow)
    variance = np.full((len(block), 3), CENTROID_VARIANCE_PX2)
    which = run.event_column("detector")[block.event]
    n = len(block)
    flags = to_dials(rows["flags"], REFLECTION_BITS) | np.uint64(int(DialsFlag.PREDICTED))
    flags[rows["flags"] == 0] |= np.uint64(int(INTEGRATED))
    middle = np.array([0.0, 0.0, MID_FRAME])
    return {
        **_calculated(rays, hkl),
        "background.mean": rows["background"],
        "bbox": _box(np.floor(fast), np.floor(slow), np.full(n, 3.0)),
        "d": rows["d_ang"],
        "flags": flags,
        "id": first + lattice,
        "intensity.prf.value": rows["intensity"],
        "intensity.prf.variance": rows["sigma"].astype(float) ** 2,
        "intensity.sum.value": rows["intensity_sum"],
        "intensity.sum.variance": rows["sigma_sum"].astype(float) ** 2,
        "lp": 1.0 / np.maximum(rows["polarization"], 1e-6),
        "panel": panel,
        "partiality": rows["partiality"],
        "qe": np.ones(n),
        "s1": rays.s1,
        "xyzcal.mm": places["mm"],
        "xyzcal.px": places["px"],
        "xyzobs.mm.value": places["mm"],
        "xyzobs.mm.variance": _mm2(run, which, panel, variance),
        "xyzobs.px.value": places["px"] + middle,
        "xyzobs.px.variance": variance,
    }
