"""NXmx in the conventions that are met: axes and units, modules, linked files, masks, spectra."""

import os
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import nxmx
import pytest

from tests.small_nxmx import write_nxmx
from xfel_apps.errors import GeometryError, SourceError
from xfel_apps.sources import open_raw

DET = "entry/instrument/detector"


def frames(n: int = 2, shape: tuple[int, ...] = (6, 8), dtype: str = "i4") -> np.ndarray:
    return np.arange(n * np.prod(shape), dtype=dtype).reshape(n, *shape)


def add_axis(file: h5py.File, name: str, values: object, **attributes: object) -> None:
    if name in file:
        del file[name]
    file.create_dataset(name, data=np.atleast_1d(values)).attrs.update(attributes)


def test_pixels_beam_and_panel(tmp_path: Path) -> None:
    raw = open_raw(write_nxmx(tmp_path / "a.h5", frames(3)))
    assert raw.n_frames == 3
    np.testing.assert_array_equal(raw.pixels(2), frames(3)[2])
    (panel,) = raw.detector(1).panels
    assert panel.origin_mm == pytest.approx((-0.4, 0.3, -80.0))
    assert (panel.fast, panel.slow) == ((1, 0, 0), (0, -1, 0))
    assert raw.beam(1).wavelength_ang == pytest.approx(1.3)
    assert raw.detector(2) is raw.detector(0)


def test_a_chain_of_rotations_and_translations_as_the_nxmx_package_has_it(tmp_path: Path) -> None:
    path = write_nxmx(tmp_path / "a.h5", frames())
    with h5py.File(path, "a") as file:
        axes = f"/{DET}/transformations"
        add_axis(file, f"{axes}/arm", 20.0, transformation_type="rotation", units="deg",
                 vector=[1.0, 0, 0], depends_on=".")  # fmt: skip
        add_axis(file, f"{axes}/det_z", 0.08, transformation_type="translation", units="m",
                 vector=[0, 0, 1.0], depends_on="arm")  # fmt: skip
        add_axis(file, f"{axes}/tilt", 0.1, transformation_type="rotation", units="rad",
                 vector=[0, 0.6, 0.8], offset=[1.0, 2.0, 3.0], offset_units="mm",
                 depends_on=f"{axes}/det_z")  # fmt: skip
        add_axis(file, f"{DET}/module/module_offset", 5.0, transformation_type="translation",
                 units="cm", vector=[0.8, 0.6, 0], depends_on=f"{axes}/tilt")  # fmt: skip
        module = nxmx.NXmx(file).entries[0].instruments[0].detectors[0].modules[0]
        chain = nxmx.get_dependency_chain(module.fast_pixel_direction.depends_on)
        expected = nxmx.get_cumulative_transformation(chain)[0]
    (panel,) = open_raw(path).detector(0).panels
    to_lab = np.diag([-1.0, 1.0, -1.0])
    np.testing.assert_allclose(panel.origin_mm, to_lab @ expected[:3, 3], atol=1e-9)
    np.testing.assert_allclose(panel.fast, to_lab @ expected[:3, :3] @ [-1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(panel.slow, to_lab @ expected[:3, :3] @ [0, -1, 0], atol=1e-12)


def test_a_detector_that_moves_has_its_own_place_in_each_frame(tmp_path: Path) -> None:
    path = write_nxmx(tmp_path / "a.h5", frames(2))
    with h5py.File(path, "a") as file:
        add_axis(file, f"{DET}/transformations/det_z", [80.0, 90.0], units="mm",
                 transformation_type="translation", vector=[0, 0, 1.0], depends_on=".")  # fmt: skip
    raw = open_raw(path)
    assert [raw.detector(i).panels[0].origin_mm[2] for i in (0, 1, 0)] == [-80, -90, -80]


def test_modules_side_by_side_and_stacked(tmp_path: Path) -> None:
    flat = write_nxmx(tmp_path / "flat.h5", frames(1, (6, 8)))
    deep = write_nxmx(tmp_path / "deep.h5", frames(1, (3, 2, 8)))
    for path, origins, sizes in (
        (flat, [[0, 0], [3, 4]], [[3, 4], [3, 4]]),
        (deep, [[0, 0, 0], [2, 0, 4]], [[1, 2, 4], [1, 2, 4]]),
    ):
        with h5py.File(path, "a") as file:
            file.copy(f"{DET}/module", f"{DET}/module_2")
            for name, origin, size in zip(("module", "module_2"), origins, sizes, strict=True):
                for item, value in (("data_origin", origin), ("data_size", size)):
                    del file[f"{DET}/{name}/{item}"]
                    file[f"{DET}/{name}/{item}"] = value
    raw = open_raw(flat)
    assert [panel.slab_start for panel in raw.detector(0).panels] == [(0, 0), (3, 4)]
    assert raw.mask(0).sum() == 24
    raw = open_raw(deep)
    assert [panel.slab_start for panel in raw.detector(0).panels] == [(0, 0), (4, 4)]
    assert [panel.shape for panel in raw.detector(0).panels] == [(2, 4), (2, 4)]
    assert raw.pixels(0).shape == (6, 8)


def test_an_eiger_master_with_bitshuffled_files(tmp_path: Path) -> None:
    master = write_nxmx(tmp_path / "x_master.h5", frames(1, dtype="u4"), data__data=None)
    mask = np.zeros((6, 8), "u4")
    mask[2, 3] = 1 << 4
    with h5py.File(master, "a") as file:
        file[f"{DET}/detectorSpecific/pixel_mask"] = mask
        for number in (1, 2, 3):
            link = h5py.ExternalLink(f"x_data_{number:06d}.h5", "/entry/data/data")
            file[f"entry/data/data_{number:06d}"] = link
    for number, count in ((1, 4), (2, 4), (3, 1)):
        with h5py.File(tmp_path / f"x_data_{number:06d}.h5", "w") as file:
            file.create_dataset("entry/data/data", data=frames(count, dtype="u4") + 1000 * number,
                                chunks=(1, 6, 8), **hdf5plugin.Bitshuffle())  # fmt: skip
    raw = open_raw(master)
    assert raw.n_frames == 9
    assert [int(raw.pixels(i)[0, 0]) for i in (0, 5, 8)] == [1000, 2048, 3000]
    assert raw.detector(0).panels[0].trusted == (0, 2**32 - 2)
    assert raw.mask(0).sum() == 47
    assert not raw.mask(0)[2, 3]


def test_a_linked_file_that_is_missing_or_of_another_shape(tmp_path: Path) -> None:
    master = write_nxmx(tmp_path / "x_master.h5", frames(1), data__data=None)
    with h5py.File(master, "a") as file:
        file[f"{DET}/detectorSpecific/nimages"] = 7
        for number in (1, 2, 3):
            link = h5py.ExternalLink(f"x_{number}.h5", "/data")
            file[f"entry/data/data_{number:06d}"] = link
    for number, shape in ((1, (3, 6, 8)), (3, (2, 5, 8))):
        with h5py.File(tmp_path / f"x_{number}.h5", "w") as file:
            file["data"] = np.full(shape, number)
    raw = open_raw(master)
    assert raw.n_frames == 7  # of the file that is missing the master says there were 2
    assert [bool(raw.problem(i)) for i in range(7)] == [False] * 3 + [True] * 4
    with pytest.raises(SourceError, match=r"x_2\.h5: linked file is missing"):
        raw.pixels(3)
    with pytest.raises(SourceError, match=r"x_3\.h5: frames of /data have shape \(5, 8\)"):
        raw.pixels(5)
    assert raw.pixels(2)[0, 0] == 1


def test_a_virtual_dataset_tells_of_its_missing_file(tmp_path: Path) -> None:
    master = write_nxmx(tmp_path / "v.h5", frames(1), data__data=None)
    layout = h5py.VirtualLayout((4, 6, 8), "i4")
    for number in (0, 1):
        with h5py.File(tmp_path / f"part{number}.h5", "w") as file:
            file["data"] = frames(2) + 100 * number
        source = h5py.VirtualSource(f"part{number}.h5", "data", (2, 6, 8))
        layout[2 * number : 2 * number + 2] = source
    with h5py.File(master, "a") as file:
        file.create_virtual_dataset("entry/data/data", layout, fillvalue=-1)
    assert open_raw(master).pixels(3)[0, 0] == 148
    (tmp_path / "part1.h5").unlink()
    raw = open_raw(master)
    assert raw.problem(1) == ""
    with pytest.raises(SourceError, match=r"part1\.h5: file of a virtual dataset is missing"):
        raw.pixels(2)


def test_wavelengths_from_energies_and_spectra(tmp_path: Path) -> None:
    beam = "instrument__beam__"
    path = write_nxmx(tmp_path / "e.h5", frames(2), **{beam + "incident_wavelength": None,
                      beam + "incident_energy": [9500.0, 12398.419843320026]})  # fmt: skip
    raw = open_raw(path)
    assert [raw.beam(i).wavelength_ang for i in (0, 1)] == pytest.approx([1.305097, 1.0], abs=1e-6)
    path = write_nxmx(tmp_path / "s.h5", frames(2), **{
        beam + "incident_wavelength": [1.0, 1.1, 1.2],
        beam + "incident_wavelength_weights": [[1.0, 1.0, 0.0], [0.0, 1.0, 3.0]]})  # fmt: skip
    raw = open_raw(path)
    assert [raw.beam(i).wavelength_ang for i in (0, 1)] == pytest.approx([1.05, 1.175])


def test_scaling_sensor_and_limits_of_the_detector(tmp_path: Path) -> None:
    det = "instrument__detector__"
    path = write_nxmx(
        tmp_path / "a.h5",
        frames(2, dtype="u2"),
        data__data_scale_factor=0.1,
        data__data_offset=-40,
        **{det + "saturation_value": 5000, det + "underload_value": 1},
        **{det + "sensor_material": "Si", det + "sensor_thickness": 0.00045},
    )
    raw = open_raw(path)
    (panel,) = raw.detector(0).panels
    assert panel.trusted == (1, 5000)
    assert panel.gain == pytest.approx(10)
    assert panel.thickness_mm == pytest.approx(0.45)
    assert panel.mu_invmm == pytest.approx(8.79, abs=0.2)  # NIST: 9.1 / mm with scattering
    assert raw.pixels(0)[0, 1] == -39


def test_a_scale_for_each_pixel_is_applied(tmp_path: Path) -> None:
    scale = np.full((6, 8), 0.5)
    path = write_nxmx(tmp_path / "a.h5", frames(2), data__data_scale_factor=scale)
    raw = open_raw(path)
    np.testing.assert_allclose(raw.pixels(1), frames(2)[1] / 2)
    assert raw.detector(0).panels[0].gain == 1


@pytest.mark.parametrize("last", ["module_offset", "detector"])
def test_pixel_directions_that_depend_on_nothing(tmp_path: Path, last: str) -> None:
    path = write_nxmx(tmp_path / "a.h5", frames())
    with h5py.File(path, "a") as file:
        for name in ("fast", "slow"):
            del file[f"{DET}/module/{name}_pixel_direction"].attrs["depends_on"]
        file[f"{DET}/depends_on"] = "transformations/det_z"
        if last == "detector":
            del file[f"{DET}/module/module_offset"]
    (panel,) = open_raw(path).detector(0).panels
    assert panel.origin_mm == pytest.approx((0, 0, -80) if last == "detector" else (-0.4, 0.3, -80))


def test_a_module_at_the_sample_is_refused(tmp_path: Path) -> None:
    path = write_nxmx(tmp_path / "a.h5", frames())
    with h5py.File(path, "a") as file:
        for name in ("fast", "slow"):
            file[f"{DET}/module/{name}_pixel_direction"].attrs["depends_on"] = "."
    with pytest.raises(GeometryError, match=r"a\.h5: .*axes are not complete"):
        open_raw(path).detector(0)


def test_a_mask_for_each_frame(tmp_path: Path) -> None:
    bad = np.zeros((3, 6, 8), "u4")
    bad[1, 0, 0] = 2
    path = write_nxmx(tmp_path / "a.h5", frames(3), instrument__detector__pixel_mask=bad)
    raw = open_raw(path)
    assert [int(raw.mask(i).sum()) for i in range(3)] == [48, 47, 48]


def test_a_file_without_modules_has_a_flat_detector(tmp_path: Path) -> None:
    det = "instrument__detector__"
    numbers = {"beam_center_x": 4.0, "beam_center_y": 3.0, "x_pixel_size": 75e-6,
               "y_pixel_size": 75e-6, "detector_distance": 0.1}  # fmt: skip
    path = write_nxmx(tmp_path / "a.h5", frames(), **{det + "module": None},
                      **{det + name: value for name, value in numbers.items()})  # fmt: skip
    (panel,) = open_raw(path).detector(0).panels
    assert panel.origin_mm == pytest.approx((-0.3, 0.225, -100.0))
    assert panel.shape == (6, 8)


@pytest.mark.parametrize(
    ("item", "value", "message"),
    [
        ("instrument__detector__module__data_size", None, "has no data_size"),
        ("instrument__detector__pixel_mask", np.zeros((3, 3)), r"pixel_mask has shape \(3, 3\)"),
        ("instrument__detector__transformations", None, "which is not there"),
        ("data__data", np.zeros(5), r"has shape \(5,\); expected \(frames, slow, fast\)"),
        ("instrument__beam__incident_wavelength", [1.0, 1.1, 1.2], "3 wavelengths for 2 frames"),
    ],
)
def test_errors_name_the_file_and_the_item(
    tmp_path: Path, item: str, value: object, message: str
) -> None:
    path = write_nxmx(tmp_path / "broken.h5", frames(2), **{item: value})
    with pytest.raises((GeometryError, SourceError), match=message) as caught:
        open_raw(path).mask(0)
    assert "broken.h5" in str(caught.value)


def test_axes_that_depend_on_each_other(tmp_path: Path) -> None:
    path = write_nxmx(tmp_path / "a.h5", frames())
    with h5py.File(path, "a") as file:
        item = file[f"{DET}/transformations/det_z"]
        item.attrs["depends_on"] = f"/{DET}/module/module_offset"
    with pytest.raises(GeometryError, match="depends on itself"):
        open_raw(path)


def test_files_that_are_no_image(tmp_path: Path) -> None:
    empty, text, cut = tmp_path / "e.h5", tmp_path / "t.h5", tmp_path / "c.h5"
    empty.touch()
    text.write_text("hello")
    write_nxmx(cut, frames(50))
    os.truncate(cut, 3000)
    for path, message in (
        (empty, "empty"),
        (text, "not an image"),
        (cut, "not a complete HDF5"),
        (tmp_path / "none.h5", "no such raw file"),
    ):
        with pytest.raises(SourceError, match=message):
            open_raw(path)
