"""Real frames, assembled: the ring that geometry says is where the image has it."""

import numpy as np

from xfel_apps.geometry.assemble import assemble
from xfel_apps.sources import open_raw


def test_cspad_panels_are_laid_out_without_overlap(data_dir):
    """64 ASICs, turned and apart: every picture pixel is of one panel, every panel is whole."""
    path = sorted((data_dir / "thermolysin_cspad").glob("*.cbf"))[0]
    raw = open_raw(path, None)
    detector, beam = raw.detector(0), raw.beam(0)
    assembly = assemble(detector, beam)
    panels = detector.panel_map().ravel()[assembly.source[assembly.source >= 0]]
    seen = np.bincount(panels, minlength=len(detector.panels))
    pixels = np.prod(detector.sizes, axis=1)
    assert len(seen) == 64
    np.testing.assert_allclose(seen, pixels, rtol=0.02)
    left, right, bottom, top = assembly.extent_mm
    assert left < 0 < right
    assert bottom < 0 < top


def test_picture_of_one_flat_panel_is_the_frame(data_dir):
    """The Pilatus stands square to the beam: rows upside down, no pixel further off than parallax.

    Its 0.45 mm of silicon move spots at the corners by a good pixel (1.4 at 33 degrees).
    """
    path = sorted((data_dir / "thaumatin_pilatus").glob("*.bz2"))[0]
    raw = open_raw(path, None)
    detector = raw.detector(0)
    source = assemble(detector, raw.beam(0)).source[::-1]
    rows, columns = np.nonzero(source >= 0)
    slow, fast = np.divmod(source[rows, columns], detector.slab_shape[1])
    assert np.ptp(slow - rows) <= 3
    assert np.ptp(fast - columns) <= 3
