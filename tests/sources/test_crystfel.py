"""CXI and plain HDF5 with a CrystFEL geometry file."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from xfel_apps.errors import GeometryError, SourceError
from xfel_apps.experiment import Experiment
from xfel_apps.sources import FrameCache, open_raw

GEOM = """
photon_energy = /LCLS/photon_energy_eV eV
clen = /LCLS/detector_1/EncoderValue
coffset = 0.5
res = 10000
adu_per_photon = 7
data = /entry_1/data_1/data
mask = /entry_1/data_1/mask
mask_good = 0x0
mask_bad = 0x3
dim0 = %
dim1 = ss
dim2 = fs
p0/min_fs = 0
p0/max_fs = 5
p0/min_ss = 0
p0/max_ss = 3
p0/corner_x = -3
p0/corner_y = 2
p0/fs = x
p0/ss = -y
"""


@pytest.fixture
def cxi(tmp_path: Path) -> tuple[Path, Path]:
    """Return a CXI file of three frames and its geometry."""
    path, geometry = tmp_path / "run.cxi", tmp_path / "run.geom"
    geometry.write_text(GEOM)
    bits = np.zeros((4, 6), "u2")
    bits[0, 0], bits[1, 1] = 1, 4
    with h5py.File(path, "w") as file:
        file["entry_1/data_1/data"] = np.arange(72, dtype="f4").reshape(3, 4, 6)
        file["entry_1/data_1/mask"] = bits
        file["LCLS/photon_energy_eV"] = [9000.0, 9500.0, 0.0]
        file["LCLS/detector_1/EncoderValue"] = [-400.0, -400.0, -410.0]
        file["LCLS/machineTime"] = [100.0, 101.0, 102.0]
    return path, geometry


def test_frames_geometry_and_scalars(cxi: tuple[Path, Path]) -> None:
    raw = open_raw(*cxi)
    assert raw.n_frames == 3
    np.testing.assert_array_equal(raw.pixels(1), np.arange(24, 48).reshape(4, 6))
    assert raw.beam(1).wavelength_ang == pytest.approx(12398.4198 / 9500)
    (panel,) = raw.detector(0).panels
    assert panel.origin_mm == pytest.approx((0.3, 0.2, -100.0))
    assert panel.gain == 7
    assert raw.detector(1) is raw.detector(0)
    assert raw.detector(2).panels[0].origin_mm[2] == pytest.approx(-90.0)
    assert raw.scalars(2)["timestamp_s"] == 102.0
    with pytest.raises(GeometryError, match="wavelength"):
        raw.beam(2)


KILLED_WRITER = """
import os, sys
import h5py
with h5py.File(sys.argv[1]) as whole:
    file = h5py.File(sys.argv[2], "w", libver="latest")
    def add(name, item):
        if isinstance(item, h5py.Dataset):
            grows = {"maxshape": (None, *item.shape[1:]), "chunks": (1, *item.shape[1:])}
            file.create_dataset(name, data=item[()], **(grows if len(item) == 3 else {}))
    whole.visititems(add)
    file.swmr_mode = True
    file["entry_1/data_1/data"].resize(6, axis=0)
    file["entry_1/data_1/data"][3:5] = 1
    rows = {"photon_energy_eV": 9100.0, "detector_1/EncoderValue": 0.0, "machineTime": 103.0}
    for name, value in rows.items():
        file[f"LCLS/{name}"].resize(int(sys.argv[3]) if "Encoder" in name else 6, axis=0)
        file[f"LCLS/{name}"][3:] = value
    file.flush()
    os._exit(0)
"""


@pytest.mark.parametrize(("n_rows", "n_frames"), [(4, 4), (6, 5)])
def test_a_file_that_grows_ends_where_anything_is_missing(
    cxi: tuple[Path, Path], n_rows: int, n_frames: int
) -> None:
    path, geometry = cxi
    growing = path.with_name("growing.cxi")
    command = [sys.executable, "-c", KILLED_WRITER, str(path), str(growing), str(n_rows)]
    subprocess.run(command, check=True)
    raw = open_raw(growing, geometry)
    assert raw.n_frames == raw.n_complete() == n_frames
    assert raw.beam(3).wavelength_ang == pytest.approx(12398.4198 / 9100)
    assert raw.detector(3).panels[0].origin_mm[2] == pytest.approx(-500.0)
    assert raw.pixels(3).mean() == 1
    assert raw.mask(3).sum() == 23
    assert raw.scalars(2)["timestamp_s"] == 102.0
    raw.close()


def test_the_mask_takes_bad_bits_only(cxi: tuple[Path, Path]) -> None:
    mask = open_raw(*cxi).mask(0)
    assert not mask[0, 0]
    assert mask.sum() == 23


def test_a_mask_for_each_frame_and_one_in_a_file(cxi: tuple[Path, Path]) -> None:
    path, geometry = cxi
    with h5py.File(path, "a") as file:
        del file["entry_1/data_1/mask"]
        bits = np.zeros((3, 4, 6), "u2")
        bits[1, 2, 2] = 2
        file["entry_1/data_1/mask"] = bits
    raw = open_raw(path, geometry)
    assert raw.mask(0).all()
    assert not raw.mask(1)[2, 2]
    geometry.write_text(GEOM + "p0/mask1_data = /bad\np0/mask1_file = bad.h5\np0/mask1_badbits = 1")
    with h5py.File(geometry.parent / "bad.h5", "w") as file:
        bits = np.zeros((4, 6), "u1")
        bits[3, 5] = 1
        file["bad"] = bits
    assert not open_raw(path, geometry).mask(0)[3, 5]
    (geometry.parent / "bad.h5").unlink()
    with pytest.raises(SourceError, match=r"bad\.h5: no such mask file"):
        open_raw(path, geometry).mask(0)


def test_flagged_values_are_masked(cxi: tuple[Path, Path]) -> None:
    path, geometry = cxi
    geometry.write_text(GEOM + "p0/flag_equal = 25\np0/flag_lessthan = -1\np0/flag_morethan = 70")
    raw = open_raw(path, geometry)
    assert raw.mask(0).sum() == 23
    assert not raw.mask(1)[0, 1]
    assert raw.detector(0).panels[0].trusted == (-1, 70)


def test_events_as_groups_and_modules_as_a_dimension(tmp_path: Path) -> None:
    geometry = tmp_path / "m.geom"
    lines = ["wavelength = 1.5 A", "clen = 100 mm", "res = 10000", "data = /shots/tag-%/data"]
    lines += ["dim1 = ss", "dim2 = fs", "corner_x = 0", "corner_y = 0", "fs = x", "ss = y"]
    for m in (0, 1):
        lines += [f"m{m}/dim0 = {m}", f"m{m}/min_fs = 0", f"m{m}/max_fs = 2"]
        lines += [f"m{m}/min_ss = 0", f"m{m}/max_ss = 1"]
    geometry.write_text("\n".join(lines))
    frames = np.arange(36, dtype="i2").reshape(3, 2, 2, 3)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        for name, frame in zip(("07", "12", "31"), frames, strict=True):
            file[f"shots/tag-{name}/data"] = frame
    raw = open_raw(tmp_path / "m.h5", geometry)
    assert raw.n_frames == 3
    np.testing.assert_array_equal(raw.pixels(2), frames[2].reshape(4, 3))
    assert [panel.slab_start for panel in raw.detector(0).panels] == [(0, 0), (2, 0)]
    assert raw.beam(0).wavelength_ang == pytest.approx(1.5)


def test_a_frame_cache_takes_the_geometry(cxi: tuple[Path, Path]) -> None:
    path, geometry = cxi
    cache = FrameCache(geometry)
    assert cache.pixels(path, 2)[0, 0] == 48
    with pytest.raises(SourceError, match="no frame 3, it has 3"):
        cache.pixels(path, 3)
    cache.close()


def test_data_that_does_not_fit_the_geometry(cxi: tuple[Path, Path]) -> None:
    path, geometry = cxi
    with pytest.raises(GeometryError, match=r"give the CrystFEL \.geom"):
        open_raw(path)
    geometry.write_text(GEOM.replace("p0/max_ss = 3", "p0/max_ss = 9"))
    with pytest.raises(GeometryError, match=r"frames of 4 x 6, the panels .* reach 10 x 6"):
        open_raw(path, geometry)
    geometry.write_text(GEOM.replace("dim0 = %", "dim0 = %\ndim3 = 0"))
    with pytest.raises(GeometryError, match="has 3 dimensions"):
        open_raw(path, geometry)
    geometry.write_text(GEOM.replace("/entry_1/data_1/data", "/nowhere"))
    with pytest.raises(GeometryError, match=r"not the data .*run\.geom describes \(/nowhere\)"):
        open_raw(path, geometry)


def test_a_folder_needs_the_geometry_that_goes_with_it(cxi: tuple[Path, Path]) -> None:
    path, geometry = cxi
    ingest = {"geometry": str(geometry)}
    given = Experiment.checked({"runs": {"r1": [str(path.parent)]}, "ingest": ingest})
    assert given.files("r1") == [path]
    with pytest.raises(SourceError, match=r"none of its 1 HDF5 files holds NXmx.*\.geom"):
        Experiment.checked({"runs": {"r1": [str(path.parent)]}}).files("r1")
