"""The command line: every verb explains itself, every error is one line before any work."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tests.small_nxmx import write_nxmx
from xfel_apps.cli import app

VERBS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # a group


def xfelflow(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from xfel_apps.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


def test_the_verbs_users_reach_for_exist():
    wanted = "demo simulate ingest spotfind index integrate merge report view status process table"
    assert set(wanted.split()) <= set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(verb):
    result = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 0
    assert f"xfelflow {verb}" in " ".join(result.output.split())
    assert "Example" in result.output


def one_error_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 1, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


CELL = ("--cell", "79.2 79.2 38 90 90 90", "--space-group", "P43212")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--set", "spotfind.min_srn=3"), "spotfind.min_srn: unknown setting"),
        (("--set", "spotfnd.min_snr=3"), "spotfnd: unknown setting"),
        (("--cell", "79.2 79.2 38 90 90 190"), "cell"),
        (("--cell", "79.2 79.2 38", "--space-group", "P1"), "six numbers"),
        (("--set", "ingest.filter=pulse_energy_mj >"), "not an expression"),
        (("--cell", "79.2 70 38 90 90 90", "--space-group", "P43212"), "cell"),
        (("--cell", "79.2 79.2 38 90 90 90", "--space-group", "P4321"), "P4321"),
    ],
)
def test_bad_settings_stop_before_any_work(tmp_path, options, expected):
    image = tmp_path / "image.cbf"
    image.write_bytes(b"")
    out = tmp_path / "out"
    line = one_error_line(xfelflow("process", str(image), "--out", str(out), *options))
    assert expected in line
    assert not out.exists()


def test_missing_images_are_named(tmp_path):
    missing = tmp_path / "none.cbf"
    line = one_error_line(xfelflow("process", str(missing), "--out", str(tmp_path / "o"), *CELL))
    assert "none.cbf" in line
    assert not (tmp_path / "o").exists()


def test_unwritable_folder_is_named(tmp_path):
    image = tmp_path / "image.cbf"
    image.write_bytes(b"")
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    line = one_error_line(xfelflow("process", str(image), "--out", str(out), *CELL))
    assert str(out) in line


def test_a_run_without_crystals_still_gets_a_report(tmp_path):
    image = write_nxmx(tmp_path / "a.h5", np.ones((2, 64, 64), "i4"))
    out = tmp_path / "out"
    command = ("process", str(image), "--out", str(out), *CELL, "-n", "1", "--merge")
    result = xfelflow(*command)
    assert result.returncode == 1
    assert "nothing to merge" in result.stderr
    assert "2 miss" in result.stdout
    assert (out / "report.html").stat().st_size > 1000


def test_stage_without_its_input_says_what_to_run(tmp_path):
    line = one_error_line(xfelflow("spotfind", str(tmp_path), "-n", "1"))
    assert "events.json: no such manifest" in line


def test_version(tmp_path: Path):
    assert xfelflow("--version").stdout.startswith("xfelflow ")
