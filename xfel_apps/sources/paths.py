"""From what a user names (files, folders, globs, lists) to the raw files of a run."""

import glob
from collections.abc import Iterable
from pathlib import Path

from xfel_apps.errors import SourceError
from xfel_apps.sources import cbf
from xfel_apps.sources.dispatch import worth_trying

LISTS = (".lst", ".txt", ".list")
IMAGES = (".h5", ".hdf5", ".nxs", ".cxi", *cbf.NAMES)


def expand(paths: Iterable[str | Path], geometry: Path | None = None) -> list[Path]:
    """Return the raw files that `paths` mean: absolute, in natural order, each once.

    Parameters
    ----------
    paths : files, folders (their images), globs, and `.lst` or `.txt` lists of any of these, one a
        line, relative to the list's folder; lines that start with # are comments
    geometry : geometry file that goes with them

    A file that is named must be there; one that a list names may be missing, which is told when it
    is opened. HDF5 files in a folder that hold no frames of their own (truth, calibration) are
    passed over, and data files where their master is.
    """
    found: list[Path] = []
    for item in paths:
        path = Path(item).expanduser()
        if path.suffix in LISTS:
            found += _expand_list(path, geometry)
        else:
            found += _expand_one(path, geometry)
    return list(dict.fromkeys(without_linked(found)))


def _expand_one(path: Path, geometry: Path | None) -> list[Path]:
    """Return the files that a path, folder or pattern means."""
    if path.is_dir():
        images = [p.absolute() for p in path.iterdir() if p.is_file() and is_image(p)]
        if not images:
            raise SourceError(f"{path}: no images in this folder (looked for {', '.join(IMAGES)})")
        frames = [p for p in images if worth_trying(p, geometry)]
        if not frames:
            hint = (
                "what --geometry describes" if geometry else "NXmx frames (--geometry FILE.geom?)"
            )
            raise SourceError(f"{path}: none of its {len(images)} HDF5 files holds {hint}")
        return sorted(frames, key=natural)
    if path.exists():
        return [path.absolute()]
    if not glob.has_magic(str(path)):
        raise SourceError(f"{path}: no such file or folder")
    matches = [Path(p) for p in glob.glob(str(path), recursive=True)]  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not matches:
        raise SourceError(f"{path}: no file matches this pattern")
    return [file for match in sorted(matches, key=natural) for file in _expand_one(match, geometry)]


def _expand_list(path: Path, geometry: Path | None) -> list[Path]:
    """Return the files that a list names, also those that are missing."""
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as err:
        raise SourceError(f"{path}: not a readable list of files ({err})") from err
    found: list[Path] = []
    for line in lines:
        if line and not line.startswith("#"):
            item = path.parent / Path(line).expanduser()
            whole = item.is_dir() or glob.has_magic(str(item))
            found += _expand_one(item, geometry) if whole else [item.absolute()]
    return found


def is_image(path: Path) -> bool:
    """Return whether the name is that of a raw file.

    >>> is_image(Path("a_0001.cbf.bz2")), is_image(Path("notes.txt"))
    (True, False)
    """
    return path.name.lower().endswith(IMAGES)


def natural(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts numbers in names by value: x_2 before x_10.

    >>> sorted([Path("x_10.h5"), Path("x_2.h5")], key=natural)[0].name
    'x_2.h5'
    """
    parts: list[str] = []
    for char in str(path):
        if parts and parts[-1][-1].isdigit() == char.isdigit():
            parts[-1] += char
        else:
            parts.append(char)
    return tuple((0, int(p), p) if p.isdecimal() else (1, 0, p) for p in parts)


def without_linked(files: list[Path]) -> list[Path]:
    """Return `files` without the data files whose Eiger-style master is among them."""
    stems = {str(p)[: -len("_master.h5")] for p in files if p.name.endswith("_master.h5")}
    return [p for p in files if p.suffix != ".h5" or str(p).rpartition("_data_")[0] not in stems]
