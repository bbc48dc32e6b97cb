"""Virtual datasets: which of the files they are made of cannot be read."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py

from xfel_apps.errors import SourceError
from xfel_apps.sources.hdf5_state import FileState, file_state

YOUNG_S = 60.0
"""A file changed so lately may be in the hands of a writer."""


@dataclass(frozen=True)
class MissingSource:
    """A file of a virtual dataset that cannot be read.

    Attributes
    ----------
    path : file
    start, stop : the frames that are in it
    problem : what is wrong
    """

    path: Path
    start: int
    stop: int
    problem: str


def missing_sources(file: h5py.File, path: Path, names: Sequence[str]) -> list[MissingSource]:
    """Return the files of a virtual dataset that cannot be read.

    HDF5 itself would give the fill value for them and say nothing.
    """
    dataset = file.get(names[0])
    if dataset is None or not dataset.is_virtual:
        return []
    missing = []
    problems: dict[str, str] = {}
    for source in dataset.virtual_sources():
        name = source.file_name
        if name == ".":
            continue
        if name not in problems:
            problems[name] = _problem(path.parent / name, Path(name))
        if problems[name]:
            first, last = source.vspace.get_select_bounds()
            problem = f"{path.parent / name}: {problems[name]} ({names[0]} of {path})"
            missing.append(
                MissingSource(path.parent / name, int(first[0]), int(last[0]) + 1, problem)
            )
    return missing


def problem_of(missing: Sequence[MissingSource], frame: int) -> str:
    """Return why a frame cannot be read; empty if it can."""
    return next((item.problem for item in missing if item.start <= frame < item.stop), "")


def _problem(*places: Path) -> str:
    """Return what is wrong with the file that lies at the first of the places; empty: nothing."""
    target = next((place for place in places if place.is_file()), None)
    if target is None:
        return "file of a virtual dataset is missing"
    try:
        if file_state(target) is not FileState.WHOLE:
            return "file of a virtual dataset is cut short or still being written"
        if time.time() - target.stat().st_mtime < YOUNG_S:
            h5py.File(target, "r", locking="best-effort").close()
    except (OSError, SourceError) as err:
        return f"file of a virtual dataset cannot be read ({err})"
    return ""
