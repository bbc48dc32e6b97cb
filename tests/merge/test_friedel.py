"""Friedel mates apart: anomalous differences come out, and none where there are none."""

import json
from pathlib import Path

import gemmi
import numpy as np
import pytest

from benchmarks.merge_data import write_run
from tests.merge.stills import Stills
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.merge.__main__ import main
from xfel_apps.mpi import serial

SETTINGS = {"d_min_ang": 5.0, "friedel_apart": True}


def merged(folder: Path, stills: Stills, **settings: object) -> tuple[MergedManifest, gemmi.Mtz]:
    path = write_run(folder / "reflections.json", stills.lattices())
    out = folder / "merged.json"
    argv = ["--reflections", str(path), "--merged", str(out)]
    assert main([*argv, "--settings", json.dumps({**SETTINGS, **settings})], serial()) == 0
    return MergedManifest.read(out), gemmi.read_mtz_file(str(folder / "merged.mtz"))


def differences(mtz: gemmi.Mtz, stills: Stills) -> np.ndarray:
    """Return merged, true differences and sigmas of the merged (3, n) of acentric reflections."""
    found = {column.label: np.asarray(column.array) for column in mtz.columns}
    delta = found["I(+)"] - found["I(-)"]
    sigma = np.hypot(found["SIGI(+)"], found["SIGI(-)"])
    true = {tuple(h): p - m for h, p, m in zip(*map(np.ndarray.tolist, stills.unique), strict=True)}
    expected = np.array([true[tuple(h)] for h in mtz.make_miller_array().tolist()])
    known = np.isfinite(delta) & (expected != 0)
    return np.stack([delta, expected, sigma])[:, known]


@pytest.mark.parametrize("post_refinement", [True, False])
def test_differences_are_found(tmp_path: Path, post_refinement: bool) -> None:
    stills = Stills(n_crystals=250, d_min_ang=5.0, sd_tilt_mrad=0.15, anomalous=0.15)
    manifest, mtz = merged(tmp_path, stills, post_refinement=post_refinement)
    delta, expected, sigma = differences(mtz, stills)
    cc_true = np.corrcoef(delta, expected)[0, 1]
    cc_anom = manifest.statistics["overall"]["cc_anom"]
    assert cc_true > 0.9
    # CC* lets expect the correlation with the truth from that of the halves
    assert np.sqrt(2 * cc_anom / (1 + cc_anom)) == pytest.approx(cc_true, abs=0.05)
    level = np.sum(delta * expected) / np.sum(expected**2)
    pull = (delta - level * expected) / sigma
    assert 0.8 < np.median(np.abs(pull)) * 1.4826 < 1.3


def test_no_differences_are_made_up(tmp_path: Path) -> None:
    stills = Stills(n_crystals=120, d_min_ang=5.0, sd_tilt_mrad=0.15)
    manifest, _ = merged(tmp_path, stills)
    cc_anom = manifest.statistics["overall"]["cc_anom"]
    assert abs(cc_anom) < 0.2
