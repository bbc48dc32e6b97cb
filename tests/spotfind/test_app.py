"""The whole stage: outcomes, hot pixels, exact powder whatever the ranks and after kills."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.ranks import run_on_every
from tests.spotfind.run_of_spots import HOT, N_SHOTS, SHAPE, frames, write_run
from xfel_apps.containers import powder as powders
from xfel_apps.containers.events import Events
from xfel_apps.containers.manifest import Manifest, open_product
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.powder import Powder, read_powder
from xfel_apps.containers.spots import SPOTS, good_spots
from xfel_apps.errors import ShotError
from xfel_apps.sources import FrameCache
from xfel_apps.spotfind.__main__ import main
from xfel_apps.spotfind.powder import RankPowder
from xfel_apps.spotfind.processor import SpotFinder
from xfel_apps.spotfind.settings import SpotfindSettings


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


def arguments(events: Path, folder: Path, settings: str = "{}") -> list[str]:
    worker = '{"flush_s": 0}'
    spots = str(folder / "spots.json")
    return ["--events", str(events), "--spots", spots, "--settings", settings, "--worker", worker]


def result(folder: Path) -> tuple[Manifest, list[list[float]], Powder]:
    manifest, reader = open_product(folder / "spots.json", SPOTS)
    spots = reader.frame("spots").to_numpy().tolist()
    reader.close()
    return manifest, spots, read_powder(folder / manifest.extra["powder"]["file"])


def assert_same(found: Path, expected: Path) -> None:
    (one, one_spots, one_powder), (two, two_spots, two_powder) = result(found), result(expected)
    assert (one.outcomes, one.extra) == (two.outcomes, two.extra)
    assert one_spots == two_spots
    for name in powders.IMAGES:
        np.testing.assert_array_equal(getattr(one_powder, name), getattr(two_powder, name))


@pytest.fixture(scope="module")
def undisturbed(events, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert main(arguments(events, folder)) == 0
    return folder


def test_every_shot_has_its_outcome(undisturbed) -> None:
    manifest, reader = open_product(undisturbed / "spots.json", SPOTS)
    shots = reader.shots()
    assert manifest.outcomes["failed"] == 2
    assert shots.at[7, "reason"] == "100% of the frame's pixels are not numbers (NaN)"
    assert shots.at[8, "reason"] == "100% of the frame's pixels are saturated (above 60000 ADU)"
    assert manifest.outcomes["hit_not_indexed"] == len(range(0, N_SHOTS, 3))
    assert shots.at[0, "reason"].endswith("good spots, at least 10")
    assert shots.at[1, "reason"] == "1 good spots, fewer than 10"
    assert shots["background"].drop([7, 8]).between(3.7, 4.3).all()
    reader.close()


def test_hot_pixels_are_found_and_make_no_hits(undisturbed) -> None:
    manifest, reader = open_product(undisturbed / "spots.json", SPOTS)
    hot = manifest.extra["hot_pixels"]
    assert hot == [[0, *HOT]]
    assert reader.shots().at[4, "outcome"] == Outcome.HIT_NOT_INDEXED
    assert manifest.extra["decided"] == {"4": "miss"}
    assert len(good_spots(reader, 4, hot)) == 9
    reader.close()


def test_powder_is_the_sum_of_the_frames(undisturbed) -> None:
    manifest, _, powder = result(undisturbed)
    hits = [shot for shot in range(N_SHOTS) if shot % 3 == 0 or shot == 4]
    good = [shot for shot in range(N_SHOTS) if shot not in (7, 8)]
    assert (powder.n_all, powder.n_hits) == (len(good), len(hits))
    assert manifest.extra["powder"]["n_hits"] == len(hits)
    pixels = frames().astype(float)
    np.testing.assert_array_equal(powder.all_sum, pixels[good].sum(axis=0))
    np.testing.assert_array_equal(powder.all_max, pixels[good].max(axis=0))
    np.testing.assert_array_equal(powder.hits_sum, pixels[hits].sum(axis=0))
    np.testing.assert_array_equal(powder.hits_max, pixels[hits].max(axis=0))


@pytest.fixture(scope="module")
def on_several_ranks(events, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    run_on_every((2, 3), "xfel_apps.spotfind.__main__", *arguments(events, folder / "{size}"))
    return folder


@pytest.mark.parametrize("ranks", [2, 3])
def test_result_does_not_depend_on_ranks(undisturbed, on_several_ranks, ranks) -> None:
    assert_same(on_several_ranks / str(ranks), undisturbed)


def test_killed_and_run_again_gives_the_same(events, undisturbed, tmp_path) -> None:
    command = [sys.executable, "-m", "xfel_apps.spotfind", *arguments(events, tmp_path)]
    for _ in range(2):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        before = len(list((tmp_path / "spots").glob("powder-rank-*.h5")))
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "spots").glob("powder-rank-*.h5"))) == before:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert main(arguments(events, tmp_path)) == 0
    assert_same(tmp_path, undisturbed)


def test_events_in_the_powder_but_not_flushed_are_not_added_twice(
    events, undisturbed, tmp_path
) -> None:
    """Killed between the powder and the rows: all rows are lost, the powder is there."""
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    for path in (tmp_path / "spots").glob("rank-*.h5"):
        path.unlink()
    assert main(arguments(events, tmp_path)) == 0
    assert_same(tmp_path, undisturbed)


def test_other_settings_begin_anew(events, undisturbed, tmp_path) -> None:
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    (tmp_path / "spots" / ".powder-rank-0000.h5.part").touch()
    assert main(arguments(events, tmp_path, '{"min_spots": 5}')) == 0
    manifest, _, powder = result(tmp_path)
    assert powder.n_all == N_SHOTS - 2
    digests = {manifest.digest}
    assert len(powders.parts(tmp_path / "spots", *digests)) == 1
    assert len(list((tmp_path / "spots").glob("*powder-rank*"))) == 1


def test_wrong_shape_is_a_failed_shot(events, tmp_path) -> None:
    frames = FrameCache()
    frames.pixels = lambda *_: np.zeros((SHAPE[0], SHAPE[1] + 1), np.int32)
    powder = RankPowder(tmp_path, 0, "d", ())
    finder = SpotFinder(Events.read(events), frames, SpotfindSettings(), powder)
    with pytest.raises(ShotError, match="frame of 120 x 141 pixels, the detector has 120 x 140"):
        finder.process(0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('{"min_srn": 3}', "min_srn: unknown setting"),
        ('{"min_pixels": 9, "max_pixels": 3}', "min_pixels 9 is above max_pixels 3"),
        ('{"d_min_ang": 9, "d_max_ang": 3}', "d_min_ang 9.0 is not below d_max_ang 3.0"),
        ('{"half_width_px": 70}', "half_width_px"),
    ],
)
def test_bad_settings_are_one_line(events, tmp_path, capsys, settings, message) -> None:
    assert main(arguments(events, tmp_path, settings)) == 1
    text = capsys.readouterr().err
    assert message in text
    assert text.count("\n") == 1
    assert not (tmp_path / "spots").exists()
