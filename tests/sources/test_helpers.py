"""Paths of a run, the user's mask, absorption of sensors."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from matplotlib.image import imsave

from tests.small_nxmx import write_nxmx
from xfel_apps.errors import SourceError
from xfel_apps.sources import expand
from xfel_apps.sources.sensor import mu_invmm
from xfel_apps.sources.usermask import read_mask


def touch(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"###CBF")
    return [folder / name for name in names]


def test_a_folder_gives_its_images_in_natural_order(tmp_path: Path) -> None:
    ten, two = touch(tmp_path / "raw", "x_10.cbf", "x_2.cbf.gz")
    touch(tmp_path / "raw", "notes.txt", "x.png")
    assert expand([tmp_path / "raw"]) == [two, ten]


def test_a_folder_gives_masters_only_and_no_truth(tmp_path: Path) -> None:
    frames = np.zeros((1, 4, 4), "i4")
    master = write_nxmx(tmp_path / "a_master.h5", frames)
    other = write_nxmx(tmp_path / "other.h5", frames)
    write_nxmx(tmp_path / "a_data_000001.h5", frames)
    with h5py.File(tmp_path / "truth.h5", "w") as file:
        file["truth"] = frames
    broken = tmp_path / "z.h5"
    broken.write_bytes(b"\x89HDF\r\n\x1a\n cut short")
    assert expand([tmp_path]) == [master, other, broken]


def test_globs_and_lists(tmp_path: Path) -> None:
    a, b, c = touch(tmp_path / "raw", "a.cbf", "b.cbf", "c.cbf")
    (tmp_path / "run.lst").write_text("# mine\nraw/c.cbf\n\nraw/[ab].cbf\nraw/gone.cbf\n")
    assert expand([str(tmp_path / "raw" / "[bc].cbf")]) == [b, c]
    assert expand([tmp_path / "run.lst", a]) == [c, a, b, tmp_path / "raw" / "gone.cbf"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.cbf", "no such file"), ("*.cbf", "no file matches"), ("none.lst", "not a readable")],
)
def test_what_is_not_there(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        expand([tmp_path / name])
    with pytest.raises(SourceError, match="no images in this folder"):
        expand([tmp_path])


def test_user_masks_of_all_kinds(tmp_path: Path) -> None:
    bad = np.zeros((2, 3, 4), "u1")
    bad[1, 0, 2] = 1
    np.save(tmp_path / "m.npy", bad)
    np.savez(tmp_path / "m.npz", other=np.ones(3), mask=bad)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["entry/mask"] = bad.reshape(6, 4)
    imsave(tmp_path / "m.png", bad.reshape(6, 4), cmap="gray", vmin=0, vmax=1)
    for name in ("m.npy", "m.npz", "m.h5", "m.png"):
        good = read_mask(tmp_path / name)
        assert good.shape == (6, 4)
        assert list(np.argwhere(~good)[0]) == [3, 2]
        assert good.sum() == 23


def test_masks_that_cannot_be_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", a=np.ones(3), b=np.ones(3))
    np.save(tmp_path / "flat.npy", np.ones(3))
    (tmp_path / "m.h5").write_text("no")
    for name, message in (
        ("m.npz", "expected one array, or one named mask"),
        ("flat.npy", "has two dimensions"),
        ("m.h5", "not a readable mask file"),
    ):
        with pytest.raises(SourceError, match=message):
            read_mask(tmp_path / name)


@pytest.mark.parametrize(
    ("energy_ev", "total"), [(8000.0, 64.68), (10000.0, 33.89), (20000.0, 4.464)]
)
def test_absorption_of_silicon(energy_ev: float, total: float) -> None:
    # Total attenuation of NIST's tables (Hubbell & Seltzer) [cm^2/g]; scattering, which does not
    # convert photons, is 2 to 8 % of it here, and Cromer & Liberman lie up to 4 % lower.
    share = mu_invmm("Silicon", energy_ev) / (total * 0.2329)
    assert 0.88 < share < 0.98


def test_absorption_of_other_sensors() -> None:
    assert mu_invmm("CdTe", 26800.0) > 2 * mu_invmm("CdTe", 26600.0)  # K edge of Cd, 26711 eV
    assert mu_invmm("unobtainium", 8000.0) == 0.0
    assert mu_invmm("Si", 9490.0) == mu_invmm("Si", 9510.0)
