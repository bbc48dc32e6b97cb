"""The results folder as the dashboard sees it: what has changed in it, and which paths are its."""

import os
from collections.abc import Hashable, Iterator
from pathlib import Path

from xfel_apps.containers.results import LIVE, PER_SHOT
from xfel_apps.errors import SettingsError
from xfel_apps.live.layout import LiveFolder


def below(results: Path, *parts: str) -> Path:
    """Return the path of `parts` below the results, or refuse one that leads out of them.

    Links are followed before it is judged, so that none leads out either.
    """
    if any("\0" in part for part in parts):
        raise SettingsError("a path with a null character")
    root = results.resolve()
    path = root.joinpath(*parts).resolve()
    if not path.is_relative_to(root):
        raise SettingsError(f"{'/'.join(parts)[:200]}: not below the results folder")
    return path


def trials(results: Path) -> list[Path]:
    """Return the folders of the trials, in order."""
    return [path for path in folders(results) if path.name != LIVE]


def live_state(results: Path) -> Hashable:
    """Return what changes when the live daemon says something new."""
    return _stamp(LiveFolder(results).status)


def manifests_state(results: Path) -> Hashable:
    """Return what changes when a run's product is made, or made again."""
    found = []
    for trial in trials(results):
        for run in folders(trial):
            names = {*(f"{product}.json" for product in PER_SHOT), "refined.json"}
            found += [(str(run / name), stamp) for name in names if (stamp := _stamp(run / name))]
    return hash(tuple(sorted(found)))


def merged_state(results: Path) -> Hashable:
    """Return what changes when a version of a dataset is made."""
    paths = [path for trial in trials(results) for path in trial.glob("datasets/*/v*/merged.json")]
    return hash(tuple(sorted((str(path), _stamp(path)) for path in paths)))


def shots_state(results: Path) -> Hashable:
    """Return what changes when a rank writes shots of a run that is not done."""
    found = []
    for trial in trials(results):
        for run in folders(trial):
            if not (run / "reflections.json").exists():
                paths = [*run.glob("*/rank-*.h5"), *run.glob(f"{LIVE}/*/*/rank-*.h5")]
                found += [(str(path), _stamp(path)) for path in paths]
    return hash(tuple(sorted(found)))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def folders(folder: Path) -> Iterator[Path]:
    """Yield the folders in a folder, in order of name, but for hidden ones."""
    try:
        with os.scandir(folder) as found:
            names = sorted(item.name for item in found if item.is_dir())
    except OSError:
        return
    yield from (folder / name for name in names if not name.startswith("."))


def tail(path: Path, n_bytes: int = 16_384) -> str:
    """Return the end of a text file; empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - n_bytes))
            text = file.read(n_bytes).decode(errors="replace")
    except OSError:
        return ""
    return text if len(text) < n_bytes else text.partition("\n")[2] or text
