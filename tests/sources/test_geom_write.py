"""A geometry file with panels moved says the same otherwise, and reads back as it was meant."""

from dataclasses import replace

import numpy as np
import pytest

from xfel_apps.errors import GeometryError
from xfel_apps.geometry import Detector
from xfel_apps.sources.geom import parse_geom, read_geom
from xfel_apps.sources.geom_detector import GeomLayout
from xfel_apps.sources.geom_write import moved_geom

TEXT = """; CSPAD-like
photon_energy = 9500
clen = 0.1
coffset = 0.002
res = 9097.52
adu_per_eV = 0.001
mask = /mask
rigid_group_q0 = q0a0,q0a1
rigid_group_q1 = q1a0
rigid_group_collection_quadrants = q0,q1
q0a0/min_fs = 0
q0a0/max_fs = 99
q0a0/min_ss = 0
q0a0/max_ss = 49
q0a0/corner_x = 10.5
q0a0/corner_y = -7.25
q0a0/fs = +0.999x +0.01y   ; measured
q0a0/ss = -0.01x +0.999y
q0a1/min_fs = 100
q0a1/max_fs = 199
q0a1/min_ss = 0
q0a1/max_ss = 49
q0a1/corner_x = 113.5
q0a1/corner_y = -7
q0a1/fs = x
q0a1/ss = y
q1a0/min_fs = 0
q1a0/max_fs = 99
q1a0/min_ss = 50
q1a0/max_ss = 99
q1a0/corner_x = -120
q1a0/corner_y = 31
q1a0/coffset = 0.0025
q1a0/fs = -y
q1a0/ss = x
bad_beam/min_x = -5
"""


def detector(text_path) -> Detector:
    layout = GeomLayout(read_geom(text_path))
    return layout.detector(0.1, 9500.0, (1e-4, 0.0), np.dtype("i2"))


def test_moved_panels_read_back(tmp_path):
    path = tmp_path / "old.geom"
    path.write_text(TEXT)
    before = detector(path)
    rng = np.random.default_rng(0)
    panels = [
        replace(
            panel,
            origin_mm=tuple(np.add(panel.origin_mm, rng.normal(size=3))),
            fast=tuple(np.array([0.6, 0.0, 0.8]) if i else np.array(panel.fast)),
            slow=tuple(np.array([0.0, 1.0, 0.0]) if i else np.array(panel.slow)),
        )
        for i, panel in enumerate(before.panels)
    ]
    after = replace(before, panels=tuple(panels))
    new = tmp_path / "new.geom"
    new.write_text(moved_geom(path, before, after, "refined"))
    again = detector(new)
    np.testing.assert_allclose(again.origins_mm, after.origins_mm, atol=1e-7)
    np.testing.assert_allclose(again.axes, after.axes, atol=1e-10)
    assert [p.gain for p in again.panels] == [p.gain for p in before.panels]
    old, kept = parse_geom(TEXT, "old"), parse_geom(new.read_text(), "new")
    assert kept.top == old.top
    assert kept.bad[0].fields == old.bad[0].fields
    assert kept.groups == old.groups


def test_groups_hold_panels_and_groups():
    geom = parse_geom(TEXT + "group_all = q0,q1\n", "here")
    assert geom.members("q0") == {"q0a0", "q0a1"}
    assert geom.members("all") == {"q0a0", "q0a1", "q1a0"}
    assert "collection_quadrants" not in geom.groups


def test_another_detectors_file_is_refused(tmp_path):
    path = tmp_path / "old.geom"
    path.write_text(TEXT)
    before = detector(path)
    other = replace(before, panels=(replace(before.panels[0], name="p9"), *before.panels[1:]))
    with pytest.raises(GeometryError, match="panel p9"):
        moved_geom(path, other, other, "refined")
