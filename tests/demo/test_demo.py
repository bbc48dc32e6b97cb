"""The demo, small: every line of the comparison is there and says that the truth was found."""

import re
from pathlib import Path

import pytest

from xfel_apps.demo import run_demo
from xfel_apps.errors import SettingsError


def test_demo_finds_what_was_simulated(tmp_path: Path, capfd) -> None:
    lines: list[str] = []
    run_demo(tmp_path / "demo", 24, 2, lines.append)
    text = "\n".join(lines)
    found, there = map(int, re.search(r"hits indexed +(\d+) of (\d+)", text).groups())
    assert there >= 8
    assert found >= 0.9 * there
    assert "blanks indexed: 0" in text
    median_deg = float(re.search(r"orientation error +median ([\d.]+)", text)[1])
    assert median_deg < 0.05
    assert float(re.search(r"CC of merged I +([\d.]+)", text)[1]) > 0.5
    refined = text[text.index("refined against every pixel") :]
    assert float(re.search(r"orientation error +median ([\d.]+)", refined)[1]) < median_deg
    after, before = re.search(r"CC of refined I +([\d.]+) .*\(([\d.]+)\)", refined).groups()
    assert float(after) > float(before)
    report = Path(re.search(r"report: (.+)", text)[1])
    assert "shots refined against every pixel" in report.read_text()
    assert "structure factors refined against every pixel" in report.read_text()


def test_demo_replaces_its_own_folder_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("years of work")
    with pytest.raises(SettingsError, match="not from a demo"):
        run_demo(tmp_path, 20, 1, print)
    assert (tmp_path / "mine.txt").read_text() == "years of work"
