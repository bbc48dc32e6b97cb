"""The geometry of a CSPAD from 300 lysozyme stills that DIALS indexed."""

from pathlib import Path

import numpy as np
import pytest

from xfel_apps import mpi
from xfel_apps.interchange import load
from xfel_apps.interchange.refl import read_refl
from xfel_apps.refgeom.run import refine_geometry
from xfel_apps.refgeom.settings import RefgeomSettings


@pytest.mark.slow
def test_cspad_panels_fit_better_where_they_are_refined(tmp_path: Path, data_dir: Path) -> None:
    stem = data_dir / "cspad_lysozyme" / "benchmark_level2d"
    load([stem.with_suffix(".json"), stem.with_suffix(".refl")], tmp_path / "r1")
    columns = read_refl(stem.with_suffix(".refl")).columns
    off_px = (columns["xyzcal.px"] - columns["xyzobs.px.value"])[:, :2]
    dials_px = float(np.sqrt(np.mean(np.sum(off_px**2, axis=1))))
    crystals = tmp_path / "r1" / "crystals.json"
    manifest = refine_geometry(
        mpi.serial(), [crystals], tmp_path / "geometry.json", RefgeomSettings()
    )
    before, after = manifest.rms_px_before, manifest.rms_px_after
    assert before["both"] < dials_px
    assert after["both"] < 0.85 * before["both"]
    assert after["transverse"] < 0.65 * before["transverse"]
    assert manifest.n_spots > 8000
    levels = {node["parent"] for node in manifest.nodes}
    assert {"", "detector", "ARRAY_D0Q0", "ARRAY_D0Q0S0"} <= levels
