"""From a frame to spots: what is found, flagged and refused."""

import numpy as np
import pytest

from xfel_apps.containers.spots import SpotFlag
from xfel_apps.errors import ShotError
from xfel_apps.geometry import Beam, Detector, Panel
from xfel_apps.spotfind.find import find_on_frame
from xfel_apps.spotfind.frame import as_native
from xfel_apps.spotfind.settings import SpotfindSettings
from xfel_apps.spotfind.setup import Setup

SIZE = 300
BEAM = Beam(1.3)


def setup(mask: np.ndarray | None = None, **settings: object) -> Setup:
    """One panel 40 mm away, the beam in its middle."""
    panel = Panel(
        "p",
        (-15.0, 15.0, -40.0),
        (1.0, 0.0, 0.0),
        (0.0, -1.0, 0.0),
        (0.1, 0.1),
        (SIZE, SIZE),
        trusted=(-100.0, 1e4),
    )
    mask = np.ones((SIZE, SIZE), bool) if mask is None else mask
    return Setup(
        Detector((panel,), (SIZE, SIZE)), mask, BEAM.direction, SpotfindSettings(**settings)
    )


def frame_with(spots: list[tuple[int, int]], photons: int = 60, seed: int = 0) -> np.ndarray:
    frame = np.random.default_rng(seed).poisson(5.0, (SIZE, SIZE)).astype(np.int32)
    for slow, fast in spots:
        frame[slow : slow + 2, fast : fast + 2] += photons
    return frame


def radius_px(d_ang: float) -> float:
    return float(np.tan(2 * np.arcsin(1.3 / (2 * d_ang))) * 400)


PLACES = [(40, 60), (150, 250), (220, 90), (260, 260)]


@pytest.mark.parametrize("method", ["extended", "dispersion", "radial"])
@pytest.mark.parametrize("dtype", [np.int32, np.uint16, np.float32, np.int64, ">i4"])
def test_every_method_finds_spots_of_every_dtype(method: str, dtype: object) -> None:
    frame = as_native(frame_with(PLACES).astype(dtype))
    spots = find_on_frame(frame, setup(method=method), BEAM).spots
    assert len(spots) == len(PLACES)
    np.testing.assert_allclose(spots.slow_px, [s + 1 for s, _ in PLACES], atol=0.2)
    np.testing.assert_allclose(spots.fast_px, [f + 1 for _, f in PLACES], atol=0.2)
    np.testing.assert_allclose(spots.intensity, 240, atol=60)
    np.testing.assert_allclose(spots.background, 5, atol=1)
    assert not spots.flags.any()


def test_spots_off_the_limits_are_flagged() -> None:
    place = round(150 + radius_px(3.897))
    frame = frame_with([*PLACES, (149, place - 1)])
    near = setup(d_max_ang=5.6, d_min_ang=3.7, ice_rings=True)
    spots = find_on_frame(frame, near, BEAM).spots
    outside = (spots.d_ang < 3.7) | (spots.d_ang > 5.6)
    on_ice = np.abs(spots.d_ang - 3.897) < 0.02
    assert len(spots) == 5
    assert 0 < outside.sum() < 5
    assert on_ice.sum() == 1
    np.testing.assert_array_equal((spots.flags & SpotFlag.RESOLUTION) != 0, outside)
    assert (spots.flags[on_ice] & SpotFlag.ICE).all()


def test_masked_and_negative_pixels_do_no_harm() -> None:
    mask = np.ones((SIZE, SIZE), bool)
    mask[:, 120:124] = False
    frame = frame_with(PLACES)
    frame[:, 120:124] = 60000
    frame[10] = -500
    spots = find_on_frame(frame, setup(mask), BEAM).spots
    assert len(spots) == len(PLACES)


def test_gain_gives_photons() -> None:
    spots = find_on_frame(frame_with(PLACES) * 9, setup(gain_adu=9.0), BEAM).spots
    expected = find_on_frame(frame_with(PLACES), setup(), BEAM).spots
    np.testing.assert_allclose(spots.intensity, expected.intensity, rtol=1e-5)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.full((SIZE, SIZE), np.nan), "100% of the frame's pixels are not numbers"),
        (np.full((SIZE, SIZE), 60000), r"100% of the frame's pixels are saturated \(above 10000"),
        (np.full((SIZE, SIZE), -3000), "100% of the frame's pixels are below the trusted range"),
        (np.zeros((SIZE, SIZE + 1)), "frame of 300 x 301 pixels, the detector has 300 x 300"),
        (np.zeros((2, SIZE, SIZE)), "frame of 2 x 300 x 300 pixels"),
    ],
)
def test_bad_frames_say_what_is_wrong(frame: np.ndarray, message: str) -> None:
    with pytest.raises(ShotError, match=message):
        find_on_frame(as_native(frame), setup(), BEAM)


def test_all_masked_is_said() -> None:
    with pytest.raises(ShotError, match="every pixel of the frame is masked"):
        find_on_frame(frame_with([]), setup(np.zeros((SIZE, SIZE), bool)), BEAM)


@pytest.mark.parametrize("value", [0, 7])
def test_flat_frames_have_no_spots(value: int) -> None:
    frame = np.full((SIZE, SIZE), value, np.int32)
    for method in ("extended", "dispersion", "radial"):
        assert len(find_on_frame(frame, setup(method=method), BEAM).spots) == 0


def test_one_spot_saturated() -> None:
    frame = frame_with(PLACES)
    frame[150, 250] = 20000
    spots = find_on_frame(frame, setup(), BEAM).spots
    assert sorted(spots.flags.tolist()) == [0, 0, 0, int(SpotFlag.SATURATED)]
