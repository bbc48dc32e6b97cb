"""The geometry of a CSPAD from 300 lysozyme stills that DIALS indexed."""

from pathlib import Path

import pytest

from tests.real.cspad import write_run
from xfel_apps import mpi
from xfel_apps.refgeom.run import refine_geometry
from xfel_apps.refgeom.settings import RefgeomSettings


@pytest.mark.slow
def test_cspad_panels_fit_better_where_they_are_refined(tmp_path: Path, data_dir: Path) -> None:
    dials_px = write_run(tmp_path, data_dir / "cspad_lysozyme" / "benchmark_level2d")
    manifest = refine_geometry(
        mpi.serial(), [tmp_path / "crystals.json"], tmp_path / "geometry.json", RefgeomSettings()
    )
    before, after = manifest.rms_px_before, manifest.rms_px_after
    assert before["both"] < dials_px
    assert after["both"] < 0.85 * before["both"]
    assert after["transverse"] < 0.65 * before["transverse"]
    assert manifest.n_spots > 8000
    levels = {node["parent"] for node in manifest.nodes}
    assert {"", "detector", "ARRAY_D0Q0", "ARRAY_D0Q0S0"} <= levels
