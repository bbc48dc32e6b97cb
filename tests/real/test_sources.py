"""Real and foreign raw files: pixels, geometry, wavelength and masks as they should be."""

import bz2
import gzip
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from xfel_apps.geometry import Beam
from xfel_apps.geometry.stills import q_of_spots, resolution_ang
from xfel_apps.sources import FrameCache, expand, open_raw
from xfel_apps.sources.geom import parse_geom
from xfel_apps.sources.geom_detector import GeomLayout
from xfel_apps.units import wavelength_from_energy


def test_nanobragg_geometry_is_that_of_its_truth(data_dir: Path) -> None:
    folder = data_dir / "nanobragg_lysozyme"
    raw = open_raw(folder / "lyso130.h5")
    with h5py.File(folder / "truth.h5") as truth:
        wavelengths = truth["wl"][:]
        beam_x, beam_y = truth.attrs["beam_centre_mm_fast_slow"]
        distance = truth.attrs["distance_mm"]
    assert raw.n_frames == 130
    np.testing.assert_allclose([raw.beam(i).wavelength_ang for i in range(130)], wavelengths)
    (panel,) = raw.detector(7).panels
    np.testing.assert_allclose(panel.origin_mm, (-beam_x, beam_y, -distance), atol=1e-9)
    assert panel.fast == (1, 0, 0)
    assert panel.slow == (0, -1, 0)
    assert panel.pixel_mm == pytest.approx((0.1, 0.1))
    assert panel.trusted == (0, 60000)
    with h5py.File(folder / "lyso130.h5") as file:
        np.testing.assert_array_equal(raw.pixels(99), file["entry/data/data"][99])
    assert raw.mask(0).all()
    raw.close()


def cspad(data_dir: Path) -> Path:
    return data_dir / "thermolysin_cspad" / "idx-20130301060858401.cbf"


def test_cspad_header_gives_64_asics_at_130_mm(data_dir: Path) -> None:
    raw = open_raw(cspad(data_dir))
    detector = raw.detector(0)
    assert raw.beam(0).wavelength_ang == pytest.approx(1.272607)
    assert raw.beam(0).direction == (0, 0, -1)
    assert len(detector.panels) == 64
    assert {panel.shape for panel in detector.panels} == {(185, 194)}
    assert detector.slab_shape == (4 * 8 * 185, 388)
    np.testing.assert_allclose(detector.origins_mm[:, 2], -130.1066, atol=1e-3)
    assert raw.scalars(0)["timestamp_s"] == 1362118138.401
    assert raw.mask(0).all()


def test_cspad_panels_do_not_overlap_and_surround_the_beam(data_dir: Path) -> None:
    detector = open_raw(cspad(data_dir)).detector(0)
    centres = detector.origins_mm + detector.axes @ [97, 92.5]
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert distance.min() > 185 * 0.10992
    assert np.abs(centres[:, :2].mean(axis=0)).max() < 2.0


def ring_sharpness(pixels: np.ndarray, detector, mask: np.ndarray) -> float:
    """Return the share of the pixels' variance that the distance from the beam explains."""
    lab = detector.pixel_lab_mm()
    good = mask & (pixels > -100) & (pixels < 500)
    radius = np.hypot(lab[..., 0], lab[..., 1])[good].astype(int)
    values = pixels[good].astype(float)
    counts = np.maximum(np.bincount(radius), 1)
    mean = np.bincount(radius, values) / counts
    return float(np.var(mean[radius]) / np.var(values))


def test_cspad_rings_are_round_only_with_the_right_geometry(data_dir: Path) -> None:
    raw = open_raw(cspad(data_dir))
    detector, pixels, mask = raw.detector(0), raw.pixels(0), raw.mask(0)
    right = ring_sharpness(pixels, detector, mask)
    rolled = ring_sharpness(np.roll(pixels, 185, axis=0), detector, mask)
    mirrored = ring_sharpness(pixels[:, ::-1], detector, mask)
    assert right > 1.1 * max(rolled, mirrored)


def pilatus(data_dir: Path) -> Path:
    return data_dir / "thaumatin_pilatus" / "thau_3_2_0001.cbf.bz2"


def test_pilatus_header_mask_and_pixels(data_dir: Path) -> None:
    raw = open_raw(pilatus(data_dir))
    detector = raw.detector(0)
    (panel,) = detector.panels
    assert raw.beam(0).wavelength_ang == pytest.approx(0.96859)
    assert raw.beam(0).polarization_fraction == pytest.approx(0.99)
    assert panel.shape == (2527, 2463)
    assert panel.trusted == (0, 115897)
    assert (panel.thickness_mm, panel.mu_invmm) == pytest.approx((0.45, 3.607), abs=2e-3)
    index, fast, slow = detector.ray_pixels(raw.beam(0).s0[None])
    assert (index[0], fast[0], slow[0]) == pytest.approx((0, 1261.61, 1306.96))
    pixels, mask = raw.pixels(0), raw.mask(0)
    assert not mask[195:212].any()  # the gap between the first two rows of modules
    assert mask.mean() == pytest.approx(0.9154, abs=1e-4)
    assert pixels[mask].min() == 0
    assert raw.scalars(0)["timestamp_s"] == pytest.approx(1568208028.989)


def test_pilatus_reads_the_same_however_it_is_compressed(data_dir: Path, tmp_path: Path) -> None:
    plain, zipped = tmp_path / "a.cbf", tmp_path / "a.cbf.gz"
    with bz2.open(pilatus(data_dir)) as source, plain.open("wb") as target:
        shutil.copyfileobj(source, target)
    with gzip.open(zipped, "wb", compresslevel=1) as target:
        target.write(plain.read_bytes())
    expected = open_raw(plain).pixels(0)
    np.testing.assert_array_equal(open_raw(zipped).pixels(0), expected)
    assert open_raw(zipped).detector(0) == open_raw(plain).detector(0)


def test_a_folder_of_stills_is_a_run(data_dir: Path) -> None:
    files = expand([data_dir / "thermolysin_cspad"])
    assert [file.name[-7:] for file in files] == ["401.cbf", "601.cbf", "701.cbf"]
    cache = FrameCache(n_open=1)
    shapes = {cache.pixels(file, 0).shape for file in files}
    cache.close()
    assert shapes == {(5920, 388)}


def stream_geometry(text: str) -> GeomLayout:
    geom = text[text.index("Begin geometry") : text.index("----- End geometry")]
    return GeomLayout(parse_geom(geom.partition("\n")[2], "test.stream"))


def test_crystfel_geometry_gives_the_resolutions_that_crystfel_printed(data_dir: Path) -> None:
    text = (data_dir / "crystfel_stream" / "test.stream").read_text()
    layout = stream_geometry(text)
    names = [panel.name for panel in layout.panels]
    errors = []
    for chunk in text.split("Begin chunk")[1:]:
        energy, clen = (
            float(re.search(rf"{key} = (-?[\d.]+)", chunk)[1])
            for key in ("photon_energy_eV", "detector0-EncoderValue")
        )
        detector = layout.detector(clen * 1e-3, energy, (0.0, 0.0), np.dtype("f4"))
        table = re.search(r"Panel\n(.*?)\nEnd of peak list", chunk, re.DOTALL)[1]
        rows = [line.split() for line in table.splitlines()]
        panel = np.array([names.index(row[4]) for row in rows])
        fast, slow, inverse_d = np.array([row[:3] for row in rows], float).T
        start = detector.slab_starts[panel]
        beam = Beam(wavelength_from_energy(energy))
        q = q_of_spots(detector, beam, panel, fast - start[:, 0], slow - start[:, 1])
        errors += list(1.0 / resolution_ang(q) - inverse_d / 10.0)
    assert len(errors) == 2172
    # 1/d is printed to 0.01/nm: rounding alone has a deviation of 0.00029 1/Angstrom.
    assert abs(np.mean(errors)) < 2e-5
    assert np.std(errors) < 3.3e-4
    assert np.abs(errors).max() < 1e-3


def test_crystfel_geometry_and_nxmx_agree_on_one_file(data_dir: Path) -> None:
    folder = data_dir / "nanobragg_lysozyme"
    path = folder / "lyso130.h5"
    geom, nxmx = open_raw(path, folder / "peers" / "lyso.geom"), open_raw(path)
    assert geom.n_frames == nxmx.n_frames
    assert geom.beam(3).wavelength_ang == pytest.approx(nxmx.beam(3).wavelength_ang, rel=1e-9)
    np.testing.assert_array_equal(geom.pixels(3), nxmx.pixels(3))
    for field in ("origin_mm", "fast", "slow", "pixel_mm"):
        ours, theirs = (getattr(raw.detector(3).panels[0], field) for raw in (geom, nxmx))
        assert ours == pytest.approx(theirs, abs=1e-9)
