"""Fixtures that every folder of tests shares."""

import os
from pathlib import Path

import pytest

from tests.tiny_trial import write_trial

REPO_ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real data sets: $XFELFLOW_DATA, else ../shared/data beside the checkout."""
    folder = Path(os.environ.get("XFELFLOW_DATA", REPO_ROOT.parent / "shared" / "data"))
    if not (folder / "MANIFEST.md").is_file():
        pytest.skip(f"no test data: {folder}/MANIFEST.md is missing (set XFELFLOW_DATA)")
    return folder


@pytest.fixture
def tiny_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a trial of two runs of twenty shots (see tests/tiny_trial.py); no raw frames."""
    return write_trial(tmp_path / "results" / "000", monkeypatch)
