"""An NXmx file that another process writes, step by step (HDF5 hides nothing within a process)."""

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py
import numpy as np

from tests.small_nxmx import write_nxmx

SHAPE = (6, 8)
PER_FRAME = {
    "entry/timestamp": 1000.0,
    "entry/laser_on": 0.0,
    "entry/instrument/beam/incident_wavelength": 1.3,
    "entry/instrument/beam/pulse_energy": 0.001,
    "entry/instrument/jet_speed": 5.0,
}
"""Dataset -> value at frame 0; it rises by 1 % a frame."""


def frame(number: int) -> np.ndarray:
    """Return the pixels of a frame."""
    return np.full(SHAPE, 100 + number, "i4")


class Writer:
    """Runs the other process; each method returns once the step is on disk."""

    def __init__(self, path: Path, swmr: bool = True) -> None:
        command = [sys.executable, "-m", "tests.growing_nxmx", str(path), str(int(swmr))]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def do(self, step: str, count: int = 1) -> None:
        """Do `frames` (whole ones), `data` or `rows` (only these), `shape` (no chunks), `close`."""
        assert self._process.stdin is not None
        print(step, count, file=self._process.stdin, flush=True)
        self._answer()

    def kill(self) -> None:
        """Kill the writer as it is."""
        self._process.kill()
        self._process.wait()

    def _answer(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ok\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _create(path: Path) -> h5py.File:
    """Return an NXmx file without frames, to which they can be added."""
    part = path.with_suffix(".part")
    write_nxmx(part, np.zeros((1, *SHAPE), "i4"), data__data=None)
    file = h5py.File(path, "w", libver="latest")
    with h5py.File(part) as source:
        source.copy("entry", file)
    part.unlink()
    data = file["entry/data"].create_dataset(
        "data", (0, *SHAPE), "i4", maxshape=(None, *SHAPE), chunks=(1, 6, 4)
    )
    data.parent.attrs["signal"] = "data"
    for name in PER_FRAME:
        file.pop(name, None)
        file.create_dataset(name, (0,), "f8", maxshape=(None,), chunks=(16,))
    return file


def _append_data(file: h5py.File, count: int, written: bool = True) -> None:
    data = file["entry/data/data"]
    start = len(data)
    data.resize(start + count, axis=0)
    for number in range(start, start + count) if written else ():
        data[number] = frame(number)


def _append_rows(file: h5py.File, count: int) -> None:
    for name, first in PER_FRAME.items():
        rows = file[name]
        start = len(rows)
        rows.resize(start + count, axis=0)
        rows[start:] = first * (1 + 0.01 * np.arange(start, start + count))
        if name.endswith("laser_on"):
            rows[start:] = np.arange(start, start + count) % 2


def _write(path: Path, swmr: bool) -> None:
    """Do what stdin says."""
    file = _create(path)
    if swmr:
        file.swmr_mode = True
    file.flush()
    print("ok", flush=True)
    for line in sys.stdin:
        step, count = line.split()
        if step == "close":
            file.close()
        else:
            if step != "rows":
                _append_data(file, int(count), written=step != "shape")
            if step in ("frames", "rows"):
                _append_rows(file, int(count))
            file.flush()
        print("ok", flush=True)


if __name__ == "__main__":
    _write(Path(sys.argv[1]), sys.argv[2] == "1")
