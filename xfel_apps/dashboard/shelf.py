"""Runs and shots that are being looked at, kept open: a frame is read once, then zoomed."""

import threading
from collections import OrderedDict
from pathlib import Path

from xfel_apps.containers.results import PER_SHOT, RunResults
from xfel_apps.plots.scene import Scene
from xfel_apps.plots.shot import load_shot
from xfel_apps.plots.shot_list import ShotList, shot_list
from xfel_apps.sources import FrameCache

MAX_RUNS, MAX_SHOTS = 4, 4
"""How many are kept: a shot of 16 Mpx takes 130 MB."""
Stamp = tuple[int | None, ...]


class _Open:
    """One run: its results as they were at a stamp, its shots, its raw frames."""

    def __init__(self, folder: Path, stamp: Stamp) -> None:
        self.stamp = stamp
        self.results = RunResults(folder)
        self.shots = shot_list(self.results)
        self.frames = FrameCache(self.results.events.geometry_file)

    def close(self) -> None:
        self.results.close()
        self.frames.close()


class Shelf:
    """Shots of runs, the latest kept; made again when a product of the run is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: OrderedDict[Path, _Open] = OrderedDict()
        self._scenes: OrderedDict[tuple[Path, Stamp, int], Scene] = OrderedDict()

    def shots(self, folder: Path) -> ShotList:
        """Return the shots of the run in a folder."""
        with self._lock:
            return self._open(folder).shots

    def scene(self, folder: Path, event: int) -> Scene:
        """Return a shot of the run in a folder."""
        with self._lock:
            run = self._open(folder)
            key = folder, run.stamp, event
            if key not in self._scenes:
                self._scenes[key] = Scene.of(load_shot(run.results, event, run.frames))
            self._scenes.move_to_end(key)
            while len(self._scenes) > MAX_SHOTS:
                self._scenes.popitem(last=False)
            return self._scenes[key]

    def _open(self, folder: Path) -> _Open:
        stamp = _stamp(folder)
        run = self._runs.get(folder)
        if run is None or run.stamp != stamp:
            if run is not None:
                self._runs.pop(folder).close()
            run = self._runs[folder] = _Open(folder, stamp)
        self._runs.move_to_end(folder)
        while len(self._runs) > MAX_RUNS:
            self._runs.popitem(last=False)[1].close()
        return run


def _stamp(folder: Path) -> Stamp:
    """Return what changes when a product of a run is made anew."""
    paths = [folder / f"{name}.json" for name in PER_SHOT]
    return tuple(path.stat().st_mtime_ns if path.is_file() else None for path in paths)


SHELF = Shelf()
"""That of this process: several servers in one look at the same files."""
