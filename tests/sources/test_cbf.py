"""miniCBF and imgCIF: small files with known geometry and pixels."""

import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest
from fabio.cbfimage import CbfImage

from xfel_apps.errors import GeometryError, SourceError
from xfel_apps.sources import FrameCache, imgcif, open_raw

MINI_HEADER = """# Detector: EIGER 2XE 9M, S/N E-18-0001
# 2021-03-04T05:06:07.5
# Pixel_size 75e-6 m x 75e-6 m
# Silicon sensor, thickness 0.000450 m
# Count_cutoff 49414 counts
# Wavelength 1.0000 A
# Detector_distance 0.15000 m
# Beam_xy (4.50, 2.50) pixels
# Detector_2theta 0.0000 deg."""


def write_mini(path: Path, pixels: np.ndarray, header: str = MINI_HEADER) -> Path:
    items = {"_array_data.header_convention": "SLS_1.0", "_array_data.header_contents": header}
    CbfImage(data=pixels.astype("int32"), header=items).write(str(path))
    return path


@pytest.fixture
def pixels() -> np.ndarray:
    """Return a frame of 5 x 7 with a gap, a dead pixel and a bright one."""
    values = np.arange(35).reshape(5, 7)
    values[2], values[0, 0], values[4, 6] = -1, -2, 123456
    return values


def test_minicbf(tmp_path: Path, pixels: np.ndarray) -> None:
    raw = open_raw(write_mini(tmp_path / "a_0001.cbf", pixels))
    np.testing.assert_array_equal(raw.pixels(0), pixels)
    (panel,) = raw.detector(0).panels
    assert panel.origin_mm == pytest.approx((-4.5 * 0.075, 2.5 * 0.075, -150.0))
    assert (panel.fast, panel.slow) == ((1, 0, 0), (0, -1, 0))
    assert panel.trusted == (0, 49414)
    assert panel.thickness_mm == pytest.approx(0.45)
    assert raw.beam(0).wavelength_ang == 1.0
    assert raw.scalars(0)["timestamp_s"] == 1614834367.5
    assert raw.mask(0).sum() == 35 - 7 - 1


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_compressed_minicbf(tmp_path: Path, pixels: np.ndarray, suffix: str, pack) -> None:
    plain = write_mini(tmp_path / "a.cbf", pixels)
    packed = tmp_path / f"a.cbf{suffix}"
    packed.write_bytes(pack(plain.read_bytes()))
    np.testing.assert_array_equal(open_raw(packed).pixels(0), pixels)
    packed.write_bytes(packed.read_bytes()[:-200])
    with pytest.raises(SourceError, match=rf"a\.cbf\{suffix}: cannot read it, it may be cut"):
        open_raw(packed).pixels(0)


def test_damaged_minicbf(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write_mini(tmp_path / "a.cbf", pixels)
    whole = path.read_bytes()
    start = whole.index(b"\x0c\x1a\x04\xd5") + 4
    path.write_bytes(whole[: start + 10])
    with pytest.raises(SourceError, match=r"image of 10 bytes, expected .*: the file is cut short"):
        open_raw(path).pixels(0)
    path.write_bytes(whole[:start] + b"\x07" + whole[start + 1 :])
    with pytest.raises(SourceError, match="checksum is wrong"):
        open_raw(path).pixels(0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("# Wavelength 1.0000 A", "", "no Wavelength in the header"),
        ("# Beam_xy (4.50, 2.50) pixels", "", "no Beam_xy in the header"),
        ("0.15000 m", "0.15000 furlong", "unit 'furlong' is not one of"),
        ("2theta 0.0000", "2theta 10.0", r"Detector_2theta 10\.0 is not handled"),
    ],
)
def test_headers_that_lack_something(
    tmp_path: Path, pixels: np.ndarray, old: str, new: str, message: str
) -> None:
    path = write_mini(tmp_path / "a.cbf", pixels, MINI_HEADER.replace(old, new))
    raw = open_raw(path)
    with pytest.raises(GeometryError, match=message) as caught:
        print(raw.beam(0), raw.detector(0))
    assert "a.cbf" in str(caught.value)


def test_the_cache_gives_equal_masks_as_one_object(tmp_path: Path, pixels: np.ndarray) -> None:
    a, b = (write_mini(tmp_path / f"{name}.cbf", pixels) for name in "ab")
    c = write_mini(tmp_path / "c.cbf", np.abs(pixels))
    bad = np.zeros((5, 7))
    bad[1, 1] = 1
    np.savez(tmp_path / "bad.npz", bad)
    cache = FrameCache(user_mask=tmp_path / "bad.npz", n_open=1)
    first = cache.mask(a, 0)
    assert cache.mask(b, 0) is first
    assert first.sum() == 26
    assert cache.mask(c, 0).sum() == 34
    cache.close()


IMGCIF = """###CBF: VERSION 1.1
data_test
loop_
_diffrn_data_frame.id
_diffrn_data_frame.array_id
_diffrn_data_frame.binary_id
 F1 A0 1
 F1 A1 2
loop_
_array_structure_list.array_id
_array_structure_list.array_section_id
_array_structure_list.index
_array_structure_list.dimension
_array_structure_list.precedence
_array_structure_list.axis_set_id
 A0 . 1 4 1 .
 A0 . 2 3 2 .
 A0 . 3 2 3 .
 A0 S0 1 4 1 F0
 A0 S0 2 3 2 L0
 A0 S1 1 2 1 F1
 A0 S1 2 3 2 L1
 A1 . 1 4 1 F2
 A1 . 2 5 2 L2
loop_
_array_structure_list_section.array_id
_array_structure_list_section.id
_array_structure_list_section.index
_array_structure_list_section.start
_array_structure_list_section.end
 A0 S0 1 1 4
 A0 S0 2 1 3
 A0 S0 3 1 1
 A0 S1 1 3 4
 A0 S1 2 1 3
 A0 S1 3 2 2
loop_
_array_structure_list_axis.axis_set_id
_array_structure_list_axis.axis_id
_array_structure_list_axis.displacement
_array_structure_list_axis.displacement_increment
 F0 F0 0.0 0.1
 L0 L0 0.0 0.2
 F1 F1 0.5 0.1
 L1 L1 0.0 -0.2
 F2 F2 0.0 0.1
 L2 L2 0.0 0.2
loop_
_axis.id
_axis.type
_axis.equipment
_axis.depends_on
_axis.vector[1]
_axis.vector[2]
_axis.vector[3]
_axis.offset[1]
_axis.offset[2]
_axis.offset[3]
 SOURCE general source . 0 0 1 . . .
 Z translation detector . 0 0 1 0 0 0
 TURN rotation detector Z 0 0 1 1 2 0
 L0 translation detector TURN 0 -1 0 0 0 0
 F0 translation detector L0 1 0 0 10 0 0
 L1 translation detector Z 0 -1 0 0 0 0
 F1 translation detector L1 1 0 0 -10 0 0
 L2 translation detector Z 0 -1 0 0 0 5
 F2 translation detector L2 1 0 0 0 0 0
loop_
_diffrn_scan_frame_axis.axis_id
_diffrn_scan_frame_axis.frame_id
_diffrn_scan_frame_axis.angle
_diffrn_scan_frame_axis.displacement
 Z F1 0 -100
 TURN F1 90 0
loop_
_array_intensities.array_id
_array_intensities.gain
_array_intensities.overload
_array_intensities.undefined_value
 A0 8 5000 -10
 A1 8 6000 -10
_diffrn_radiation_wavelength.id W
_diffrn_radiation_wavelength.wavelength 1.25
_diffrn_radiation.polarizn_source_ratio 0.9
loop_
_array_structure.id
_array_structure.encoding_type
 A0 'signed 32-bit integer'
 A1 'signed 32-bit integer'
loop_
_array_data.array_id
_array_data.binary_id
_array_data.data
"""


def binary_section(number: int, pixels: np.ndarray) -> bytes:
    """Return an uncompressed array as CBF has it; `pixels` (deep, slow, fast) or (slow, fast)."""
    names = ("Fastest", "Second", "Third")
    sizes = [f"X-Binary-Size-{n}-Dimension: {s}" for n, s in zip(names, pixels.shape[::-1])]  # noqa: B905 - two or three
    payload = pixels.astype("<i4").tobytes()
    head = [
        f" A{number} {number + 1}",
        ";",
        "--CIF-BINARY-FORMAT-SECTION--",
        "Content-Type: application/octet-stream",
        "Content-Transfer-Encoding: BINARY",
        f"X-Binary-Size: {len(payload)}",
        f"X-Binary-ID: {number + 1}",
        'X-Binary-Element-Type: "signed 32-bit integer"',
        "X-Binary-Element-Byte-Order: LITTLE_ENDIAN",
        f"X-Binary-Number-of-Elements: {pixels.size}",
        *sizes,
        "",
        "",
    ]
    tail = b"\r\n--CIF-BINARY-FORMAT-SECTION----\r\n;\r\n"
    return "\r\n".join(head).encode() + b"\x0c\x1a\x04\xd5" + payload + tail


@pytest.fixture
def imgcif_file(tmp_path: Path) -> Path:
    """Return a file of two arrays, the first with two sections, one of them rotated."""
    path = tmp_path / "full.cbf"
    first, second = np.arange(24).reshape(2, 3, 4), np.arange(20).reshape(5, 4) - 30
    text = IMGCIF.replace("\n", "\r\n").encode()
    path.write_bytes(text + binary_section(0, first) + binary_section(1, second))
    return path


def test_imgcif_arrays_sections_and_axes(imgcif_file: Path) -> None:
    assert imgcif.understands(imgcif_file, None)
    raw = open_raw(imgcif_file)
    detector = raw.detector(0)
    assert detector.slab_shape == (11, 4)
    s0, s1, whole = detector.panels
    # Rotated by 90 degrees about z through (1, 2): x goes to y, -y to x.
    np.testing.assert_allclose(s0.origin_mm, (1, 12, -100), atol=1e-12)
    np.testing.assert_allclose(s0.fast, (0, 1, 0), atol=1e-12)
    np.testing.assert_allclose(s0.slow, (1, 0, 0), atol=1e-12)
    np.testing.assert_allclose(s1.origin_mm, (-9.5, 0, -100), atol=1e-12)
    np.testing.assert_allclose(s1.slow, (0, 1, 0), atol=1e-12)
    np.testing.assert_allclose(whole.origin_mm, (0, 0, -95), atol=1e-12)
    assert [panel.slab_start for panel in detector.panels] == [(0, 0), (3, 2), (6, 0)]
    assert [panel.shape for panel in detector.panels] == [(3, 4), (3, 2), (5, 4)]
    assert whole.trusted == (-9, 6000)
    assert s0.gain == 8
    assert s0.pixel_mm == pytest.approx((0.1, 0.2))


def test_imgcif_pixels_beam_and_mask(imgcif_file: Path) -> None:
    raw = open_raw(imgcif_file)
    pixels = raw.pixels(0)
    np.testing.assert_array_equal(pixels[:6].ravel(), np.arange(24))
    np.testing.assert_array_equal(pixels[6:].ravel(), np.arange(20) - 30)
    assert raw.beam(0).wavelength_ang == 1.25
    assert raw.beam(0).direction == (0, 0, -1)
    assert raw.beam(0).polarization_fraction == pytest.approx(0.95)
    assert raw.mask(0).sum() == 12 + 6 + 20


def test_imgcif_compressed(imgcif_file: Path) -> None:
    packed = imgcif_file.with_suffix(".cbf.gz")
    packed.write_bytes(gzip.compress(imgcif_file.read_bytes()))
    np.testing.assert_array_equal(open_raw(packed).pixels(0), open_raw(imgcif_file).pixels(0))


def test_imgcif_cut_short_or_without_an_axis(imgcif_file: Path) -> None:
    whole = imgcif_file.read_bytes()
    imgcif_file.write_bytes(whole.replace(b" TURN rotation", b" TWIN rotation"))
    with pytest.raises(GeometryError, match="axis 'TURN' is not described"):
        open_raw(imgcif_file).detector(0)
    imgcif_file.write_bytes(whole[:-60])
    with pytest.raises(SourceError, match=r"full\.cbf: not a complete CBF"):
        open_raw(imgcif_file)
