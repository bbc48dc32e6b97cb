"""Fixtures that every folder of tests shares."""

import os
from pathlib import Path

import pytest

REPO_ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real data sets: $XFELFLOW_DATA, else ../shared/data beside the checkout."""
    folder = Path(os.environ.get("XFELFLOW_DATA", REPO_ROOT.parent / "shared" / "data"))
    if not (folder / "MANIFEST.md").is_file():
        pytest.skip(f"no test data: {folder}/MANIFEST.md is missing (set XFELFLOW_DATA)")
    return folder
