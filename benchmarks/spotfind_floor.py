"""What finding spots costs at least, and what DIALS' spot finder takes, for `benchmarks.stages`.

The floor of a frame, CPU of one core:

- bytes: reading and decompressing it (what ours does too), and one plain pass over it in memory;
- arithmetic: number, sum and sum of squares of its pixels, each pixel added once, in single
  precision by BLAS from the first caches: three multiply-adds a pixel. No window finder adds less.
"""

import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.one_core import least_cpu_s
from xfel_apps.compare.truth import Truth
from xfel_apps.sources import open_raw

N_FRAMES = 12
N_DIALS = 31
BLOCK = 4096
QUOTED_DIALS_S = {"hit": 0.10, "miss": 0.10}
"""CPU seconds a shot of DIALS 3.12 where it is not installed (Xeon 2.5 GHz, lyso130.h5)."""


@dataclass(frozen=True)
class Floor:
    """CPU seconds that one frame takes at least.

    Attributes
    ----------
    read_s : reading and decompressing
    pass_s : one pass over it in memory
    sums_s : arithmetic
    """

    read_s: float
    pass_s: float
    sums_s: float

    @property
    def total_s(self) -> float:
        """All of it."""
        return self.read_s + self.pass_s + self.sums_s


def floor_of(raw: Path) -> Floor:
    """Return the floor of a frame of a file: median over frames, best of several passes."""
    file = open_raw(raw)
    read, passed, summed = [], [], []
    for number in range(min(file.n_frames, N_FRAMES)):
        start = time.process_time()
        frame = np.ascontiguousarray(file.pixels(number))
        read.append(time.process_time() - start)
        words = frame.reshape(-1).view(np.int64)
        passed.append(least_cpu_s(lambda words=words: np.add.reduce(words)))
        summed.append(least_cpu_s(lambda n=frame.size: add_up(n)))
    file.close()
    return Floor(*(float(np.median(part)) for part in (read, passed, summed)))


def add_up(n_pixels: int) -> None:
    """Do the arithmetic of the floor for `n_pixels`, a block of them again and again."""
    values, ones = np.full(BLOCK, 7.0, np.float32), np.ones(BLOCK, np.float32)
    for _ in range(n_pixels // BLOCK):
        values.dot(values)
        values.dot(ones)
        ones.dot(ones)


def dials_s(data: Path) -> dict[str, float] | None:
    """Return the CPU seconds a hit and a blank of `dials.find_spots`; None where it is missing.

    Reading is included; starting the program is not: its time on one shot is taken off.
    """
    if shutil.which("dials.find_spots") is None or shutil.which("dials.import") is None:
        return None
    truth = Truth.read(data / "truth.h5")
    hits, blanks = truth.shots("hit"), truth.shots("blank")
    parts = {"one": blanks[:1], "hit": hits[:N_DIALS], "miss": blanks[:N_DIALS]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(["dials.import", str(data / "lyso130.h5")], folder)
        models = json.loads((folder / "imported.expt").read_text())
        for part, shots in parts.items():
            chosen = [models["experiment"][shot] for shot in shots]
            (folder / f"{part}.expt").write_text(json.dumps({**models, "experiment": chosen}))
        taken = {part: run(find_command(part), folder) for part in parts}
    return {kind: (taken[kind] - taken["one"]) / (len(parts[kind]) - 1) for kind in QUOTED_DIALS_S}


def find_command(name: str) -> list[str]:
    """Return the command that finds the spots of `name.expt`."""
    return ["dials.find_spots", f"{name}.expt", "nproc=1", f"output.reflections={name}.refl"]


def run(command: Sequence[str], folder: Path) -> float:
    """Run a command quietly; return its CPU seconds."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
