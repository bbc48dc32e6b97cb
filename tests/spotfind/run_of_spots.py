"""A small run of frames with spots, for tests of the whole stage."""

from pathlib import Path

import numpy as np

from tests.small_nxmx import write_nxmx
from xfel_apps.ingest.__main__ import main as ingest

SHAPE = (120, 140)
HOT = (33, 77)
N_SHOTS = 40


def frames() -> np.ndarray:
    """Every third shot is a hit of 12 spots; one pixel is hot on all; shots 7 and 8 are bad."""
    rng = np.random.default_rng(5)
    result = rng.poisson(4.0, (N_SHOTS, *SHAPE)).astype(np.float32)
    for shot in range(N_SHOTS):
        for _ in range(12 if shot % 3 == 0 else 0):
            slow, fast = rng.integers(4, 115, 2)
            result[shot, slow : slow + 2, fast : fast + 2] += 80
        result[shot][HOT] = 500
    result[4, 10, 10:28:2] += 200  # nine lone pixels: a hit only with the hot one
    result[7] = np.nan
    result[8] = 1e6
    return result


def write_run(folder: Path) -> Path:
    """Write the run and its events; return the manifest of events."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = write_nxmx(
        folder / "raw.h5", frames(), instrument__detector__saturation_value=np.array(60000)
    )
    events = folder / "events.json"
    assert ingest(["--events", str(events), "--run", "r0001", str(raw)]) == 0
    return events
