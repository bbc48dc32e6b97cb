"""The verb `view` on a trial without raw frames: files, names and errors."""

import pytest

from xfel_apps.errors import ContainerError, SettingsError
from xfel_apps.view import draw_shot, region_mm

PNG = b"\x89PNG"


@pytest.mark.parametrize("event", [0, 1, 3, 4, 6])
def test_every_kind_of_shot_is_drawn(tiny_trial, tmp_path, event):
    path = draw_shot(tiny_trial / "r0001", event, tmp_path / "pictures" / "shot.png")
    assert path.read_bytes().startswith(PNG)


def test_default_name(tiny_trial, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert draw_shot(tiny_trial / "r0002", 6).name == "r0002-shot-000006.png"
    assert (tmp_path / "r0002-shot-000006.png").is_file()


def test_before_spots_are_found(tiny_trial, tmp_path):
    (tiny_trial / "r0001" / "spots.json").unlink()
    assert draw_shot(tiny_trial / "r0001", 6, tmp_path / "shot.png").is_file()


def test_errors_say_what_to_do(tiny_trial, tmp_path):
    with pytest.raises(ContainerError, match="no shot 20, run r0001 has shots 0 to 19"):
        draw_shot(tiny_trial / "r0001", 20)
    with pytest.raises(ContainerError, match=r"several runs \(r0001, r0002\); give one of them"):
        draw_shot(tiny_trial, 3)
    with pytest.raises(ContainerError, match="no such folder"):
        draw_shot(tmp_path / "nowhere", 3)
    with pytest.raises(SettingsError, match="expected x,y,width in mm"):
        region_mm("3,4")
    with pytest.raises(SettingsError, match="width must be above 0"):
        region_mm("3,4,-1")
    (tiny_trial / "r0001" / "events.json").unlink()
    with pytest.raises(ContainerError, match="events is not made yet; run `xfelflow ingest`"):
        draw_shot(tiny_trial / "r0001", 3)
