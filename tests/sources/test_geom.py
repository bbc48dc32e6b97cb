"""CrystFEL geometry files: parsing, placing of panels, regions."""

from pathlib import Path

import numpy as np
import pytest

from xfel_apps.errors import GeometryError
from xfel_apps.sources.geom import parse_geom
from xfel_apps.sources.geom_detector import GeomLayout

TEXT = """
; two panels, the second tilted by 90 degrees and 2 mm further
photon_energy = 9.5 keV
clen = 0.08
res = 10000   ; 0.1 mm
adu_per_eV = 0.001
max_adu = 14000
rigid_group_q0 = a,b
a/min_fs = 0
a/max_fs = 7
a/min_ss = 0
a/max_ss = 3
a/corner_x = -4.0
a/corner_y = 10
a/fs = x
a/ss = -y
b/min_fs = 0
b/max_fs = 7
b/min_ss = 4
b/max_ss = 9
b/corner_x = 2
b/corner_y = -1
b/coffset = 0.002
b/fs = -0.5y +0.0z
b/ss = +1.0x
bad_a/min_fs = 2
bad_a/max_fs = 3
bad_a/min_ss = 0
bad_a/max_ss = 1
bad_a/panel = a
badbeam/min_x = 1.9
badbeam/max_x = 3.1
badbeam/min_y = -2
badbeam/max_y = 0
"""


def layout(text: str = TEXT) -> GeomLayout:
    return GeomLayout(parse_geom(text, "here.geom"))


def test_panels_lie_where_the_file_says_in_the_frame_of_dxtbx() -> None:
    detector = layout().detector(0.08, 9500.0, (0.0, 0.0), np.dtype("u2"))
    a, b = detector.panels
    assert a.origin_mm == pytest.approx((0.4, 1.0, -80.0))
    assert a.fast == (-1, 0, 0)
    assert a.slow == (0, -1, 0)
    assert a.shape == (4, 8)
    assert b.origin_mm == pytest.approx((-0.2, -0.1, -82.0))
    assert b.fast == (0, -1, 0)
    assert b.pixel_mm == pytest.approx((0.05, 0.1))
    assert b.slab_start == (4, 0)
    assert b.trusted == (0, 14000)
    assert b.gain == pytest.approx(9.5)
    assert detector.slab_shape == (10, 8)


def test_bad_regions_in_pixels_and_in_the_lab() -> None:
    good = layout().good
    assert not good[0:2, 2:4].any()
    assert good[0:2].sum() == 12
    # Panel b: x = 2 + ss, y = -1 - 0.5 fs; the region takes its first row, two pixels of fast.
    assert not good[4, 0:2].any()
    assert good[4, 2:].all()
    assert good[5:].all()


def test_modules_of_a_fourth_dimension_are_stacked() -> None:
    text = """
    data = /data
    dim0 = %
    dim2 = ss
    dim3 = fs
    res = 5000
    min_fs = 0
    max_fs = 3
    min_ss = 0
    max_ss = 1
    corner_x = 0
    corner_y = 0
    fs = x
    ss = y
    m0/dim1 = 0
    m1/dim1 = 5
    """
    made = layout(text)
    assert [block.dims for block in made.blocks] == [("%", "0", "ss", "fs"), ("%", "5", "ss", "fs")]
    assert [made.place(panel)[0] for panel in made.panels] == [slice(0, 2), slice(2, 4)]


def test_ignored_panels_and_edges_are_masked() -> None:
    made = layout(TEXT.replace("a/fs = x", "a/no_index = 1\na/fs = x"))
    assert [panel.name for panel in made.panels] == ["b"]
    assert not made.good[:4].any()
    edged = layout(TEXT + "\nb/mask_edge_pixels = 1")
    assert edged.good[4:].sum() == 4 * 6


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("a/max_ss = 3", "", "panel a has no max_ss"),
        ("a/fs = x", "a/fs = right", "a/fs = right: expected like"),
        ("b/corner_x = 2", "b/corner_x = two", "b/corner_x = two: expected a number"),
        ("a/fs = x", "a/dim0 = fs\na/dim1 = ss\na/fs = x", "need one ss before one fs"),
    ],
)
def test_errors_name_the_panel_and_the_item(old: str, new: str, message: str) -> None:
    with pytest.raises(GeometryError, match=message) as caught:
        layout(TEXT.replace(old, new)).detector(0.08, 9500.0, (0.0, 0.0), np.dtype("f4"))
    assert "here.geom" in str(caught.value)


def test_a_file_without_panels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="no panels"):
        parse_geom("clen = 0.1", "empty.geom")
