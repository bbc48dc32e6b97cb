"""Against noise-free images of another group's program (nanoBragg, cctbx 2022)."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.nanobragg import SETTINGS, SHOTS, Image, read_images
from xfel_apps.compute.forward import forward
from xfel_apps.compute.forward_reference import forward_reference


@pytest.fixture(scope="module")
def images(data_dir: Path) -> dict[str, Image]:
    return dict(read_images(data_dir / "nanobragg_lysozyme"))


@pytest.mark.parametrize("compute", [forward, forward_reference])
@pytest.mark.parametrize("shot", SHOTS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_nanobragg_images(
    images: dict[str, Image], compute: Callable, shot: str, setting: str
) -> None:
    """6e-7 of what remains is another classical electron radius."""
    image = images[f"{shot}/{setting}"]
    photons = compute(image.shot.pixels, image.shot.crystal, image.shot.beam, image.sampling)
    assert image.error(photons) < 1e-6


@pytest.mark.parametrize("shot", SHOTS)
def test_polarization_of_each_sub_pixel_changes_little(images, shot) -> None:
    """What nanoBragg leaves out by default: the polarisation of all sub-pixels but the last."""
    image = images[f"{shot}/gauss_10domains_over2"]
    each = replace(image.sampling, polarization_at="each")
    photons = forward(image.shot.pixels, image.shot.crystal, image.shot.beam, each)
    assert 1e-6 < image.error(photons) < 1e-4
