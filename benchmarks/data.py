"""Where the real data lies."""

import os
import sys
from pathlib import Path


def find_data(name: str) -> Path | None:
    """Return a folder of $XFELFLOW_DATA (default ../shared/data), None if it is not there."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("XFELFLOW_DATA", default)) / name
    return folder if folder.is_dir() else None


def data_folder(name: str) -> Path:
    """Return a folder of the data; without it, say what is missing and end."""
    folder = find_data(name)
    if folder is None:
        sys.exit(f"{name}: no such data; set XFELFLOW_DATA to the folder of the data sets")
    return folder
