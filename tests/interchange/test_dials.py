"""The real DIALS, Debian's, reads what we write, and its own models agree with it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

from tests.interchange import a_run
from tests.slurm import packages
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.results import RunResults
from xfel_apps.interchange import export

PACKAGES = ("dials", "python3-dials")
PYTHON = Path("/usr/bin/python3")
SHOW = Path("/usr/bin/dials.show")
LIMIT_S = 300
READER = Path(__file__).with_name("dials_reads.py")


def run(*command: object, cwd: Path) -> str:
    """Return what a program of Debian's says; its Python sees nothing of ours."""
    own = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in own}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**environment, "PATH": f"/usr/bin:/bin:{environment.get('PATH', '')}"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dials() -> None:
    """Install DIALS where CI runs as root, which must succeed; elsewhere skip without it."""
    if os.environ.get("CI") == "true" and os.geteuid() == 0 and not SHOW.exists():
        packages.install(PACKAGES)
        assert SHOW.exists()
    if not SHOW.exists():
        pytest.skip(f"no DIALS: apt-get install --no-install-recommends {' '.join(PACKAGES)}")


@pytest.fixture(scope="module")
def written(dials: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of what was exported from a run whose frames are there."""
    folder = tmp_path_factory.mktemp("dials")
    ours = a_run.write_run(folder / "r1")
    a_run.write_raw(ours / "raw.h5")
    export([ours], "dials", folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def seen(written: Path) -> dict[str, Any]:
    """Return what DIALS' own classes make of the files."""
    return json.loads(run(PYTHON, READER, written, cwd=written))


def test_its_images_are_our_frames(seen: dict[str, Any]) -> None:
    assert (seen["imported"]["experiments"], seen["indexed"]["experiments"]) == (6, 5)
    for stage, event in (("imported", 6), ("indexed", 5), ("integrated", 5)):
        found, frame = seen[stage], a_run.frames()[event]
        assert found["frame"] == event
        assert found["gain"] == a_run.GAIN_ADU
        assert found["masked"] == [[fast, slow, fast + 1, slow + 1] for _, slow, fast in a_run.HOT]
        assert found["wavelength"] == a_run.beam(event).wavelength_ang
        for panel, pixels in zip(a_run.DETECTOR.panels, found["panels"], strict=True):
            np.testing.assert_array_equal(pixels, frame[panel.slab].ravel()[:400:7])


def test_its_models_predict_where_we_do(seen: dict[str, Any]) -> None:
    assert seen["integrated"]["rows"] > 300
    assert seen["integrated"]["off_px"] < 1e-3
    assert seen["integrated"]["angle_off_rad"] < 1e-12
    assert seen["indexed"]["angle_off_rad"] < 1e-12
    assert seen["integrated"]["space_group"] == "P 21 21 2"


def test_it_shows_every_table(written: Path) -> None:
    for name, table in (("imported", "strong"), ("integrated", "integrated")):
        said = run(SHOW, written / f"{name}.expt", written / f"{table}.refl", cwd=written)
        assert "Reflection list contains" in said
    assert "Domain size (Angstroms):  800.0" in said


def test_it_exports_what_is_usable_as_mtz(written: Path) -> None:
    """DIALS takes the reflections without a flag and makes an unmerged MTZ of them."""
    name = written / "integrated"
    said = run(
        "/usr/bin/dials.export",
        name.with_suffix(".expt"),
        name.with_suffix(".refl"),
        "mtz.partiality_threshold=0",
        cwd=written,
    )
    results = RunResults(written.parent / "r1")
    ours = results.reader(REFLECTIONS).frame("reflections")
    results.close()
    n_usable = int((ours["flags"] == 0).sum())
    assert f"Selected {n_usable} reflections integrated by profile and summation" in said
    mtz = gemmi.read_mtz_file(str(written / "integrated.mtz"))
    assert mtz.spacegroup.hm == "P 21 21 2"
    assert 0.9 * n_usable < mtz.nreflections <= n_usable
