"""A whole run: the same on any number of ranks, and as other programs read it."""

from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - registers the decoder
import numpy as np
import nxmx
import pytest

from tests.ranks import run_on_every
from xfel_apps import mpi
from xfel_apps.simulate.__main__ import main
from xfel_apps.simulate.detector import make_detector
from xfel_apps.simulate.run import TRUTH, simulate
from xfel_apps.simulate.settings import SimulateSettings
from xfel_apps.sources import open_raw

SETTINGS = SimulateSettings.checked(
    {
        "shots": 10,
        "shots_per_file": 3,
        "crystal": {"cell": (50, 50, 40, 90, 90, 90), "d_min_ang": 2.5, "crystals_per_hit": 2},
        "detector": {
            "modules": (2, 2),
            "module_px": (64, 96),
            "pixel_mm": 0.5,
            "tilt_deg": 1.0,
            "dead_fraction": 0.01,
        },
    }
)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return simulate(SETTINGS, tmp_path_factory.mktemp("run"), mpi.serial())


def everything(path: Path) -> dict[str, np.ndarray]:
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: found.update({name: item[()]} if hasattr(item, "shape") else {})
        )
    return found


@pytest.fixture(scope="module")
def on_several_ranks(tmp_path_factory):
    """Return a folder with the run as each number of ranks makes it."""
    folder = tmp_path_factory.mktemp("ranks")
    arguments = ["--out", str(folder / "{size}"), "--settings", SETTINGS.canonical()]
    run_on_every((2, 3), "xfel_apps.simulate.__main__", *arguments)
    return folder


@pytest.mark.parametrize("ranks", [2, 3])
def test_run_does_not_depend_on_ranks(on_several_ranks, run, ranks):
    for name in ("run_master.h5", "truth.h5"):
        found = everything(on_several_ranks / str(ranks) / name)
        expected = everything(run.with_name(name))
        assert found.keys() == expected.keys()
        for key, values in expected.items():
            np.testing.assert_array_equal(found[key], values, err_msg=key)


def test_other_seeds_and_more_shots(tmp_path, run):
    """Another seed is another run; a longer run begins with the same shots."""
    changed = SETTINGS.model_copy(update={"seed": 2})
    longer = SETTINGS.model_copy(update={"shots": 12, "shots_per_file": 5})
    frames = everything(run)["entry/data/data"]
    other = everything(simulate(changed, tmp_path / "a", mpi.serial()))["entry/data/data"]
    more = everything(simulate(longer, tmp_path / "b", mpi.serial()))["entry/data/data"]
    assert not np.array_equal(other, frames)
    np.testing.assert_array_equal(more[:10], frames)


def test_nxmx_package_reads_the_geometry_that_was_simulated(run):
    """The beam of NeXus runs along +z: x and z change sign."""
    with h5py.File(run) as file:
        detector = nxmx.NXmx(file).entries[0].instruments[0].detectors[0]
        expected = make_detector(SETTINGS.detector, SETTINGS.seed)
        assert len(detector.modules) == 4
        for module, panel in zip(detector.modules, expected.panels, strict=True):
            chain = nxmx.get_dependency_chain(module.fast_pixel_direction)
            origin = nxmx.get_cumulative_transformation(chain[1:])[0][:3, 3]
            np.testing.assert_allclose(origin * [-1, 1, -1], panel.origin_mm, atol=1e-9)
            fast = module.fast_pixel_direction.vector * np.array([-1, 1, -1])
            np.testing.assert_allclose(fast, panel.fast, atol=1e-12)
            assert tuple(module.data_origin) == panel.slab_start
            assert tuple(module.data_size) == panel.shape
        assert np.count_nonzero(detector.pixel_mask) == round(0.01 * 128 * 192)


def test_truth_has_what_the_comparison_needs(run):
    truth = everything(run.with_name("truth.h5"))
    blank = truth["kind"] == b"blank"
    assert 0 < blank.sum() < 10
    assert np.all(np.isnan(truth["A"][blank]))
    assert np.all(np.isfinite(truth["A"][~blank]))
    assert truth["A_all"].shape == (10, 2, 3, 3)
    np.testing.assert_array_equal(truth["hit"], truth["kind"] == b"hit")
    np.testing.assert_allclose(truth["I_true"], truth["F_true"] ** 2)
    with h5py.File(run) as file:
        wavelengths = file["entry/instrument/beam/incident_wavelength"][()]
    np.testing.assert_array_equal(wavelengths, truth["wl"])


def test_command_line_sets_what_it_says_and_refuses_what_it_does_not_know(tmp_path, capsys):
    small = ["--out", str(tmp_path / "x"), "--settings", SETTINGS.canonical()]
    assert main([*small, "--shots", "2", "--set", "crystal.size_um=2"], mpi.serial()) == 0
    with h5py.File(tmp_path / "x" / "run_master.h5") as file:
        assert file["entry/data/data"].shape == (2, 128, 192)
    assert main([*small, "--set", "crystal.sise_um=2"], mpi.serial()) == 1
    assert "crystal.sise_um: unknown setting" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["--out", str(tmp_path / "file" / "x")], mpi.serial()) == 1
    assert "cannot write a run there" in capsys.readouterr().err


EFFECTS = (
    "beam.bandwidth=0.004", "beam.sase=true", "beam.wavelengths=9", "beam.divergence_mrad=[1,0.5]",
    "crystal.heavy_element=Yb", "crystal.anomalous=true", "crystal.mosaicity_deg=[0.3,0.1,0.1]",
    "crystal.interpolation=tricubic", "oversample=2", "beam.directions=2", "background.water_um=20",
    "background.air_mm=3", "detector.sensor_um=320", "detector.spread_fwhm_px=1",
    "detector.spread_shape=fiber", "detector.gain_spread=0.03", "detector.read_noise_adu=0.2",
)  # fmt: skip


def test_every_effect_at_once_is_simulated_with_its_truth(tmp_path, capsys):
    wanted = [part for effect in EFFECTS for part in ("--set", effect)]
    small = ["--out", str(tmp_path), "--settings", SETTINGS.canonical(), "--shots", "2"]
    assert main([*small, *wanted], mpi.serial()) == 0
    truth = everything(tmp_path / TRUTH)
    mean = (truth["F_plus"] ** 2 + truth["F_minus"] ** 2) / 2.0
    np.testing.assert_allclose(truth["I_true"], mean)
    assert np.abs(truth["F_plus"] - truth["F_minus"]).mean() > 0.02 * truth["F_true"].mean()
    np.testing.assert_allclose(truth["spectrum_weights"].sum(axis=1), 1.0)
    measured = np.sum(truth["spectrum_weights"] * truth["spectrum_ang"], axis=1)
    np.testing.assert_allclose(measured, truth["wl"])
    assert main([*small, "--set", "crystal.heavy_element=Xx"], mpi.serial()) == 1
    assert "'Xx' is no element; give a symbol like Se" in capsys.readouterr().err


def test_sources_read_back_what_was_simulated(run):
    """Geometry, wavelengths, scalars, mask and counts, by the package's own reader."""
    expected, truth = (
        make_detector(SETTINGS.detector, SETTINGS.seed),
        everything(run.parent / TRUTH),
    )
    raw = open_raw(run)
    try:
        assert raw.n_frames == 10
        found = raw.detector(0)
        np.testing.assert_allclose(found.origins_mm, expected.origins_mm, atol=1e-9)
        np.testing.assert_allclose(found.axes, expected.axes, atol=1e-12)
        np.testing.assert_array_equal(found.slab_starts, expected.slab_starts)
        assert found.panels[0].trusted == expected.panels[0].trusted
        assert np.count_nonzero(~raw.mask(0)) == round(0.01 * 128 * 192)
        frames = everything(run)["entry/data/data"]
        for shot in range(10):
            assert raw.beam(shot).wavelength_ang == truth["wl"][shot]
            assert raw.scalars(shot)["laser_on"] == (shot % 2 == 0)
            assert raw.scalars(shot)["pulse_energy_mj"] > 0
            np.testing.assert_array_equal(raw.pixels(shot), frames[shot])
    finally:
        raw.close()


def test_sources_read_back_the_gain(tmp_path):
    noisy = SETTINGS.detector.model_copy(update={"gain": 4.0, "read_noise_adu": 3.0})
    settings = SETTINGS.model_copy(update={"shots": 2, "detector": noisy})
    raw = open_raw(simulate(settings, tmp_path, mpi.serial()))
    assert {panel.gain for panel in raw.detector(0).panels} == {4.0}
    assert raw.pixels(0).min() < 0
    raw.close()
