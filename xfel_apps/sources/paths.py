"""From what a user names (files, folders, globs, lists) to the raw files of a run."""

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path

from xfel_apps.errors import SourceError

LISTS = (".lst", ".txt", ".list")
IMAGES = (".h5", ".hdf5", ".nxs", ".cxi", ".cbf", ".cbf.gz", ".cbf.bz2")


def expand(paths: Iterable[str | Path]) -> list[Path]:
    """Return the raw files that `paths` mean: absolute, in natural order, each once.

    Parameters
    ----------
    paths : files, folders (their images), globs, and `.lst` or `.txt` lists of any of these, one a
        line, relative to the list's folder; lines that start with # are comments
    """
    found = [file for path in paths for file in _expand_one(Path(path).expanduser())]
    return list(dict.fromkeys(_without_linked(found)))


def _expand_one(path: Path) -> Iterator[Path]:
    """Yield the files that one path means; an absent file is yielded, to be told of later."""
    if path.is_dir():
        images = [p.absolute() for p in path.iterdir() if p.is_file() and is_image(p)]
        if not images:
            raise SourceError(f"{path}: no images in this folder (looked for {', '.join(IMAGES)})")
        yield from sorted(images, key=natural)
    elif path.suffix in LISTS:
        yield from _expand_list(path)
    elif glob.has_magic(str(path)) and not path.exists():
        matches = sorted((Path(p) for p in glob.glob(str(path), recursive=True)), key=natural)  # noqa: PTH207 - Path.glob cannot take an absolute pattern
        if not matches:
            raise SourceError(f"{path}: no file matches this pattern")
        for match in matches:
            yield from _expand_one(match)
    else:
        yield path.absolute()


def _expand_list(path: Path) -> Iterator[Path]:
    """Yield the files that a list names."""
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as err:
        raise SourceError(f"{path}: not a readable list of files ({err})") from err
    for line in lines:
        if line and not line.startswith("#"):
            yield from _expand_one(path.parent / Path(line).expanduser())


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


def _without_linked(files: list[Path]) -> list[Path]:
    """Return `files` without the data files whose Eiger-style master is among them."""
    stems = {str(p)[: -len("_master.h5")] for p in files if p.name.endswith("_master.h5")}
    return [p for p in files if p.suffix != ".h5" or str(p).rpartition("_data_")[0] not in stems]
