"""Where the real data lies."""

import os
import sys
from pathlib import Path


def data_folder(name: str) -> Path:
    """Return a folder of $XFELFLOW_DATA (default ../shared/data); without it, say so and end."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("XFELFLOW_DATA", default)) / name
    if not folder.is_dir():
        sys.exit(f"{folder}: no such folder; set XFELFLOW_DATA to the folder of the data sets")
    return folder
